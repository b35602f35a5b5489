"""Tick: from the last record and what has come in since, to the next record and the state to send.

``advance`` is the whole of a tick: who is alive, what is demanded, what each entitlement gets
(``policy``), how it is split (``shares``), how far that may overshoot, and whether there is
anything to publish.  It is a pure function: the same record and sources give the same bytes.  The
caller writes ``record`` and waits until it is acknowledged before it publishes anything.

After a takeover the last state is repeated under the new version and nothing is raised for one
lease, because the former owner may have published what the record does not know of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from schemas.ledger import AdmitterRecord, DebtRecord, TickRecord
from schemas.pools import Pool
from schemas.positions import NO_VERSION, Position, Version
from schemas.reports import EntitlementReport
from schemas.state import AdmissionState, AdmitterView, EntitlementState, Share
from schemas.ticks import EntitlementInput, ReportPosition, Tick, TickInputs
from schemas.units import (
    NOTHING,
    NOTHING_HELD,
    US_PER_MS,
    US_PER_S,
    Held,
    Resources,
)
from streams.core import overshoot
from streams.core.capacity import LiveCapacity
from streams.core.demand import NOWHERE, Local, demand_of, duration_of, local_of, pending_of
from streams.core.distribution import Distribution, Sight, distribute
from streams.core.followed import COMMON, Key, followed, newest, published
from streams.core.homes import homes
from streams.core.incarnations import alive, census, orphaned, taken_over, urls_of
from streams.core.policy import Decision, decide, replay, tick_elapsed_us
from streams.core.publication import in_parts, is_due, whole
from streams.core.reports import Reported

__all__ = [
    "LiveCapacity",
    "Reported",
    "TickOutcome",
    "TickSources",
    "advance",
    "replay",
]


@dataclass(frozen=True)
class TickSources:
    """Everything that a tick reads besides the last record."""

    now_us: int
    elapsed_us: int
    """Since the last tick, over which ``served_tokens`` were paid out; 0 in a first tick."""
    generation: int
    pool: Pool
    capacity: LiveCapacity
    reports: tuple[Reported, ...]
    """The newest of every incarnation, the dead ones included while they are remembered."""
    served_tokens: Mapping[str, int]
    ledger: Position | None
    takeover: bool
    """Whether this is the first tick of a new owner."""


@dataclass(frozen=True)
class TickOutcome:
    """What to write, what to tell history, and what to publish."""

    record: TickRecord
    tick: Tick
    publish: tuple[AdmissionState, ...]
    """Empty: nothing new to publish."""


@dataclass(frozen=True)
class _Scene:
    """What the tick found, before it decides anything."""

    version: Version
    record: TickRecord
    """The last one, or an empty one."""
    admitters: tuple[AdmitterRecord, ...]
    sight: Sight
    raises: bool
    repeats: bool
    """Whether the last state is repeated because not every admitter has been heard yet."""
    raise_after_us: int


def advance(record: TickRecord | None, sources: TickSources) -> TickOutcome:
    """Return the outcome of one tick; ``record`` is the last one stored, if any."""
    scene = _scene(record, sources)
    inputs = _inputs(scene, sources)
    decisions = decide(sources.pool, inputs)
    if scene.repeats:
        distribution = _repeated(scene, decisions, capacity=sources.capacity.total)
    else:
        distribution = distribute(
            decisions, scene.sight, capacity=sources.capacity.total, raises=scene.raises
        )
    state = _state(scene, sources, inputs, decisions, distribution)
    due = sources.takeover or is_due(scene.record.state, state)
    parts = in_parts(state) if due else ()
    return TickOutcome(
        record=_record(scene, sources, decisions, distribution, parts),
        tick=_tick(scene, sources, inputs, decisions, state=state, parts=parts),
        publish=parts,
    )


def _scene(record: TickRecord | None, sources: TickSources) -> _Scene:
    version = _version(record, sources)
    last = record or TickRecord(pool=sources.pool.name, version=NO_VERSION, at_us=sources.now_us)
    before, raise_after_us = last.admitters, last.raise_after_us
    if sources.takeover and record is not None:
        before = taken_over(before, at_us=last.at_us, now_us=sources.now_us)
        raise_after_us = sources.now_us + sources.pool.leases.lease_ms * US_PER_MS
    leases = sources.pool.leases
    admitters = census(before, sources.reports, now_us=sources.now_us, leases=leases)
    live = alive(admitters)
    heard = {reported.report.incarnation for reported in sources.reports}
    raises = sources.now_us >= raise_after_us
    return _Scene(
        version=version,
        record=last,
        admitters=admitters,
        sight=_sight(last, sources, admitters=admitters, live=live),
        raises=raises,
        repeats=not raises and bool(last.state) and not live.keys() <= heard,
        raise_after_us=raise_after_us,
    )


def _version(record: TickRecord | None, sources: TickSources) -> Version:
    """Epoch = max(generation, stored + 1) for a new owner; every tick has a number of its own."""
    if record is None:
        return Version(max(sources.generation, 1), sources.generation, 1)
    last = record.version
    epoch = max(sources.generation, last.epoch + 1) if sources.takeover else last.epoch
    version = Version(epoch, sources.generation, last.tick + 1)
    assert version > last
    return version


def _sight(
    record: TickRecord,
    sources: TickSources,
    *,
    admitters: tuple[AdmitterRecord, ...],
    live: Mapping[str, AdmitterRecord],
) -> Sight:
    reports: dict[Key, EntitlementReport] = {
        (item.entitlement, reported.report.incarnation): item
        for reported in sources.reports
        if reported.report.incarnation in live
        for item in reported.report.entitlements
    }
    places = {key: local_of(item) for key, item in reports.items()}
    heard = {reported.report.incarnation for reported in sources.reports}
    for name, admitter in live.items():
        if name not in heard:
            places |= {(uid, name): _unheard(held) for uid, held in admitter.held.items()}
    return Sight(
        live=live,
        followed=followed(record.shares, {name: item.applied for name, item in live.items()}),
        locals=places,
        reports=reports,
        orphaned=orphaned(admitters, sources.reports, now_us=sources.now_us),
        homes=homes(sources.pool.entitlements, urls_of(live)),
    )


def _unheard(held: Held) -> Local:
    """What a live admitter held last, known from the record alone."""
    return Local(held=held, steady=Resources(0, held.kv_bytes, held.slots))


def _inputs(scene: _Scene, sources: TickSources) -> TickInputs:
    capacity, pool = sources.capacity, sources.pool
    debts = {item.entitlement: item for item in scene.record.debts}
    return TickInputs(
        at_us=sources.now_us,
        elapsed_us=sources.elapsed_us,
        spec_version=pool.version,
        spec_digest=pool.digest,
        capacity_writer=capacity.writer,
        replicas_ready=capacity.ready,
        replicas_starting=capacity.starting,
        replicas_draining=capacity.draining,
        per_replica=capacity.per_replica,
        ledger=sources.ledger,
        reports=tuple(
            ReportPosition(
                incarnation=item.incarnation,
                sequence=item.sequence,
                age_ms=max(0, sources.now_us - item.received_us) // US_PER_MS,
                alive=item.alive,
            )
            for item in scene.admitters
        ),
        entitlements=tuple(
            _input(uid, scene, sources, debts.get(uid)) for uid in sorted(pool.entitlements)
        ),
    )


def _input(
    uid: str, scene: _Scene, sources: TickSources, debt: DebtRecord | None
) -> EntitlementInput:
    elapsed_us = tick_elapsed_us(sources.pool, sources.elapsed_us)
    served = sources.served_tokens.get(uid, 0) * US_PER_S // elapsed_us
    places = [scene.sight.locals.get((uid, name), NOWHERE) for name in scene.sight.live]
    lost = scene.sight.orphaned.get(uid, NOTHING_HELD)
    service_class = sources.pool.entitlements[uid].service_class
    if debt is None or debt.service_class is not service_class:
        debt = DebtRecord(entitlement=uid)
    return EntitlementInput(
        entitlement=uid,
        served_tokens_per_s=served,
        held=_sum((*(place.held for place in places), lost)),
        pending=pending_of(places),
        expected_duration_ms=duration_of(places),
        demand=demand_of(places, served_tokens_per_s=served, orphaned=lost),
        debt_ppm=debt.debt_ppm,
        burst_ppm=debt.burst_ppm,
    )


def _repeated(
    scene: _Scene, decisions: tuple[Decision, ...], *, capacity: Resources
) -> Distribution:
    """Return the shares as published last; how far they reach is what raising nothing would."""
    shares: dict[Key, Share] = {}
    for key, chain in scene.sight.followed.items():
        floor, grant = newest(chain)
        if (floor, grant) != (NOTHING, NOTHING):
            shares[key] = Share(admitter=key[1], floor=floor, grant=grant)
    frozen = distribute(decisions, scene.sight, capacity=capacity, raises=False)
    common = scene.record.state[0].common
    return Distribution(shares=shares, common_total=common, reach=frozen.reach)


def _state(
    scene: _Scene,
    sources: TickSources,
    inputs: TickInputs,
    decisions: tuple[Decision, ...],
    distribution: Distribution,
) -> AdmissionState:
    """Return the whole state of this tick, in one piece."""
    capacity, leases = sources.capacity, sources.pool.leases
    views = tuple(_view(item, scene, distribution) for item in scene.admitters)
    shares: dict[str, list[Share]] = {}
    for (uid, _), share in sorted(distribution.shares.items()):
        shares.setdefault(uid, []).append(share)
    entitlements = tuple(
        _entitlement(decision, item, scene, shares=shares)
        for decision, item in zip(decisions, inputs.entitlements, strict=True)
    )
    if scene.repeats:
        entitlements = whole(scene.record.state).entitlements
    return AdmissionState(
        pool=sources.pool.name,
        version=scene.version,
        at_us=sources.now_us,
        spec_version=sources.pool.version,
        tick_ms=sources.pool.policy.tick_ms,
        lease_ms=leases.lease_ms,
        capacity=capacity.total,
        replicas_ready=capacity.ready,
        replicas_starting=capacity.starting,
        replicas_draining=capacity.draining,
        common=distribution.common_total,
        contended=any(decision.contended for decision in decisions),
        overshoot_bound=_bound(scene, sources, views, reach=distribution.reach),
        admitters=views,
        entitlements=entitlements,
    )


def _entitlement(
    decision: Decision,
    item: EntitlementInput,
    scene: _Scene,
    *,
    shares: Mapping[str, list[Share]],
) -> EntitlementState:
    output = decision.output
    return EntitlementState(
        entitlement=output.entitlement,
        service_class=output.service_class,
        status=output.status,
        status_reason=decision.reason,
        floor=output.floor,
        grant=output.grant,
        demand=item.demand,
        served_tokens_per_s=item.served_tokens_per_s,
        debt_ppm=output.debt_ppm,
        burst_ppm=output.burst_ppm,
        weight_ppm=output.weight_ppm,
        home=scene.sight.homes.get(output.entitlement, ""),
        shares=tuple(shares.get(output.entitlement, ())),
    )


def _view(item: AdmitterRecord, scene: _Scene, distribution: Distribution) -> AdmitterView:
    share = distribution.shares.get((COMMON, item.incarnation))
    return AdmitterView(
        incarnation=item.incarnation,
        url=item.url,
        alive=item.alive,
        sequence=item.sequence,
        applied=item.applied,
        common=NOTHING if share is None else share.grant,
        replaced_by=item.replaced_by,
        last_home=_last_home(item, scene),
    )


def _last_home(item: AdmitterRecord, scene: _Scene) -> tuple[str, ...]:
    """Return the entitlements that a silent incarnation was last named home of."""
    if item.alive or item.replaced_by:
        return ()
    views = scene.record.state[0].admitters if scene.record.state else ()
    for view in views:
        if view.incarnation == item.incarnation and not view.alive:
            return view.last_home
    last = scene.record.homes
    return tuple(sorted(uid for uid, home in last.items() if home == item.incarnation))


def _bound(
    scene: _Scene, sources: TickSources, views: tuple[AdmitterView, ...], *, reach: Resources
) -> Resources:
    """Return the overshoot bound of this tick."""
    live = scene.sight.live
    reports = [item.report for item in sources.reports if item.report.incarnation in live]
    silent = [view.last_home for view in views if not view.alive and not view.replaced_by]
    oldest_us = max((sources.now_us - item.received_us for item in live.values()), default=0)
    states_ms = max((report.state_age_ms for report in reports), default=0)
    pool = sources.pool
    return overshoot.bound(
        reach=reach,
        capacity=sources.capacity.total,
        safe=overshoot.safe_shares(
            {uid: item.floor for uid, item in pool.entitlements.items()},
            last_homes=silent,
            admitters_max=pool.leases.admitters_max,
        ),
        reports=reports,
        unheard_ms=max(0, oldest_us) // US_PER_MS + states_ms + pool.policy.tick_ms,
    )


def _record(
    scene: _Scene,
    sources: TickSources,
    decisions: tuple[Decision, ...],
    distribution: Distribution,
    parts: tuple[AdmissionState, ...],
) -> TickRecord:
    common = {
        name: share.grant for (uid, name), share in distribution.shares.items() if uid == COMMON
    }
    return TickRecord(
        pool=sources.pool.name,
        version=scene.version,
        at_us=sources.now_us,
        debts=tuple(_debt(decision) for decision in decisions),
        shares=published(scene.sight.followed, distribution.shares, scene.version),
        admitters=scene.admitters,
        homes=dict(scene.sight.homes),
        common=common,
        state=parts or scene.record.state,
        held=_all_held(scene),
        raise_after_us=scene.raise_after_us,
    )


def _debt(decision: Decision) -> DebtRecord:
    output = decision.output
    return DebtRecord(
        entitlement=output.entitlement,
        debt_ppm=output.debt_ppm,
        burst_ppm=output.burst_ppm,
        service_class=output.service_class,
    )


def _tick(
    scene: _Scene,
    sources: TickSources,
    inputs: TickInputs,
    decisions: tuple[Decision, ...],
    *,
    state: AdmissionState,
    parts: tuple[AdmissionState, ...],
) -> Tick:
    held = _all_held(scene)
    served = sum(item.served_tokens_per_s for item in inputs.entitlements)
    capacity = sources.capacity.total
    return Tick(
        pool=sources.pool.name,
        model=sources.pool.model,
        version=scene.version,
        inputs=inputs,
        capacity=capacity,
        common=state.common,
        headroom_slots=sources.pool.headroom_slots,
        contended=state.contended,
        overshoot_bound=state.overshoot_bound,
        held=held,
        excess=overshoot.excess(held=held, served_tokens_per_s=served, capacity=capacity),
        outputs=tuple(decision.output for decision in decisions),
        state=parts,
    )


def _all_held(scene: _Scene) -> Held:
    """Return what all admitters hold, the dead included, entitlements without a spec too."""
    places = (place.held for place in scene.sight.locals.values())
    return _sum((*places, *scene.sight.orphaned.values()))


def _sum(amounts: Iterable[Held]) -> Held:
    total = NOTHING_HELD
    for amount in amounts:
        total += amount
    return total
