"""Shares: how are floors, grants and the common share split over admitters without promising twice?

One dimension at a time, in integers.  Three steps:

1. *Wanted parts.*  Grants follow what each admitter holds and has refused.  A small floor stays
   whole at its home, less what others hold of it; a large one is levelled over the admitters.
2. *Within the entitlement's limit.*  Cuts are unconditional.  A raise waits until
   Σ over admitters of max(held, any share that may still be followed) leaves room for it below
   max(floor, grant).
3. *Within the pool.*  With U the widest share that may be followed, what counts is, per admitter
   and entitlement, max(what it holds inside U, granted part), but never less than Σ U less what
   is lent of the floor; what the dead still hold; and max(common part, what is held above the
   shares).  Raises are made in rank order as far as Σ counted <= capacity; what the grants leave
   free becomes common.

Why step 3 is enough: with K the widest common part, a request is admitted above U only while all
that is held above the shares fits into K, so no admitter ever holds more than
Σ U + max(K, held above U now).  That exceeds what is counted by lent floors alone, and that is
the overshoot that ``streams.core.overshoot`` exports.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streams.core.rounding import apportion


@dataclass(frozen=True)
class Stake:
    """One entitlement in one dimension; tuples are over the live admitters, in one order."""

    floor: int
    grant: int
    unlendable: int
    home: int
    """Index of the home admitter."""
    splits: bool
    """Whether the floor is large enough to split."""
    steady: tuple[int, ...]
    pending: tuple[int, ...]
    held: tuple[int, ...]
    """What counts against a share: all zeros in throughput, where nothing is held."""
    orphaned: int
    """Held by dead incarnations."""
    floors_followed: tuple[int, ...]
    grants_followed: tuple[int, ...]

    @property
    def limit(self) -> int:
        """The larger of floor and grant."""
        return max(self.floor, self.grant)


@dataclass(frozen=True)
class Parts:
    """What each admitter gets of one entitlement's floor and grant."""

    floors: tuple[int, ...]
    grants: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """The shares of one dimension."""

    parts: tuple[Parts, ...]
    """One per stake, in their order."""
    common: tuple[int, ...]
    common_total: int
    """What is left for all once every grant and cut has been taken up."""
    reach: int
    """The most that admitters may hold now, under any state that they may follow."""


class _Account:
    """What counts of one stake while raises are considered; the sums are kept."""

    def __init__(self, stake: Stake, floors: Sequence[int], grants: Sequence[int]) -> None:
        self.held = stake.held
        self.usable = [*map(max, floors, grants)]
        self.granted = list(grants)
        self.reach = stake.orphaned + sum(self.usable)
        self._inside = stake.orphaned + sum(map(_inside, stake.held, self.usable, grants))
        self._unlendable = stake.unlendable
        self._lent = max(0, stake.floor - stake.unlendable)

    def counted(self) -> int:
        """Return what the pool must set aside for it."""
        return max(self._unlendable, self._inside, self.reach - self._lent)

    def above(self) -> list[int]:
        """Return what is held above the usable share, by admitter."""
        return [max(0, held - use) for held, use in zip(self.held, self.usable, strict=True)]

    def added(self, i: int, usable: int, granted: int) -> int:
        """Return what a raise at admitter ``i`` would add to the count."""
        reach, inside = self._with(i, usable, granted)
        return max(self._unlendable, inside, reach - self._lent) - self.counted()

    def covered(self, i: int, usable: int) -> int:
        """Return how much of what is held above the share a raise would bring into it."""
        return max(0, min(self.held[i], usable) - self.usable[i])

    def enter(self, i: int, usable: int, granted: int) -> None:
        """Make a raise."""
        self.reach, self._inside = self._with(i, usable, granted)
        self.usable[i], self.granted[i] = usable, granted

    def _with(self, i: int, usable: int, granted: int) -> tuple[int, int]:
        before = _inside(self.held[i], self.usable[i], self.granted[i])
        more = _inside(self.held[i], usable, granted) - before
        return self.reach + usable - self.usable[i], self._inside + more


