"""Shares: how much of the aimed-at split may be published without promising twice?

One dimension at a time, in integers.  Cuts are unconditional.  A raise has to pass two doors:

1. *Within the entitlement's limit.*  Σ over admitters of max(held, any share that may still be
   followed) leaves room for it below max(floor, grant).
2. *Within the pool.*  With U the widest share that may be followed, what counts is, per admitter
   and entitlement, max(what it holds inside U, granted part), but never less than Σ U less what
   is lent of the floor; what the dead still hold; and per admitter max(K, A), where K is the
   widest common part that may be followed and A what is held above the shares.  Raises are made
   in rank order as far as Σ counted <= capacity, twice over: once as it is, and once with the part
   of every floor that is never lent set aside.  The set-aside alone would not do: while an
   entitlement holds requests above its shares, its own floor is counted there too, and a raise
   within it would be free although nothing has been given up for it.

Why no admitter holds more than Σ U + max(K, A now): a request is admitted above some share u <= U
only while all that is held above the shares, itself included, fits into a common part k <= K, so
A <= K after it.  Any other request lies inside u and leaves A as it is.  A report that acknowledges
a cut lowers Σ U by as much as it may raise A, so the sum never rises but by a raise that was
counted.  Σ over admitters, plus what the dead hold, is the *reach*.  It exceeds Σ counted by lent
floors alone; ``streams.core.overshoot`` exports what exceeds capacity.

An admitter also lends what a guaranteed entitlement leaves idle of its granted part.  All that is
above the shares then fits into k + L, L the most that it may lend so, and the reach is
Σ U + max(K + L, A).

Headroom: where no entitlement may burst, only surplus classes draw on the common share, and each
admitter admits them only while its part H of the headroom stays free; then A <= K - H.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from streams.core.splitting import Parts, Row


class Stake(msgspec.Struct, frozen=True, gc=False):
    """One entitlement in one dimension; rows are over the live admitters, in one order."""

    floor: int
    grant: int
    unlendable: int
    lendable: int
    """The most that each admitter may lend of its granted part while that is idle."""
    home: int
    """Index of the home admitter."""
    orphaned: int
    """Held by dead incarnations."""
    held: Row
    """What counts against a share: all zeros in throughput, where nothing is held."""
    floors_followed: Row
    grants_followed: Row
    wanted: Parts
    """The split that is aimed at."""


class Surplus(msgspec.Struct, frozen=True):
    """What is left for all in one dimension once every grant and cut has been taken up."""

    total: int
    above: Row
    """Held above the shares then, by admitter."""


class Settled(msgspec.Struct, frozen=True):
    """Idle floors that are published as they should be, in one dimension."""

    counted: int
    """What is never lent of them."""
    usable: Row
    """Σ of the shares, by admitter."""


class _Account:
    """What counts of one stake while it is raised."""

    __slots__ = ("_inside", "_kept", "_reach", "granted", "held", "usable")

    def __init__(self, stake: Stake, reach: int, inside: int) -> None:
        self.held = stake.held
        self.usable = [*map(max, stake.floors_followed, stake.grants_followed)]
        self.granted = list(stake.grants_followed)
        self._kept = stake.unlendable
        self._reach = reach - max(0, stake.floor - stake.unlendable)
        """Σ of the widest shares, less what is lent of the floor."""
        self._inside = inside

    def added(self, i: int, usable: int, granted: int) -> tuple[int, int]:
        """Return what a raise at admitter ``i`` adds to the count: with the set-aside, and bare."""
        reach, inside = self._with(i, usable, granted)
        kept, now, then = self._kept, max(self._inside, self._reach), max(inside, reach)
        return max(kept, then) - max(kept, now), then - now

    def enter(self, i: int, usable: int, granted: int) -> None:
        """Make a raise."""
        self._reach, self._inside = self._with(i, usable, granted)
        self.usable[i], self.granted[i] = usable, granted

    def _with(self, i: int, usable: int, granted: int) -> tuple[int, int]:
        held, usable_now, granted_now = self.held[i], self.usable[i], self.granted[i]
        inside = held if held < usable else usable
        inside_now = held if held < usable_now else usable_now
        more = (inside if inside > granted else granted) - (
            inside_now if inside_now > granted_now else granted_now
        )
        return self._reach + usable - usable_now, self._inside + more


class Room:
    """What is left of the pool in one dimension, while raises are made one after the other."""

    def __init__(
        self,
        stakes: Sequence[Stake],
        *,
        capacity: int,
        common_followed: Sequence[int],
        demoted: Sequence[int],
        settled: Settled | None = None,
    ) -> None:
        """``stakes`` are in rank order.

        ``demoted`` is held by requests that draw on the common share whatever their shares are.
        """
        settled = settled or Settled(0, [0] * len(demoted))
        self._stakes = stakes
        self._allowed: list[Parts] = []
        self._capacity = capacity - settled.counted
        self._common = list(common_followed)
        self._demoted = demoted
        self._above = [0] * len(demoted)
        """Held above the shares by requests of their own class."""
        self._usable = list(settled.usable)
        """Σ of the widest shares that may be followed or are published now, by admitter."""
        self._lent = [0] * len(demoted)
        """The most that may be lent of granted parts on the spot, by admitter."""
        self._weighed = [
            _weighed(stake, stake.floors_followed, stake.grants_followed, self._above)
            for stake in stakes
        ]
        for stake in stakes:
            self._widen(stake.floors_followed, stake.grants_followed)
        counted = [
            _counted(stake, *pair) for stake, pair in zip(stakes, self._weighed, strict=True)
        ]
        common = sum(map(max, self._common, self._drawn()))
        self._left = self._capacity - common - sum(aside for aside, _ in counted)
        self._bare = self._capacity - common - sum(bare for _, bare in counted)

    def raise_shares(self, *, raises: bool) -> list[Parts]:
        """Return the parts that may be published, one per stake.

        Without ``raises`` (the lease after a takeover) nothing exceeds what may be followed.
        """
        published = []
        for k, stake in enumerate(self._stakes):
            wanted = stake.wanted
            if raises and _is_within(wanted, stake):
                self._allowed.append(wanted)
                published.append(wanted)
                continue
            parts = within_limit(stake, raises=raises)
            self._allowed.append(parts)
            published.append(parts if _is_within(parts, stake) else self._raise_parts(k, parts))
        for stake, parts in zip(self._stakes, published, strict=True):
            if stake.lendable:
                self._lend(stake, parts.grants)
        return published

    def surplus(self) -> Surplus:
        """Return what is left for all once all grants are raised as their limits allow."""
        left, above = self._capacity, list(self._demoted)
        for stake, now in zip(self._stakes, self._allowed, strict=True):
            pair = _weighed(stake, now.floors, stake.wanted.grants, above)
            left -= _counted(stake, *pair)[0]
        return Surplus(max(0, left), above)

    def raise_common(self, target: Sequence[int], *, raises: bool) -> list[int]:
        """Return the common parts to publish; raises need room, cuts do not."""
        parts, drawn = [], self._drawn()
        for i, part in enumerate(target):
            free = max(self._common[i], drawn[i]) if raises else self._common[i]
            more = 0
            if raises:
                more = min(max(0, part - free), max(0, min(self._left, self._bare)))
                self._left -= more
                self._bare -= more
            parts.append(min(part, free + more))
        return parts

    def reach(self, common: Sequence[int], *, kept: int = 0) -> list[int]:
        """Return the most that each admitter may hold under any state that it may follow now.

        Whatever is published, ``kept`` of each common part stays free.
        """
        widest = (
            max(drawn, max(before, now) + lent - kept)
            for drawn, before, now, lent in zip(
                self._drawn(), self._common, common, self._lent, strict=True
            )
        )
        return [usable + more for usable, more in zip(self._usable, widest, strict=True)]

    def _lend(self, stake: Stake, grants: Row) -> None:
        """Count what an admitter may lend of this stake's granted part while it is idle."""
        for i, grant in enumerate(grants):
            self._lent[i] += min(stake.lendable, max(grant, stake.grants_followed[i]))

    def _widen(self, floors: Row, grants: Row) -> None:
        for i, floor in enumerate(floors):
            self._usable[i] += floor if floor > grants[i] else grants[i]

    def _raise_parts(self, k: int, target: Parts) -> Parts:
        """Raise one stake's parts as far as there is room; return what may be published."""
        stake = self._stakes[k]
        if self._has_none_for(stake):
            widest = [*map(max, stake.floors_followed, stake.grants_followed)]
            return Parts(
                [*map(min, target.floors, widest)],
                [*map(min, target.grants, stake.grants_followed)],
            )
        if self._fits_whole(k, target):
            return target
        account = _Account(stake, *self._weighed[k])
        before = list(account.usable)
        floors = [
            amount if amount <= account.usable[i] else self._raise(account, i, amount)
            for i, amount in enumerate(target.floors)
        ]
        grants = [
            amount if amount <= account.granted[i] else self._raise(account, i, amount, grants=True)
            for i, amount in enumerate(target.grants)
        ]
        for i, usable in enumerate(before):
            self._usable[i] += account.usable[i] - usable
        return Parts(floors, grants)

    def _has_none_for(self, stake: Stake) -> bool:
        """Say whether no raise of the stake can be free: nothing is left, set aside or lent."""
        if stake.floor or (self._left > 0 and self._bare > 0):
            return False
        rows = zip(stake.held, stake.floors_followed, stake.grants_followed, strict=True)
        return all(held <= floor or held <= grant for held, floor, grant in rows)

    def _fits_whole(self, k: int, target: Parts) -> bool:
        """Make all raises of a stake at once if there is room for them, come what may be free.

        The same as one after the other, and most of the time all that there is to do.
        """
        stake = self._stakes[k]
        reach = inside = stake.orphaned
        moves = []
        for i, held in enumerate(stake.held):
            grant = max(stake.grants_followed[i], target.grants[i])
            before = max(stake.floors_followed[i], stake.grants_followed[i])
            usable = max(before, target.floors[i], grant)
            reach += usable
            inside += max(min(held, usable), grant)
            if usable > before:
                moves.append((i, usable - before, min(held, usable) - before))
        aside, bare = _counted(stake, reach, inside)
        aside_before, bare_before = _counted(stake, *self._weighed[k])
        more, more_bare = aside - aside_before, bare - bare_before
        if more > max(0, self._left) or more_bare > max(0, self._bare):
            return False
        self._left -= more
        self._bare -= more_bare
        for i, raised, covered in moves:
            self._usable[i] += raised
            if covered > 0:
                self._free(i, covered)
        return True

    def _free(self, i: int, covered: int) -> None:
        """Take what a raise has covered off what is held above the shares."""
        beyond = max(0, self._above[i] + self._demoted[i] - self._common[i])
        self._above[i] -= covered
        self._left += min(covered, beyond)
        self._bare += min(covered, beyond)

    def _raise(self, account: _Account, i: int, amount: int, *, grants: bool = False) -> int:
        """Raise to ``amount`` if there is room, else less; return what there is room for.

        What moves from above the shares into them is free as far as it exceeds the common part:
        nothing could have taken its place there.
        """
        usable, granted, held = account.usable[i], account.granted[i], account.held[i]
        least = granted if grants else usable
        beyond = max(0, self._above[i] + self._demoted[i] - self._common[i]) if held > usable else 0
        left, bare = max(0, self._left), max(0, self._bare)
        wanted = amount
        for _ in range(2):
            use, grant = max(usable, wanted), wanted if grants else granted
            more, more_bare = account.added(i, use, grant)
            covered = max(0, min(held, use) - usable)
            free = min(covered, beyond)
            short = max(more - left, more_bare - bare) - free
            if short <= 0:
                self._left -= more - free
                self._bare -= more_bare - free
                self._above[i] -= covered
                account.enter(i, use, grant)
                return wanted
            wanted -= short
            if wanted <= least:
                break
        return least

    def _drawn(self) -> list[int]:
        """Return what draws on the common share now, by admitter."""
        return [*map(int.__add__, self._above, self._demoted)]


