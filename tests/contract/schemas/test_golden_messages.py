"""What travels between the processes is written down in files and does not change by accident.

A golden file that no longer decodes to the same message is a broken wire format.  New fields with
defaults are fine: add a new golden file (``v2``, ...) beside the old one, which must still decode.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.catalog import MESSAGES as CATALOG
from schemas.catalog import json_schemas
from schemas.wire import decode_union, encode
from tests.contract.schemas.samples import MESSAGES

GOLDEN = Path(__file__).parent / "golden"
DOCUMENTED = Path(__file__).parents[3] / "docs" / "schemas"

CASES = [
    pytest.param(name, number, id=f"{name}-{number}")
    for name, samples in MESSAGES.items()
    for number in range(len(samples))
]


def golden_files(name: str, number: int) -> list[Path]:
    """Return the files of every version of a sample, the oldest first."""
    return sorted(GOLDEN.glob(f"{name}.{number}.v*.json"))


def test_every_message_of_the_catalog_has_a_sample() -> None:
    assert set(MESSAGES) == set(CATALOG)


@pytest.mark.parametrize(("name", "number"), CASES)
def test_every_golden_file_still_decodes_to_its_message(name: str, number: int) -> None:
    decoded = [
        decode_union(path.read_bytes(), CATALOG[name]) for path in golden_files(name, number)
    ]

    assert decoded
    assert all(each == MESSAGES[name][number] for each in decoded)


@pytest.mark.parametrize(("name", "number"), CASES)
def test_a_message_is_written_as_its_newest_golden_file(name: str, number: int) -> None:
    golden = json.loads(golden_files(name, number)[-1].read_bytes())

    assert json.loads(encode(MESSAGES[name][number])) == golden


@pytest.mark.parametrize(("name", "number"), [case for case in CASES if case.id != "prices-0"])
def test_a_field_that_a_newer_writer_added_is_ignored(name: str, number: int) -> None:
    """Prices are left out: they are read from a file, where it is a typing error."""
    message = json.loads(encode(MESSAGES[name][number]))
    message["added_in_a_later_version"] = {"any": "thing"}

    decoded = decode_union(msgspec.json.encode(message), CATALOG[name])

    assert decoded == MESSAGES[name][number]


def test_the_documented_json_schemas_are_the_generated_ones() -> None:
    documented: dict[str, Any] = {
        path.name.removesuffix(".schema.json"): json.loads(path.read_text(encoding="utf-8"))
        for path in DOCUMENTED.glob("*.schema.json")
    }

    assert documented == json.loads(json.dumps(json_schemas())), "run `make schema`"