def share_out(
    stakes: Sequence[Stake],
    *,
    capacity: int,
    common_followed: Sequence[int],
    demoted: Sequence[int],
    raises: bool,
) -> Plan:
    """Return the shares to publish; ``stakes`` are in rank order.

    ``demoted`` is held by requests that draw on the common share whatever their shares are.
    Without ``raises`` (the lease after a takeover) nothing exceeds what may be followed already.
    """
    if not common_followed:
        return Plan(tuple(Parts((), ()) for _ in stakes), (), 0, sum(s.orphaned for s in stakes))
    wanted = [wanted_parts(stake) for stake in stakes]
    allowed = [
        within_limit(stake, parts, raises=raises)
        for stake, parts in zip(stakes, wanted, strict=True)
    ]
    room = _Room(stakes, capacity=capacity, common=common_followed, demoted=demoted)
    parts = tuple(room.raise_parts(index, target) for index, target in enumerate(allowed))
    total, target = _common_wanted(stakes, wanted, allowed, capacity=capacity, demoted=demoted)
    common = room.raise_common(target, raises=raises)
    return Plan(parts, common, total, room.reach(common))


def wanted_parts(stake: Stake) -> Parts:
    """Return the split that is aimed at, whatever was followed until now."""
    grant = max(0, stake.grant - stake.orphaned)
    floor = max(0, stake.floor - stake.orphaned)
    whole = floor > 0 and not stake.splits
    pulls = list(stake.steady)
    for i, pending in enumerate(stake.pending):
        pulls[stake.home if whole else i] += pending
    grants = apportion(grant, pulls)
    grants[stake.home] += grant - sum(grants)
    if grant >= floor:
        floors = apportion(floor, grants)
    elif stake.splits:
        floors = levelled(grants, floor, home=stake.home)
    else:
        floors = list(grants)
        floors[stake.home] += floor - grant
    return Parts(tuple(floors), tuple(grants))


def levelled(parts: Sequence[int], total: int, *, home: int) -> list[int]:
    """Return ``parts`` with the smallest raised to one level until they sum to ``total``.

    The level is rounded down; the units left over go to the home.
    """
    order = sorted(range(len(parts)), key=lambda i: parts[i])
    result = list(parts)
    for count in range(len(order), 0, -1):
        lowest = order[:count]
        level = (total - sum(parts[i] for i in order[count:])) // count
        if level >= parts[lowest[-1]]:
            for i in lowest:
                result[i] = level
            break
    result[home] += total - sum(result)
    return result


def within_limit(stake: Stake, parts: Parts, *, raises: bool) -> Parts:
    """Return ``parts`` with every raise cut to what the entitlement's limit has room for."""
    if not raises:
        return Parts(
            tuple(map(min, parts.floors, stake.floors_followed)),
            tuple(map(min, parts.grants, stake.grants_followed)),
        )
    counted = [
        max(trio)
        for trio in zip(stake.held, stake.floors_followed, stake.grants_followed, strict=True)
    ]
    room = max(0, stake.limit - stake.orphaned - sum(counted))
    allowed = list(counted)
    for i in [stake.home, *(i for i in range(len(counted)) if i != stake.home)]:
        more = min(room, max(0, max(parts.floors[i], parts.grants[i]) - counted[i]))
        allowed[i] += more
        room -= more
    return Parts(tuple(map(min, parts.floors, allowed)), tuple(map(min, parts.grants, allowed)))


