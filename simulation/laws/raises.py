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
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from schemas.ledger import TickRecord
from schemas.pools import Pool
from schemas.positions import Version
from schemas.state import AdmissionState
from schemas.units import AMOUNT_MAX, NOTHING_HELD, US_PER_MS
from simulation.laws.broken import Broken
from simulation.laws.lines import TRIPLE_NAMES, Triple, least, less, most, plus, stock, triple
from simulation.laws.places import Place

STATES_MAX: Final = 512
UNACKNOWLEDGED_MAX: Final = 8
"""Of more states the allocator remembers only maxima, so what it may think to be followed already
is not known: such an admitter's shares count, and are no raise."""
COMMON: Final = "$common"
_NOTHING: Final[Triple] = (0, 0, 0)
_ENDLESS: Final[Triple] = (AMOUNT_MAX, AMOUNT_MAX, AMOUNT_MAX)

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

    kept: dict[str, Triple]
    """What is never lent of them."""


@dataclass(frozen=True, slots=True)
class _Reader:
    """One admitter that is up."""

    incarnation: str
    followed: list[_State]
    """What it follows, and what may reach it before the state that is judged."""
    known: list[_State]
    """The same, as far as its reports tell."""
    holds: bool = False
    """Its lease is over: it keeps its baseline share and nothing else."""


@dataclass(slots=True)
class Raises:
    """States published lately, by version."""

    pool: Pool
    states: deque[_State] = field(default_factory=lambda: deque(maxlen=STATES_MAX))
    epoch: int = 0
    began_us: int = 0
    """The present owner's clock at its first state."""
    inherits: bool = False

    def published(
        self,
        parts: Sequence[AdmissionState],
        record: TickRecord,
        places: Sequence[Place],
        *,
        holding: Collection[int],
    ) -> Iterator[Broken]:
        """Yield the raises of a state for which there was no room.

        ``places`` are those whose lease and hold are not over: the others follow no shares.  Those
        in ``holding`` (by door) are in their hold.  What a former owner publishes is judged by what
        follows from it: whoever follows it counts when his successor raises something.
        """
        if not parts:
            return
        state = _state_of(parts, self.pool)
        if self.states and state.version < self.states[-1].version:
            self._keep(state)
            return
        readers = self._readers(state, record, places, holding=holding)
        held = _held(record)
        yield from self._after_takeover(state, parts[0], readers)
        promised, raised = _NOTHING, (False, False, False)
        for uid, limit in state.limits.items():
            baseline = triple(self.pool.entitlements[uid].baseline)
            reach = _reach(uid, readers, held, state, baseline)
            what = f"a share of {uid}"
            yield from _beyond(state, reach.usable, reach.is_wider(), limit, what, "limit")
            kept, lent = state.kept[uid], state.lent[uid]
            counted = reach.counted(kept, lent)
            promised = plus(promised, counted.really)
            raised = _either(raised, counted.is_raised())
        common = _reach(COMMON, readers, held, state, _NOTHING)
        promised = plus(promised, common.granted)
        raised = _either(raised, common.is_granted())
        capacity = triple(parts[0].capacity)
        what = "a granted or common part"
        yield from _beyond(state, promised, raised, capacity, what, "capacity")
        self._keep(state)

    def _after_takeover(
        self, state: _State, first: AdmissionState, readers: Sequence[_Reader]
    ) -> Iterator[Broken]:
        """Yield what a new owner raises in its first lease, when others may have promised it."""
        if state.version.epoch != self.epoch:
            self.epoch, self.began_us = state.version.epoch, first.at_us
            self.inherits = bool(self.states)
        if not self.inherits or first.at_us - self.began_us >= first.lease_ms * US_PER_MS:
            return
        for reader in readers:
            for key, new in state.usable.items():
                if key[1] != reader.incarnation or len(reader.known) >= UNACKNOWLEDGED_MAX:
                    continue
                known = _widest([each.usable.get(key, _NOTHING) for each in reader.known])
                if any(_above(new, known)):
                    text = (
                        f"{state.version} raises {key[0]} at {key[1]} from {known} to {new} in its "
                        f"owner's first lease"
                    )
                    yield Broken(2, "raised after a takeover", text)

    def _readers(
        self,
        state: _State,
        record: TickRecord,
        places: Sequence[Place],
        *,
        holding: Collection[int],
    ) -> list[_Reader]:
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
                        holds=place.index in holding,
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
    limits, lent, kept = {}, {}, {}
    for item in (item for part in parts for item in part.entitlements):
        uid, floor = item.entitlement, triple(item.floor)
        limits[uid] = most(floor, triple(item.grant))
        lent[uid] = least(triple(pool.entitlements[uid].lendable), floor)
        kept[uid] = less(floor, lent[uid])
        for share in item.shares:
            usable[uid, share.admitter] = most(triple(share.floor), triple(share.grant))
            granted[uid, share.admitter] = triple(share.grant)
    return _State(parts[0].version, usable, granted, limits, lent, kept)


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


