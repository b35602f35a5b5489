"""Every key of ``--json`` is documented with its unit and meaning, and nothing else is.

``python -m tests.unit.console.test_simulation_docs`` writes the tables of docs/simulation.md again.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from simulation.experiments.keys import ENTITLEMENT_KEYS, KEYS, Key
from simulation.experiments.results import ExperimentResult, Work

DOCS = Path(__file__).parents[3] / "docs" / "simulation.md"
TABLES = {"By policy": KEYS, "By entitlement": ENTITLEMENT_KEYS}
NOTHING = ExperimentResult(
    experiment="what-if",
    about="",
    seeds=(1,),
    admitters=1,
    headroom_slots=0,
    policies=(),
    work=Work(requests=0, steps=0),
)


def table(keys: Mapping[str, Key]) -> str:
    """The table that documents these keys."""
    rows = (f"| `{key.name}` | {key.unit} | {key.meaning} |" for key in keys.values())
    return "\n".join(["| key | unit | meaning |", "|---|---|---|", *rows])


def section(title: str) -> str:
    """What the documentation has below a heading."""
    return DOCS.read_text().partition(f"### {title}\n")[2].partition("\n#")[0].strip()


@pytest.mark.parametrize("title", TABLES)
def test_every_key_is_documented_with_its_unit_and_meaning(title: str) -> None:
    assert section(title) == table(TABLES[title])


def test_every_outer_key_is_documented() -> None:
    text = DOCS.read_text().partition("## JSON\n")[2].partition("\n### ")[0]

    assert re.findall(r"^\| `(\w+)` \|", text, flags=re.MULTILINE) == list(NOTHING.as_json())


def write() -> None:
    """Write the tables again."""
    text = DOCS.read_text()
    for title, keys in TABLES.items():
        before, heading, after = text.partition(f"### {title}\n")
        following = after.find("\n#")
        rest = "" if following < 0 else after[following:]
        text = f"{before}{heading}\n{table(keys)}\n{rest}"
    DOCS.write_text(text)


if __name__ == "__main__":
    write()
