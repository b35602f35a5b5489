"""Distribution: from what a tick decided to one share per entitlement and live admitter.

Puts together what ``splitting``, ``shares`` and ``surplus`` need: floors and grants decided now,
what each admitter holds and asks for, and what it may still follow.  It is most of a tick, so it
works on rows of integers (by dimension, then by admitter) and makes vectors only of what is
published.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from schemas.ledger import AdmitterRecord
from schemas.reports import EntitlementReport
from schemas.specs import Leases
from schemas.state import Share
from schemas.units import AMOUNT_MAX, NOTHING, NOTHING_HELD, Held, Resources
from streams.core.demand import Local
from streams.core.followed import COMMON, Followed, Key, widest
from streams.core.policy import Decision
from streams.core.rounding import apportion
from streams.core.shares import Room, Settled, Stake
from streams.core.splitting import SLOTS, Parts, Row, Wanted, split
from streams.core.surplus import common_parts

DIMENSIONS: Final = 3
NO_ROW: Final = (0, 0, 0)


@dataclass(frozen=True)
class Sight:
    """What is known of the admitters; all mappings are by (entitlement, admitter)."""

    live: Mapping[str, AdmitterRecord]
    followed: Followed
    locals: Mapping[Key, Local]
    reports: Mapping[Key, EntitlementReport]
    stale: Mapping[str, bool]
    """By admitter: whether its lease was over when it reported, so that it used no whole share.

    One that this owner has not heard yet is missing; it may hold what the former owner knew.
    """
    orphaned: Mapping[str, Held]
    homes: Mapping[str, str]
    split_slots: int = Leases().split_slots
    """A floor of fewer slots per live admitter stays whole at its home."""
    kept_slots: int = 0
    """Headroom that no request can take, per admitter (``overshoot.kept_headroom``)."""


@dataclass(frozen=True)
class Distribution:
    """Every share to publish, and what follows from them."""

    shares: Mapping[Key, Share]
    """The common parts are under the uid ``COMMON``, as grants."""
    common_total: Resources = NOTHING
    reach: Resources = NOTHING
    """The most that admitters may hold now, under any state that they may follow; the dead too."""
    reaches: Mapping[str, Resources] = field(default_factory=dict)
    """The same for each live admitter."""


@dataclass(frozen=True)
class _Places:
    """What the live admitters hold in all, while the stakes are put together."""

    demoted: list[list[int]]
    """By dimension and admitter."""
    traffic: list[int]
    """Slots held and refused, by admitter."""
    settled: list[list[int]]
    """Idle floors that lie where they should, by dimension and admitter; no stakes."""
    set_aside: list[int] = field(default_factory=lambda: [0] * DIMENSIONS)
    """What is never lent of them, by dimension."""
    shares: dict[Key, Share] = field(default_factory=dict)
    """Their shares."""


def distribute(
    decisions: Sequence[Decision], sight: Sight, *, capacity: Resources, raises: bool
) -> Distribution:
    """Return the shares to publish in this tick."""
    names = list(sight.live)
    if not names:
        return Distribution(shares={}, reach=_dead_reach(sight))
    places = _Places(_zeros(names), [0] * len(names), _zeros(names))
    uids, stakes = _stakes(decisions, sight, places)
    common = [_row(widest(sight.followed.get((COMMON, name), ()))[1]) for name in names]
    rooms = [
        Room(
            [stake[d] for stake in stakes],
            capacity=_row(capacity)[d],
            common_followed=[part[d] for part in common],
            demoted=places.demoted[d],
            settled=Settled(places.set_aside[d], places.settled[d]),
        )
        for d in range(DIMENSIONS)
    ]
    parts = [room.raise_shares(raises=raises) for room in rooms]
    left = [room.surplus() for room in rooms]
    targets = common_parts(
        [each.total for each in left],
        above=[each.above for each in left],
        traffic=places.traffic,
    )
    commons = [
        room.raise_common(target, raises=raises)
        for room, target in zip(rooms, targets, strict=True)
    ]
    reaches = [
        room.reach(row, kept=sight.kept_slots if d == SLOTS else 0)
        for d, (room, row) in enumerate(zip(rooms, commons, strict=True))
    ]
    by_name = dict(zip(names, map(Resources, *reaches), strict=True))
    for name, admitter in sight.live.items():
        if name not in sight.stale:
            by_name[name] = by_name[name].at_least(admitter.reach)
    return Distribution(
        shares=places.shares | _shares(uids, parts, commons, names),
        common_total=Resources(*(each.total for each in left)),
        reach=_total(by_name.values(), _dead_reach(sight)),
        reaches=by_name,
    )


def _stakes(
    decisions: Sequence[Decision], sight: Sight, places: _Places
) -> tuple[list[str], list[tuple[Stake, ...]]]:
    """Return uids and stakes in rank order; those without a spec get nothing and come last."""
    ordered = sorted(
        decisions,
        key=lambda item: (
            item.output.service_class.rank,
            -item.output.weight_ppm,
            item.output.entitlement,
        ),
    )
    uids = [decision.output.entitlement for decision in ordered]
    known = {*uids, COMMON}
    seen = {uid for uid, _ in sight.followed} | {uid for uid, _ in sight.locals}
    unknown = sorted((seen | set(sight.orphaned)) - known)
    names = list(sight.live)
    ranks = {name: i for i, name in enumerate(names)}
    busy = _busy(sight)
    rows = [
        (uid, each)
        for uid, each in zip(uids, ordered, strict=True)
        if uid in busy or not _is_settled(uid, each, sight, places, ranks)
    ]
    stakes = [
        _stake(uid, each, sight, places, names, ranks)
        for uid, each in [*rows, *((uid, None) for uid in unknown)]
    ]
    return [*(uid for uid, _ in rows), *unknown], stakes


def _busy(sight: Sight) -> set[str]:
    """Return the entitlements of which anything is held or refused."""
    busy = {
        key[0]
        for key, local in sight.locals.items()
        if local.held != NOTHING_HELD or local.pending != NOTHING
    }
    return busy | set(sight.orphaned)


def _is_settled(
    uid: str, decision: Decision, sight: Sight, places: _Places, ranks: Mapping[str, int]
) -> bool:
    """Say whether an idle entitlement has what it should have already, and add that up.

    That is nothing, or its whole floor at its home.
    """
    floor = decision.output.floor
    if decision.output.grant != NOTHING or _splits(floor, sight):
        return False
    home = sight.homes.get(uid, "")
    for name in ranks:
        chain = sight.followed.get((uid, name), ())
        if floor == NOTHING or name != home:
            if chain:
                return False
        elif len(chain) != 1 or chain[0].floor != floor or chain[0].grant != NOTHING:
            return False
    if floor != NOTHING:
        rows = zip(_row(floor), _row(decision.unlendable), strict=True)
        for d, (amount, kept) in enumerate(rows):
            places.settled[d][ranks[home]] += amount
            places.set_aside[d] += kept
        places.shares[uid, home] = Share(admitter=home, floor=floor)
    return True


def _splits(floor: Resources, sight: Sight) -> bool:
    """Say whether a floor is large enough to split."""
    return floor.slots > 0 and floor.slots >= sight.split_slots * len(sight.live)


def _stake(
    uid: str,
    decision: Decision | None,
    sight: Sight,
    places: _Places,
    names: Sequence[str],
    ranks: Mapping[str, int],
) -> tuple[Stake, ...]:
    """Return one entitlement's stakes, by dimension."""
    floor, grant, unlendable, lendable = _decided(decision)
    keys = [(uid, name) for name in names]
    steady, pending, held = _local_rows(keys, sight, places)
    chains = [sight.followed.get(key, ()) for key in keys]
    floors, grants = _columns([widest(chain) for chain in chains])
    lost = sight.orphaned.get(uid, NOTHING_HELD)
    orphaned = (0, lost.kv_bytes, lost.slots)
    home = ranks.get(sight.homes.get(uid, ""), 0)
    splits = decision is not None and _splits(decision.output.floor, sight)
    aimed = split(
        Wanted(
            floor if lost is NOTHING_HELD else _less(floor, orphaned),
            grant if lost is NOTHING_HELD else _less(grant, orphaned),
            steady,
            pending,
            home,
            splits,
        )
    )
    return tuple(
        Stake(
            floor[d],
            grant[d],
            unlendable[d],
            lendable[d],
            home,
            orphaned[d],
            held[d],
            floors[d],
            grants[d],
            aimed[d],
        )
        for d in range(DIMENSIONS)
    )


