"""Tick: from the last record and what has come in since, to the next record and the state to send.

``advance`` is the whole of a tick: who is alive, what is demanded, what each entitlement gets
(``policy``), how it is split (``shares``), how far that may overshoot, and whether there is
anything to publish.  It is a pure function: the same record and sources give the same bytes.  The
caller writes ``record`` and waits until it is acknowledged before it publishes anything.

After a takeover the last state is repeated under the new version and nothing is raised for one
lease, because the former owner may have published what the record does not know of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from schemas.ledger import AdmitterRecord, DebtRecord, TickRecord
from schemas.positions import Version
from schemas.state import AdmissionState, AdmitterView, EntitlementState, Share
from schemas.ticks import EntitlementInput, Tick, TickInputs
from schemas.units import NOTHING, US_PER_MS, Resources
from streams.core import overshoot
from streams.core.capacity import LiveCapacity
from streams.core.distribution import Distribution, distribute
from streams.core.followed import COMMON, Key, newest, published
from streams.core.incarnations import is_silent, unreported
from streams.core.policy import Decision, decide, replay
from streams.core.publication import in_parts, is_due, whole
from streams.core.reports import Reported
from streams.core.scene import Scene, TickSources, inputs_of, scene_of

__all__ = [
    "LiveCapacity",
    "Reported",
    "TickOutcome",
    "TickSources",
    "advance",
    "replay",
]


@dataclass(frozen=True)
class TickOutcome:
    """What to write, what to tell history, and what to publish."""

    record: TickRecord
    tick: Tick
    publish: tuple[AdmissionState, ...]
    """Empty: nothing new to publish."""


def advance(record: TickRecord | None, sources: TickSources) -> TickOutcome:
    """Return the outcome of one tick; ``record`` is the last one stored, if any."""
    scene = scene_of(record, sources)
    inputs = inputs_of(scene, sources)
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


def _repeated(
    scene: Scene, decisions: tuple[Decision, ...], *, capacity: Resources
) -> Distribution:
    """Return the shares as published last; how far they reach is what raising nothing would."""
    shares: dict[Key, Share] = {}
    for key, chain in scene.sight.followed.items():
        floor, grant = newest(chain)
        if (floor, grant) != (NOTHING, NOTHING):
            shares[key] = Share(admitter=key[1], floor=floor, grant=grant)
    frozen = distribute(decisions, scene.sight, capacity=capacity, raises=False)
    common = scene.record.state[0].common
    return replace(frozen, shares=shares, common_total=common)


def _state(
    scene: Scene,
    sources: TickSources,
    inputs: TickInputs,
    decisions: tuple[Decision, ...],
    distribution: Distribution,
) -> AdmissionState:
    """Return the whole state of this tick, in one piece."""
    capacity, leases = sources.capacity, sources.pool.leases
    views = tuple(_view(item, scene, sources, distribution) for item in scene.admitters)
    shares: dict[str, list[Share]] = {}
    for (uid, _), share in sorted(distribution.shares.items()):
        shares.setdefault(uid, []).append(share)
    entitlements = tuple(
        _entitlement(decision, item, scene, shares=shares)
        for decision, item in zip(decisions, inputs.entitlements, strict=True)
    )
    if scene.repeats:
        entitlements = tuple(
            msgspec.structs.replace(item, home=scene.sight.homes.get(item.entitlement, ""))
            for item in whole(scene.record.state).entitlements
        )
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
        overshoot_bound=_bound(scene, sources, reach=distribution.reach),
        admitters=views,
        entitlements=entitlements,
    )


def _entitlement(
    decision: Decision,
    item: EntitlementInput,
    scene: Scene,
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


def _view(
    item: AdmitterRecord, scene: Scene, sources: TickSources, distribution: Distribution
) -> AdmitterView:
    share = distribution.shares.get((COMMON, item.incarnation))
    return AdmitterView(
        incarnation=item.incarnation,
        url=item.url,
        alive=item.alive,
        sequence=item.sequence,
        applied=item.applied,
        common=NOTHING if share is None else share.grant,
        replaced_by=item.replaced_by,
        last_home=_last_home(item, scene, sources),
    )


def _last_home(item: AdmitterRecord, scene: Scene, sources: TickSources) -> tuple[str, ...]:
    """Return the entitlements that a silent incarnation may believe to be home of."""
    if not is_silent(item):
        return ()
    views = scene.record.state[0].admitters if scene.record.state else ()
    for view in views:
        if view.incarnation == item.incarnation and not view.alive:
            return view.last_home
    homes = overshoot.believed_homes(scene.record, item)
    return tuple(sorted(sources.pool.entitlements if homes is None else homes))


def _bound(scene: Scene, sources: TickSources, *, reach: Resources) -> Resources:
    """Return the overshoot bound of this tick."""
    live, pool, now_us = scene.sight.live, sources.pool, sources.now_us
    reports = [item.report for item in sources.reports if item.report.incarnation in live]
    oldest_us = max((now_us - item.received_us for item in live.values()), default=0)
    states_ms = max((report.state_age_ms for report in reports), default=0)
    return overshoot.bound(
        reach=reach,
        capacity=sources.capacity.total,
        safe=_sum(
            [item.safe for item in scene.admitters if item.safe is not None]
            + [*scene.deaf.values()]
        ),
        unreported=unreported(scene.admitters, sources.reports, now_us=now_us),
        reports=reports,
        unheard_ms=max(0, oldest_us) // US_PER_MS + states_ms + pool.policy.tick_ms,
    )


def _sum(amounts: Sequence[Resources]) -> Resources:
    total = NOTHING
    for amount in amounts:
        total += amount
    return total


def _record(
    scene: Scene,
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
        admitters=tuple(_with_reach(item, scene, distribution) for item in scene.admitters),
        homes=dict(scene.sight.homes),
        homes_lost=_homes_lost(scene),
        common=common,
        state=parts or scene.record.state,
        held=scene.all_held(),
        raise_after_us=scene.raise_after_us,
    )


def _with_reach(item: AdmitterRecord, scene: Scene, distribution: Distribution) -> AdmitterRecord:
    """Remember of a live one what it may hold, for when it dies."""
    reach = distribution.reaches.get(item.incarnation)
    if reach is None:
        return item
    reach += scene.deaf.get(item.incarnation, NOTHING)
    return msgspec.structs.replace(item, reach=reach)


def _homes_lost(scene: Scene) -> dict[str, Version]:
    """Return by incarnation the last version in which a home moved away from it."""
    kept = {item.incarnation for item in scene.admitters}
    lost = {name: when for name, when in scene.record.homes_lost.items() if name in kept}
    for uid, home in scene.record.homes.items():
        if home in kept and scene.sight.homes.get(uid, home) != home:
            lost[home] = scene.version
    return lost


def _debt(decision: Decision) -> DebtRecord:
    output = decision.output
    return DebtRecord(
        entitlement=output.entitlement,
        debt_ppm=output.debt_ppm,
        debt_rest=output.debt_rest,
        burst_ppm=output.burst_ppm,
        burst_rest=output.burst_rest,
        service_class=output.service_class,
    )


def _tick(
    scene: Scene,
    sources: TickSources,
    inputs: TickInputs,
    decisions: tuple[Decision, ...],
    *,
    state: AdmissionState,
    parts: tuple[AdmissionState, ...],
) -> Tick:
    held = scene.all_held()
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