def within_limit(stake: Stake, *, raises: bool) -> Parts:
    """Return the aimed-at parts with every raise cut to what the limit has room for."""
    wanted = stake.wanted
    if not raises:
        return Parts(
            [*map(min, wanted.floors, stake.floors_followed)],
            [*map(min, wanted.grants, stake.grants_followed)],
        )
    counted, short = [], []
    for i, held in enumerate(stake.held):
        most = max(held, stake.floors_followed[i], stake.grants_followed[i])
        counted.append(most)
        more = max(wanted.floors[i], wanted.grants[i]) - most
        if more > 0:
            short.append((i != stake.home, i, more))
    if not short:
        return wanted
    room = max(0, max(stake.floor, stake.grant) - stake.orphaned - sum(counted))
    if room >= sum(more for _, _, more in short):
        return wanted
    for _, i, more in sorted(short):
        counted[i] += min(room, more)
        room -= min(room, more)
    return Parts([*map(min, wanted.floors, counted)], [*map(min, wanted.grants, counted)])


def _is_within(target: Parts, stake: Stake) -> bool:
    """Say whether the target raises nothing."""
    rows = (target.floors, target.grants, stake.floors_followed, stake.grants_followed)
    for floor, grant, floor_before, grant_before in zip(*rows, strict=True):
        if grant > grant_before or (floor > floor_before and floor > grant_before):
            return False
    return True


def _weighed(stake: Stake, floors: Row, grants: Row, above: list[int]) -> tuple[int, int]:
    """Return the stake's reach and what counts inside it; add what is above it to ``above``."""
    reach = inside = stake.orphaned
    for i, held in enumerate(stake.held):
        floor, grant = floors[i], grants[i]
        usable = floor if floor > grant else grant
        reach += usable
        if held > usable:
            above[i] += held - usable
            inside += usable
        else:
            inside += held if held > grant else grant
    return reach, inside


def _counted(stake: Stake, reach: int, inside: int) -> tuple[int, int]:
    """Return what the pool must count: with what is never lent set aside, and without."""
    unlent = stake.floor - stake.unlendable
    bare = max(inside, reach - unlent) if unlent > 0 else reach
    return max(stake.unlendable, bare), bare