def _decided(decision: Decision | None) -> tuple[Row, Row, Row, Row]:
    """Return floor, grant, and what is never and what may be lent; throughput is not lent at once.

    What an entitlement lent that is in no spec any more is not known, so perhaps all of it.
    """
    if decision is None:
        return NO_ROW, NO_ROW, NO_ROW, (0, AMOUNT_MAX, AMOUNT_MAX)
    output, lendable = decision.output, decision.lendable
    lent = (0, lendable.kv_bytes, lendable.slots)
    return _row(output.floor), _row(output.grant), _row(decision.unlendable), lent


def _local_rows(
    keys: Sequence[Key], sight: Sight, places: _Places
) -> tuple[list[Row], list[Row], list[Row]]:
    """Return what is held steadily, refused, and held within shares, by dimension and admitter.

    What is held counts in KV cache and slots; throughput is never held.
    """
    steady, pending, held = [], [], []
    withdrawn = NOTHING
    for i, key in enumerate(keys):
        local = sight.locals.get(key)
        if local is None:
            steady.append(NO_ROW)
            pending.append(NO_ROW)
            held.append(NO_ROW)
            continue
        steady.append(_row(local.steady))
        pending.append(_row(local.pending))
        if local.withdrawn != NOTHING:
            withdrawn += local.withdrawn
        kv_bytes, slots = local.held.kv_bytes, local.held.slots
        places.traffic[i] += slots + local.pending.slots
        report = sight.reports.get(key)
        if report is not None and report.held_demoted != NOTHING_HELD:
            demoted = _row(_stock(report.held_demoted))
            for d, amount in enumerate(demoted):
                places.demoted[d][i] += amount
            kv_bytes, slots = kv_bytes - demoted[1], slots - demoted[SLOTS]
        held.append((0, kv_bytes, slots))
    refused = _turned(pending)
    if withdrawn != NOTHING:
        refused = [*map(_still_pending, refused, _row(withdrawn))]
    return _turned(steady), refused, _turned(held)


