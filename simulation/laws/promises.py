"""Law 2 on what a tick promises: Σ floors and Σ grants fit into capacity, and only what may be
lent is lent.

Σ limits, where a limit is max(floor, grant), exceeds capacity by what is lent and nothing else;
said the other way round, grants and what must be kept of idle floors fit together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from schemas.pools import Pool
from schemas.ticks import Tick
from simulation.laws.broken import Broken
from simulation.laws.lines import TRIPLE_NAMES, Line, least, most, total, triple


def check_promises(pool: Pool, tick: Tick, lines: Sequence[Line]) -> Iterator[Broken]:
    """Yield what the tick promises beyond capacity, floors or ceilings."""
    capacity = triple(tick.capacity)
    sums = (
        ("floors", total([line.floor for line in lines])),
        ("grants", total([line.grant for line in lines])),
        ("grants and unlendable floors", total([most(line.grant, line.kept) for line in lines])),
    )
    for name, amounts in sums:
        for amount, limit, unit in zip(amounts, capacity, TRIPLE_NAMES, strict=True):
            if amount > limit:
                yield Broken(2, name, f"Σ {name} {amount} exceeds capacity {limit} {unit}")
    yield from _floors(pool, lines, capacity=capacity)
    for line in lines:
        for granted, most_of, unit in zip(line.grant, line.ceiling, TRIPLE_NAMES, strict=True):
            if granted > most_of:
                yield Broken(2, "ceiling", f"{line.uid} got {granted} {unit}, at most {most_of}")


def _floors(
    pool: Pool, lines: Sequence[Line], *, capacity: tuple[int, int, int]
) -> Iterator[Broken]:
    """Floors are whole unless even floors do not fit; then they fill capacity."""
    promised = {line.uid: triple(pool.entitlements[line.uid].floor) for line in lines}
    whole = total(list(promised.values()))
    fitting = least(whole, capacity)
    given = total([line.floor for line in lines])
    for index, unit in enumerate(TRIPLE_NAMES):
        if given[index] != fitting[index]:
            text = f"Σ floors is {given[index]} {unit}, and {fitting[index]} would fit"
            yield Broken(4, "floors", text)
        for line in lines:
            if whole[index] <= capacity[index] and line.floor[index] != promised[line.uid][index]:
                text = f"{line.uid} has {line.floor[index]} {unit} of {promised[line.uid][index]}"
                yield Broken(4, "floors", text)