Flags = tuple[bool, bool, bool]


@dataclass(frozen=True, slots=True)
class _Counted:
    """What the pool sets aside for an entitlement."""

    really: Triple
    """By what may really be followed once the state is published."""
    before: Triple
    """By what reports tell, before it is."""
    after: Triple

    def is_raised(self) -> Flags:
        """Say in which dimensions more is set aside."""
        return _above(self.after, self.before)


@dataclass(slots=True)
class _Reach:
    """Sums over the admitters of one entitlement's (or the common) parts."""

    usable: Triple = _NOTHING
    """That may really be followed once the state is published."""
    granted: Triple = _NOTHING
    known_usable: Triple = _NOTHING
    """That may be followed before, as far as reports tell."""
    known_granted: Triple = _NOTHING
    """The same, or held inside the shares."""
    next_usable: Triple = _NOTHING
    """As far as reports tell, once the state is published."""
    next_granted: Triple = _NOTHING
    wider: Flags = (False, False, False)
    more: Flags = (False, False, False)

    def is_wider(self) -> Flags:
        """Say in which dimensions somebody's share rises above what it may follow or held."""
        return self.wider

    def is_granted(self) -> Flags:
        """Say the same of granted or common parts."""
        return self.more

    def counted(self, kept: Triple, lent: Triple) -> _Counted:
        """Return what counts: granted parts, shares less what is lent, at least what is kept."""
        return _Counted(
            really=most(kept, most(self.granted, less(self.usable, lent))),
            before=most(kept, most(self.known_granted, less(self.known_usable, lent))),
            after=most(kept, most(self.next_granted, less(self.next_usable, lent))),
        )


def _reach(
    uid: str,
    readers: Sequence[_Reader],
    held: dict[Key, Triple],
    state: _State,
    baseline: Triple,
) -> _Reach:
    reach = _Reach()
    for reader in readers:
        key = (uid, reader.incarnation)
        amount = held.get(key, _NOTHING)
        new_usable = state.usable.get(key, _NOTHING)
        new_granted = state.granted.get(key, _NOTHING)
        usable = _widest([each.usable.get(key, _NOTHING) for each in reader.known])
        granted = _widest([each.granted.get(key, _NOTHING) for each in reader.known])
        if len(reader.known) >= UNACKNOWLEDGED_MAX:
            usable, granted = most(usable, new_usable), most(granted, new_granted)
        inside = most(granted, least(amount, usable))
        reach.known_usable = plus(reach.known_usable, usable)
        reach.known_granted = plus(reach.known_granted, inside)
        wider = most(usable, _beyond_held(new_usable, amount))
        reach.next_usable = plus(reach.next_usable, wider)
        reach.next_granted = plus(
            reach.next_granted, most(inside, _beyond_held(new_granted, amount))
        )
        reach.wider = _either(reach.wider, _above(new_usable, most(usable, amount)))
        reach.more = _either(reach.more, _above(new_granted, most(granted, amount)))
        most_of = baseline if reader.holds else _ENDLESS
        now = _widest([each.usable.get(key, _NOTHING) for each in reader.followed])
        now = least(now, most_of)
        reach.usable = plus(reach.usable, most(now, new_usable))
        now = _widest([each.granted.get(key, _NOTHING) for each in reader.followed])
        now = least(now, most_of)
        reach.granted = plus(reach.granted, most(now, new_granted))
    return reach


def _beyond_held(granted: Triple, held: Triple) -> Triple:
    """Return what is granted where it does not only cover what is held."""
    return (
        granted[0] if granted[0] > held[0] else 0,
        granted[1] if granted[1] > held[1] else 0,
        granted[2] if granted[2] > held[2] else 0,
    )


def _above(one: Triple, other: Triple) -> Flags:
    return one[0] > other[0], one[1] > other[1], one[2] > other[2]


def _either(one: Flags, other: Flags) -> Flags:
    return one[0] or other[0], one[1] or other[1], one[2] or other[2]


def _beyond(
    state: _State, widest: Triple, raised: Flags, limit: Triple, what: str, of: str
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