def _still_pending(row: Row, withdrawn: int) -> Row:
    """Return what was refused by admitter, less what has come back at another one.

    It is not known where that was refused, so everybody's is less by the same ratio.
    """
    return apportion(max(0, sum(row) - withdrawn), row)


def _dead_reach(sight: Sight) -> Resources:
    return _total(map(_stock, sight.orphaned.values()), NOTHING)


def _total(amounts: Iterable[Resources], total: Resources) -> Resources:
    for amount in amounts:
        total += amount
    return total


def _stock(held: Held) -> Resources:
    return Resources(0, held.kv_bytes, held.slots)


def _zeros(names: Sequence[str]) -> list[list[int]]:
    return [[0] * len(names) for _ in range(DIMENSIONS)]


def _row(amount: Resources) -> tuple[int, int, int]:
    """Return the amounts in the order of the dimensions."""
    return amount.tokens_per_s, amount.kv_bytes, amount.slots


def _turned(rows: Sequence[Row]) -> list[Row]:
    """Return rows by admitter as rows by dimension."""
    return list(zip(*rows, strict=True))


def _columns(pairs: Sequence[tuple[Resources, Resources]]) -> tuple[list[Row], list[Row]]:
    """Return floors and grants by dimension and admitter."""
    return _turned([_row(pair[0]) for pair in pairs]), _turned([_row(pair[1]) for pair in pairs])


def _less(row: Row, lost: Row) -> Row:
    return [max(0, amount - gone) for amount, gone in zip(row, lost, strict=True)]


def _shares(
    uids: Sequence[str],
    parts: Sequence[Sequence[Parts]],
    commons: Sequence[Sequence[int]],
    names: Sequence[str],
) -> dict[Key, Share]:
    """Return the shares that are not nothing, the three dimensions put together again."""
    shares: dict[Key, Share] = {}
    for uid, *trio in zip(uids, *parts, strict=True):
        floors = zip(*(each.floors for each in trio), strict=True)
        grants = zip(*(each.grants for each in trio), strict=True)
        for name, floor, grant in zip(names, floors, grants, strict=True):
            if any(floor) or any(grant):
                shares[uid, name] = _share(name, floor, grant)
    for name, common in zip(names, zip(*commons, strict=True), strict=True):
        if any(common):
            shares[COMMON, name] = _share(name, (0, 0, 0), common)
    return shares


def _share(name: str, floor: Row, grant: Row) -> Share:
    return Share(
        admitter=name,
        floor=Resources(*floor) if any(floor) else NOTHING,
        grant=Resources(*grant) if any(grant) else NOTHING,
    )
