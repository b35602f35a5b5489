"""Distribution: from what a tick decided to one share per entitlement and live admitter.

Puts together what ``streams.core.shares`` needs in each dimension: floors and grants decided now,
what each admitter holds and asks for, and what it may still follow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from schemas.ledger import AdmitterRecord
from schemas.reports import EntitlementReport
from schemas.state import Share
from schemas.units import NOTHING, NOTHING_HELD, Dimension, Held, Resources
from streams.core.demand import Local
from streams.core.followed import COMMON, Followed, Key, in_force, widest
from streams.core.policy import Decision
from streams.core.shares import Plan, Stake, share_out

SPLIT_SLOTS: Final = 8
"""A floor of fewer slots per live admitter stays whole at its home."""


@dataclass(frozen=True)
class Sight:
    """What is known of the admitters; all mappings are by (entitlement, admitter)."""

    live: Mapping[str, AdmitterRecord]
    followed: Followed
    locals: Mapping[Key, Local]
    reports: Mapping[Key, EntitlementReport]
    stale: Mapping[str, bool]
    """By admitter: whether its lease was over when it reported, so that it used no whole share."""
    orphaned: Mapping[str, Held]
    homes: Mapping[str, str]


@dataclass(frozen=True)
class Distribution:
    """Every share to publish, and what follows from them."""

    shares: Mapping[Key, Share]
    """The common parts are under the uid ``COMMON``, as grants."""
    common_total: Resources = NOTHING
    reach: Resources = NOTHING


@dataclass(frozen=True)
class _Line:
    """One entitlement over the live admitters, before it is taken apart by dimension."""

    uid: str
    floor: Resources = NOTHING
    grant: Resources = NOTHING
    unlendable: Resources = NOTHING
    home: int = 0
    splits: bool = False
    orphaned: Resources = NOTHING
    steady: list[Resources] = field(default_factory=list)
    pending: list[Resources] = field(default_factory=list)
    held: list[Resources] = field(default_factory=list)
    demoted: list[Resources] = field(default_factory=list)
    followed: list[tuple[Resources, Resources]] = field(default_factory=list)


def distribute(
    decisions: Sequence[Decision], sight: Sight, *, capacity: Resources, raises: bool
) -> Distribution:
    """Return the shares to publish in this tick."""
    lines = _lines(decisions, sight)
    names = list(sight.live)
    common = [widest(sight.followed.get((COMMON, name), ()))[1] for name in names]
    plans = [
        share_out(
            [_stake(line, dimension) for line in lines],
            capacity=capacity.of(dimension),
            common_followed=[part.of(dimension) for part in common],
            demoted=[
                sum(line.demoted[i].of(dimension) for line in lines) for i in range(len(names))
            ],
            raises=raises,
        )
        for dimension in Dimension
    ]
    return Distribution(
        shares=_shares(plans, [line.uid for line in lines], names),
        common_total=Resources(*(plan.common_total for plan in plans)),
        reach=Resources(*(plan.reach for plan in plans)),
    )


def _lines(decisions: Sequence[Decision], sight: Sight) -> list[_Line]:
    """Return one line per entitlement in rank order; those without a spec get nothing, last."""
    ordered = sorted(
        decisions,
        key=lambda item: (
            item.output.service_class.rank,
            -item.output.weight_ppm,
            item.output.entitlement,
        ),
    )
    known = {decision.output.entitlement for decision in decisions}
    seen = {uid for uid, _ in (*sight.followed, *sight.locals)} | set(sight.orphaned)
    return [
        *(_line(decision.output.entitlement, decision, sight) for decision in ordered),
        *(_line(uid, None, sight) for uid in sorted(seen - known - {COMMON})),
    ]


def _line(uid: str, decision: Decision | None, sight: Sight) -> _Line:
    names = list(sight.live)
    keys = [(uid, name) for name in names]
    parts = [sight.locals.get(key) or Local() for key in keys]
    demoted = [_demoted(sight, key) for key in keys]
    orphaned = sight.orphaned.get(uid, NOTHING_HELD)
    floor = NOTHING if decision is None else decision.output.floor
    home = sight.homes.get(uid, "")
    return _Line(
        uid=uid,
        floor=floor,
        grant=NOTHING if decision is None else decision.output.grant,
        unlendable=NOTHING if decision is None else decision.unlendable,
        home=names.index(home) if home in names else 0,
        splits=floor.slots >= SPLIT_SLOTS * max(1, len(names)),
        orphaned=_stock(orphaned),
        steady=[part.steady for part in parts],
        pending=[part.pending for part in parts],
        held=[_stock(part.held) - away for part, away in zip(parts, demoted, strict=True)],
        demoted=demoted,
        followed=[widest(sight.followed.get(key, ())) for key in keys],
    )


def _stock(held: Held) -> Resources:
    """What is held counts in KV cache and slots; throughput is never held."""
    return Resources(0, held.kv_bytes, held.slots)


def _demoted(sight: Sight, key: Key) -> Resources:
    """Return what is held above the share although the share has room: demoted requests."""
    report = sight.reports.get(key)
    if report is None or sight.stale[key[1]]:
        return NOTHING
    usable = in_force(sight.followed.get(key, ()), sight.live[key[1]].applied)
    beyond = (_stock(report.held) - usable).at_least(NOTHING)
    above = (_stock(report.held_above_share) - beyond).at_least(NOTHING)
    return above.at_most(_stock(report.held))


def _stake(line: _Line, dimension: Dimension) -> Stake:
    return Stake(
        floor=line.floor.of(dimension),
        grant=line.grant.of(dimension),
        unlendable=line.unlendable.of(dimension),
        home=line.home,
        splits=line.splits,
        steady=tuple(amount.of(dimension) for amount in line.steady),
        pending=tuple(amount.of(dimension) for amount in line.pending),
        held=tuple(amount.of(dimension) for amount in line.held),
        orphaned=line.orphaned.of(dimension),
        floors_followed=tuple(floor.of(dimension) for floor, _ in line.followed),
        grants_followed=tuple(grant.of(dimension) for _, grant in line.followed),
    )


def _shares(plans: Sequence[Plan], uids: Sequence[str], names: Sequence[str]) -> dict[Key, Share]:
    """Return the shares that are not nothing, the three dimensions put together again."""
    shares: dict[Key, Share] = {}
    for row, uid in enumerate(uids):
        for i, name in enumerate(names):
            floor = Resources(*(plan.parts[row].floors[i] for plan in plans))
            grant = Resources(*(plan.parts[row].grants[i] for plan in plans))
            if (floor, grant) != (NOTHING, NOTHING):
                shares[uid, name] = Share(admitter=name, floor=floor, grant=grant)
    for i, name in enumerate(names):
        grant = Resources(*(plan.common[i] for plan in plans))
        if grant != NOTHING:
            shares[COMMON, name] = Share(admitter=name, grant=grant)
    return shares
