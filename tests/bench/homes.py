"""The table of docs/decisions/0017: how often a part of a floor is used up, with and without homes.

``python -m tests.bench.homes [SEEDS [JOBS]]`` prints it as Markdown.
"""

import sys

from simulation.experiments.sharing import ADMITTERS, FLOORS_SLOTS, SharingRow, sharing_table

SEEDS = 10


def main(seeds: int = SEEDS, jobs: int = 2) -> None:
    """Run and print."""
    rows = sharing_table(seeds=range(1, seeds + 1), jobs=jobs)
    print("| floor | floors | gateways |", " | ".join(map(admitters, ADMITTERS)), "|")
    print("|---|---|---|" + "---|" * len(ADMITTERS))
    for slots in FLOORS_SLOTS:
        for homes in (True, False):
            for goes in (True, False):
                print(line(rows, slots, homes=homes, goes=goes))


def admitters(count: int) -> str:
    """Head of a column."""
    return f"{count} admitter" + ("" if count == 1 else "s")


def line(rows: tuple[SharingRow, ...], slots: int, *, homes: bool, goes: bool) -> str:
    """One line of the table; with one admitter there is nothing to split."""
    cells = [
        next((cell(row) for row in rows if is_at(row, slots, n, homes=homes, goes=goes)), "")
        for n in ADMITTERS
    ]
    words = ("small ones at home" if homes else "all split", "go home" if goes else "do not")
    return f"| {slots} slots | {words[0]} | {words[1]} | " + " | ".join(cells) + " |"


def is_at(row: SharingRow, slots: int, count: int, *, homes: bool, goes: bool) -> bool:
    """Say whether the row belongs into this cell."""
    at = row.arrangement
    alone = count == 1 and at.admitters == 1
    same = (at.has_homes, at.goes_home) == (homes, goes) or alone
    return same and (at.floor_slots, at.admitters) == (slots, count)


def cell(row: SharingRow) -> str:
    """Met first, and refused for good."""
    met, refused = row.exhausted_rate.median, row.refused_rate.median
    return f"{100 * met:.1f} % ({100 * refused:.1f} %)"


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
