"""Law 4 on grants: under scarcity nobody of a later phase has what an earlier phase still wants.

Phases: floors, elastic baselines, bursts of dedicated and elastic, spot, preemptible.  A request
needs all three dimensions, so a phase owes no more of one than its caps in the others can use, and
an entitlement may be short in one because another is short: the law is broken when in *every*
dimension in which it is short, somebody of a later phase has some.
Surplus classes leave the pool's headroom of slots free.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from schemas.specs import ServiceClass
from simulation.laws.broken import Broken
from simulation.laws.lines import SLOTS, TRIPLE_NAMES, Line, Triple, least, less

_PHASES: Final = ("floors", "elastic baselines", "bursts", "spot", "preemptible")
_BURSTING: Final = (ServiceClass.DEDICATED, ServiceClass.ELASTIC)
_SURPLUS: Final = {ServiceClass.SPOT: 3, ServiceClass.PREEMPTIBLE: 4}


def check_headroom(lines: Sequence[Line], *, slots: int, headroom_slots: int) -> Iterator[Broken]:
    """Yield grants of surplus classes that leave less than the headroom free."""
    surplus = sum(line.grant[SLOTS] for line in lines if line.service_class in _SURPLUS)
    left = slots - sum(max(line.grant[SLOTS], line.kept[SLOTS]) for line in lines)
    if surplus > 0 and left < headroom_slots:
        text = f"surplus classes have {surplus} slots, {left} of {headroom_slots} stay free"
        yield Broken(4, "headroom", text)


def check_order(lines: Sequence[Line]) -> Iterator[Broken]:
    """Yield everyone who is short while a later phase has some of all that it lacks."""
    later = _later(lines)
    for line in lines:
        for phase, cap in _claims(line):
            short = line.short_of(cap)
            if short and all(later[phase][i] > 0 for i in short):
                due = line.within(cap, up=True)
                lacking = ", ".join(
                    f"{line.grant[i]} of {due[i]} {TRIPLE_NAMES[i]} while later phases have "
                    f"{later[phase][i]}"
                    for i in short
                )
                yield Broken(4, "order", f"{line.uid} ({_PHASES[phase]}) has {lacking}")


def _claims(line: Line) -> Iterator[tuple[int, Triple]]:
    """Yield what it may have by the end of each phase that it takes part in."""
    if line.service_class.is_reserved:
        yield 0, line.floor
    if line.service_class is ServiceClass.ELASTIC:
        yield 1, line.baseline
    if line.service_class in _BURSTING:
        yield 2, line.want
    if line.service_class in _SURPLUS:
        yield _SURPLUS[line.service_class], line.want


def _later(lines: Sequence[Line]) -> list[list[int]]:
    """Return, for each phase, what the phases after it were granted."""
    granted = [[0, 0, 0] for _ in _PHASES]
    for line in lines:
        for phase, amount in _parts(line):
            for i in range(3):
                granted[phase][i] += amount[i]
    later = [[0, 0, 0] for _ in _PHASES]
    for phase in range(len(_PHASES) - 2, -1, -1):
        for i in range(3):
            later[phase][i] = later[phase + 1][i] + granted[phase + 1][i]
    return later


def _parts(line: Line) -> Iterator[tuple[int, Triple]]:
    """Yield what it was granted in each phase; what is within floor or baseline came first."""
    if line.service_class is ServiceClass.GUARANTEED:
        yield 0, line.grant
    elif line.service_class is ServiceClass.DEDICATED:
        yield 2, less(line.grant, line.baseline)
    elif line.service_class is ServiceClass.ELASTIC:
        yield 1, least(line.grant, line.baseline)
        yield 2, less(line.grant, line.baseline)
    else:
        yield _SURPLUS[line.service_class], line.grant