class _Room:
    """What is left of the pool for raises, while they are made one after the other."""

    def __init__(
        self,
        stakes: Sequence[Stake],
        *,
        capacity: int,
        common: Sequence[int],
        demoted: Sequence[int],
    ) -> None:
        self._common = list(common)
        self._demoted = demoted
        self._above = [0] * len(demoted)
        """Held above the shares by requests of their own class."""
        self._accounts = [
            _Account(stake, stake.floors_followed, stake.grants_followed) for stake in stakes
        ]
        counted = 0
        for account in self._accounts:
            counted += account.counted()
            self._above = [*map(int.__add__, self._above, account.above())]
        self._left = capacity - counted - sum(map(max, self._common, self._drawn()))

    def raise_parts(self, index: int, target: Parts) -> Parts:
        """Raise one stake's parts as far as there is room; return what may be published."""
        account = self._accounts[index]
        floors = []
        for i, amount in enumerate(target.floors):
            raised = max(amount, account.usable[i])
            floors.append(
                amount if raised == account.usable[i] else self._raise(account, i, raised)
            )
        grants = []
        for i, amount in enumerate(target.grants):
            covered = amount <= account.granted[i]
            grants.append(amount if covered else self._raise(account, i, amount, grants=True))
        return Parts(tuple(floors), tuple(grants))

    def _raise(self, account: _Account, i: int, amount: int, *, grants: bool = False) -> int:
        """Raise to ``amount`` if there is room, else less; return what there is room for."""
        least = account.granted[i] if grants else account.usable[i]
        for wanted in (amount, amount - self._short(account, i, amount, grants=grants)):
            if wanted > least and self._short(account, i, wanted, grants=grants) <= 0:
                self._left -= self._cost(account, i, wanted, grants=grants)
                usable = max(account.usable[i], wanted)
                self._above[i] -= account.covered(i, usable)
                account.enter(i, usable, wanted if grants else account.granted[i])
                return wanted
        return least

    def _short(self, account: _Account, i: int, amount: int, *, grants: bool) -> int:
        return self._cost(account, i, amount, grants=grants) - max(0, self._left)

    def _cost(self, account: _Account, i: int, amount: int, *, grants: bool) -> int:
        """Return what the raise adds to the count.

        What moves from above the shares into them is free as far as it exceeds the common part:
        nothing could have taken its place there.
        """
        usable = max(account.usable[i], amount)
        added = account.added(i, usable, amount if grants else account.granted[i])
        free = min(account.covered(i, usable), max(0, self._above[i] - self._common[i]))
        return added - free

    def _drawn(self) -> list[int]:
        """Return what draws on the common share now, by admitter."""
        return [*map(int.__add__, self._above, self._demoted)]

    def raise_common(self, target: Sequence[int], *, raises: bool) -> tuple[int, ...]:
        """Return the common parts to publish; raises need room, cuts do not."""
        parts, drawn = [], self._drawn()
        for i, part in enumerate(target):
            free = max(self._common[i], drawn[i]) if raises else self._common[i]
            more = min(max(0, part - free), max(0, self._left)) if raises else 0
            self._left -= more
            parts.append(min(part, free + more))
        return tuple(parts)

    def reach(self, common: Sequence[int]) -> int:
        """Return the most that admitters may hold under any state that they may follow now."""
        shares = sum(account.reach for account in self._accounts)
        widest = map(max, self._common, common, self._drawn())
        return shares + sum(widest)


def _common_wanted(
    stakes: Sequence[Stake],
    wanted: Sequence[Parts],
    allowed: Sequence[Parts],
    *,
    capacity: int,
    demoted: Sequence[int],
) -> tuple[int, list[int]]:
    """Return the common share once all grants are raised, in all and by admitter.

    It includes what is held in it: equal parts, less where others hold more than theirs.
    """
    left, above = capacity, list(demoted)
    for stake, target, now in zip(stakes, wanted, allowed, strict=True):
        account = _Account(stake, now.floors, target.grants)
        left -= account.counted()
        above = [*map(int.__add__, above, account.above())]
    return max(0, left), _level_above(above, max(0, left))


def _level_above(above: Sequence[int], total: int) -> list[int]:
    """Return equal parts with Σ max(part, above) <= total; leftover units go to the first."""
    full: set[int] = set()
    while len(full) < len(above):
        rest = total - sum(above[i] for i in full)
        level, more = divmod(max(0, rest), len(above) - len(full))
        over = {i for i, amount in enumerate(above) if i not in full and amount > level}
        if not over:
            ranks = [i for i in range(len(above)) if i not in full]
            extra = set(ranks[:more])
            return [level + (i in extra) for i in range(len(above))]
        full |= over
    return [0] * len(above)


def _inside(held: int, usable: int, granted: int) -> int:
    return max(min(held, usable), granted)
