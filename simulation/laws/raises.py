"""Law 2 on shares: a share is raised only when what it takes is held and followed by nobody else.

Judged whenever a state is published, on the states that admitters really follow at that instant
and on those under way to them.  Where a share rises above what its admitter may still follow as far
as it has reported, and above what it held, the shares of its entitlement that anybody may really
follow must sum to no more than its limit, max(floor, grant); where a granted or a common part does,
all of those and what is never lent to no more than capacity.  Cuts are unconditional, and so is a
share that only covers what is held already.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from schemas.ledger import TickRecord
from schemas.pools import Pool
from schemas.positions import Version
from schemas.state import AdmissionState
from schemas.units import NOTHING_HELD
from simulation.laws.broken import Broken
from simulation.laws.lines import TRIPLE_NAMES, Triple, least, less, most, plus, stock, triple
from simulation.laws.places import Place

STATES_MAX: Final = 512
UNACKNOWLEDGED_MAX: Final = 8
"""Of more states the allocator remembers only maxima, so what it may think to be followed already
is not known: such an admitter's shares count, and are no raise."""
COMMON: Final = "$common"
_NOTHING: Final[Triple] = (0, 0, 0)

Key = tuple[str, str]
"""Entitlement (or COMMON) and incarnation."""


@dataclass(frozen=True, slots=True)
class _State:
    """One published state, as far as it promises."""

    version: Version
    usable: dict[Key, Triple]
    granted: dict[Key, Triple]
    """Common parts included."""
    limits: dict[str, Triple]
    lent: dict[str, Triple]
    """What may be lent of the floors as they are now."""

    def share(self, uid: str, incarnation: str) -> Triple:
        """Return the larger of an admitter's parts of floor and grant."""
        return self.usable.get((uid, incarnation), _NOTHING)

    def counted(self, uid: str, incarnation: str, *, lent: Triple) -> Triple:
        """Return what the pool must set aside for an admitter's share: what is not lent of it."""
        key = (uid, incarnation)
        return most(self.granted.get(key, _NOTHING), less(self.usable.get(key, _NOTHING), lent))


@dataclass(frozen=True, slots=True)
class _Reader:
    """One admitter that is up."""

    incarnation: str
    followed: list[_State]
    """What it follows, and what may reach it before the state that is judged."""
    known: list[_State]
    """The same, as far as its reports tell."""


@dataclass(slots=True)
class Raises:
    """States published lately, by version."""

    pool: Pool
    states: deque[_State] = field(default_factory=lambda: deque(maxlen=STATES_MAX))

    def published(
        self, parts: Sequence[AdmissionState], record: TickRecord, places: Sequence[Place]
    ) -> Iterator[Broken]:
        """Yield the raises of a state for which there was no room.

        ``places`` are those whose lease and hold are not over: the others follow no shares.
        """
        if not parts:
            return
        state = _state_of(parts, self.pool)
        readers = self._readers(state, record, places)
        held = _held(record)
        for uid, limit in state.limits.items():
            widest, raised = _reach(readers, [uid], held, state, _State.share)
            yield from _beyond(state, widest, raised, limit, f"a share of {uid}", "limit")
        capacity = triple(parts[0].capacity)
        widest, raised = _reach(readers, [*state.limits, COMMON], held, state, _counted_by(state))
        yield from _beyond(state, widest, raised, capacity, "a granted or common part", "capacity")
        self._keep(state)

    def _readers(self, state: _State, record: TickRecord, places: Sequence[Place]) -> list[_Reader]:
        applied = {item.incarnation: item.applied for item in record.admitters}
        readers = []
        for place in places:
            if place.gate is not None and not place.gate.leaving:
                name = place.gate.incarnation
                known = min(place.version, applied.get(name, place.version))
                readers.append(
                    _Reader(
                        name,
                        followed=self._between(place.version, state.version),
                        known=self._between(known, state.version),
                    )
                )
        return readers

    def _between(self, oldest: Version, newest: Version) -> list[_State]:
        return [state for state in self.states if oldest <= state.version < newest]

    def _keep(self, state: _State) -> None:
        self.states.append(state)
        if len(self.states) > 1 and self.states[-2].version > state.version:
            ordered = sorted(self.states, key=lambda item: item.version)
            self.states = deque(ordered, maxlen=STATES_MAX)


def _state_of(parts: Sequence[AdmissionState], pool: Pool) -> _State:
    usable: dict[Key, Triple] = {}
    granted: dict[Key, Triple] = {
        (COMMON, view.incarnation): triple(view.common) for part in parts for view in part.admitters
    }
    limits, lent = {}, {}
    for item in (item for part in parts for item in part.entitlements):
        limits[item.entitlement] = most(triple(item.floor), triple(item.grant))
        lendable = triple(pool.entitlements[item.entitlement].lendable)
        lent[item.entitlement] = least(lendable, triple(item.floor))
        for share in item.shares:
            key = (item.entitlement, share.admitter)
            usable[key] = most(triple(share.floor), triple(share.grant))
            granted[key] = triple(share.grant)
    return _State(parts[0].version, usable, granted, limits, lent)


def _held(record: TickRecord) -> dict[Key, Triple]:
    """Return what the tick knew to be held; under COMMON, all that could draw on a common part."""
    held: dict[Key, Triple] = {}
    for admitter in record.admitters:
        total = NOTHING_HELD
        for uid, amount in admitter.held.items():
            held[uid, admitter.incarnation] = stock(amount)
            total += amount
        held[COMMON, admitter.incarnation] = stock(total)
    return held


Amount = Callable[[_State, str, str], Triple]
"""Of one state, for an entitlement (or COMMON) at an incarnation."""


def _counted_by(now: _State) -> Amount:
    return lambda state, uid, name: state.counted(uid, name, lent=now.lent.get(uid, _NOTHING))


def _reach(
    readers: Sequence[_Reader],
    uids: Sequence[str],
    held: dict[Key, Triple],
    state: _State,
    amount: Amount,
) -> tuple[Triple, list[bool]]:
    """Return what may be followed in all, and in which dimensions something is raised."""
    reach, raised = _NOTHING, [False, False, False]
    for reader in readers:
        for uid in uids:
            name = reader.incarnation
            new = amount(state, uid, name)
            now = _widest([amount(each, uid, name) for each in reader.followed])
            known = _widest([amount(each, uid, name) for each in reader.known])
            known = most(known, held.get((uid, name), _NOTHING))
            if len(reader.known) >= UNACKNOWLEDGED_MAX:
                known = most(known, new)
            raised = [flag or new[i] > known[i] for i, flag in enumerate(raised)]
            reach = plus(reach, most(now, new))
    return reach, raised


def _beyond(
    state: _State, widest: Triple, raised: list[bool], limit: Triple, what: str, of: str
) -> Iterator[Broken]:
    for i, unit in enumerate(TRIPLE_NAMES):
        if raised[i] and widest[i] > limit[i]:
            text = (
                f"{state.version} raises {what} while {widest[i]} {unit} may be followed of a {of} "
                f"of {limit[i]}"
            )
            yield Broken(2, "share raised" if of == "limit" else "grant raised", text)


def _widest(amounts: Sequence[Triple]) -> Triple:
    result = _NOTHING
    for amount in amounts:
        result = most(result, amount)
    return result
