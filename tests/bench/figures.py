"""Figures: what the benches measured, each beside a ceiling measured in the same run.

A ceiling is what the same machine needs or does at best (a bare sort, an empty call, a bare loop),
so a ratio says something where a time alone would not.  A ratio is always value by ceiling: of
times and sizes less is better, of rates more, and the table says which.  ``build/bench.json`` is a
list of ``{name, value, unit, ceiling, ratio}``; what one run did not measure stays in it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

BUILD: Final = Path(__file__).parents[2] / "build"
BENCH_FILE: Final = BUILD / "bench.json"


class Figure(NamedTuple):
    """One measurement; ``ceiling`` is in the same unit."""

    name: str
    value: float
    unit: str
    ceiling: float
    ceiling_name: str
    more_is_better: bool = False
    """A rate, not a time or a size."""

    @property
    def ratio(self) -> float:
        """Return how many times the ceiling it takes, or does."""
        return self.value / self.ceiling if self.ceiling else 0.0


def merge(path: Path, figures: Sequence[Figure]) -> None:
    """Write the figures into the file, in the place of those with the same names."""
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    by_name = {each["name"]: each for each in known} | {
        each.name: {
            "name": each.name,
            "value": round(each.value, 4),
            "unit": each.unit,
            "ceiling": round(each.ceiling, 4),
            "ratio": round(each.ratio, 3),
        }
        for each in figures
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps([by_name[name] for name in sorted(by_name)], indent=1)
    path.write_text(text + "\n", encoding="utf-8")


def table(figures: Sequence[Figure]) -> list[str]:
    """Return the figures as lines of columns."""
    name_chars = max((len(each.name) for each in figures), default=0)
    unit_chars = max((len(each.unit) for each in figures), default=0)
    return [
        f"{each.name:<{name_chars}} {each.value:>13,.3f} {each.unit:<{unit_chars}}"
        f" {each.ratio:>8.2f} x {each.ceiling_name} ({each.ceiling:,.3f};"
        f" {'more' if each.more_is_better else 'less'} is better)"
        for each in figures
    ]
