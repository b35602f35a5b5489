"""Rows of control: ticks, decisions, scale decisions and entitlements, from their messages.

Each message carries an identity of its own (pool and version, decision id), so a message that is
read again gives the same rows.  Times are microseconds since 1970 UTC, unless the unit is named.
"""

from __future__ import annotations

from typing import NamedTuple

from schemas.decisions import Decision
from schemas.pools import compile_pool
from schemas.scaling import ScaleDecision
from schemas.specs import PoolRecord
from schemas.ticks import EntitlementInput, EntitlementOutput, Tick
from streams.history.usage_rows import at


class TickRow(NamedTuple):
    """Table ``ticks``."""

    pool: str
    model: str
    at: int
    epoch: int
    generation: int
    tick: int
    elapsed_us: int
    spec_version: int
    spec_digest: str
    capacity_writer: str
    replicas_ready: int
    replicas_starting: int
    replicas_draining: int
    per_replica_tokens_per_s: int
    per_replica_kv_bytes: int
    per_replica_slots: int
    ledger_position: str
    admitters: int
    capacity_tokens_per_s: int
    capacity_kv_bytes: int
    capacity_slots: int
    common_tokens_per_s: int
    common_kv_bytes: int
    common_slots: int
    headroom_slots: int
    contended: bool
    overshoot_bound_tokens_per_s: int
    overshoot_bound_kv_bytes: int
    overshoot_bound_slots: int
    held_tokens: int
    held_kv_bytes: int
    held_slots: int
    excess_tokens_per_s: int
    excess_kv_bytes: int
    excess_slots: int


class TickEntitlementRow(NamedTuple):
    """Table ``tick_entitlements``."""

    pool: str
    entitlement: str
    tenant: str
    service_class: str
    status: str
    at: int
    epoch: int
    generation: int
    tick: int
    elapsed_us: int
    served_tokens_per_s: int
    held_tokens: int
    held_kv_bytes: int
    held_slots: int
    pending_tokens_per_s: int
    pending_kv_bytes: int
    pending_slots: int
    expected_duration_ms: int
    demand_tokens_per_s: int
    demand_kv_bytes: int
    demand_slots: int
    floor_tokens_per_s: int
    floor_kv_bytes: int
    floor_slots: int
    grant_tokens_per_s: int
    grant_kv_bytes: int
    grant_slots: int
    gap_ppm: int
    debt_before_ppm: int
    burst_before_ppm: int
    debt_ppm: int
    burst_ppm: int
    weight_ppm: int


class DecisionRow(NamedTuple):
    """Table ``decisions``."""

    id: str
    at: int
    incarnation: str
    pool: str
    entitlement: str
    tenant: str
    kind: str
    reason: str
    dimension: str
    served_class: str
    occurrences: int
    unique: bool
    request_id: str
    reservation_id: str
    tokens: int
    kv_bytes: int
    slots: int
    retry_after_ms: int
    shadow: bool
    state_epoch: int
    state_generation: int
    state_tick: int
    state_age_ms: int
    dropped: int


class ScaleDecisionRow(NamedTuple):
    """Table ``scale_decisions``."""

    id: str
    pool: str
    at: int
    direction: str
    current: int
    ready: int
    starting: int
    desired: int
    raw_desired: int
    reason: str
    dimension: str
    demand_tokens_per_s: int
    demand_kv_bytes: int
    demand_slots: int
    floors_tokens_per_s: int
    floors_kv_bytes: int
    floors_slots: int
    per_replica_tokens_per_s: int
    per_replica_kv_bytes: int
    per_replica_slots: int
    source: str
    window_start: int
    window_end: int
    quantile_ppm: int
    ticks_seen: int
    spec_version: int


class EntitlementRow(NamedTuple):
    """Table ``entitlements``; ``applied_at`` is the broker's, in milliseconds."""

    pool: str
    entitlement: str
    tenant: str
    service_class: str
    model: str
    price_list: str
    labels: dict[str, str]
    baseline_tokens_per_s: int
    baseline_kv_bytes: int
    baseline_slots: int
    slo_ms: int
    applied_at: int
    spec_version: int
    spec_digest: str


def tick_row(tick: Tick) -> TickRow:
    """Return the row of a tick as a whole."""
    inputs = tick.inputs
    return TickRow(
        tick.pool,
        tick.model,
        at(inputs.at_us),
        tick.version.epoch,
        tick.version.generation,
        tick.version.tick,
        inputs.elapsed_us,
        inputs.spec_version,
        inputs.spec_digest,
        inputs.capacity_writer,
        inputs.replicas_ready,
        inputs.replicas_starting,
        inputs.replicas_draining,
        inputs.per_replica.tokens_per_s,
        inputs.per_replica.kv_bytes,
        inputs.per_replica.slots,
        "" if inputs.ledger is None else str(inputs.ledger),
        sum(report.alive for report in inputs.reports),
        tick.capacity.tokens_per_s,
        tick.capacity.kv_bytes,
        tick.capacity.slots,
        tick.common.tokens_per_s,
        tick.common.kv_bytes,
        tick.common.slots,
        tick.headroom_slots,
        tick.contended,
        tick.overshoot_bound.tokens_per_s,
        tick.overshoot_bound.kv_bytes,
        tick.overshoot_bound.slots,
        tick.held.tokens,
        tick.held.kv_bytes,
        tick.held.slots,
        tick.excess.tokens_per_s,
        tick.excess.kv_bytes,
        tick.excess.slots,
    )


def tick_entitlement_rows(tick: Tick) -> list[TickEntitlementRow]:
    """Return a row for each entitlement of the tick: what was known of it, and what it got."""
    known = {entry.entitlement: entry for entry in tick.inputs.entitlements}
    return [
        _tick_entitlement_row(
            tick,
            known.get(output.entitlement) or EntitlementInput(entitlement=output.entitlement),
            output,
        )
        for output in tick.outputs
    ]


def _tick_entitlement_row(
    tick: Tick, known: EntitlementInput, output: EntitlementOutput
) -> TickEntitlementRow:
    return TickEntitlementRow(
        tick.pool,
        output.entitlement,
        output.tenant,
        output.service_class.value,
        output.status.value,
        at(tick.inputs.at_us),
        tick.version.epoch,
        tick.version.generation,
        tick.version.tick,
        tick.inputs.elapsed_us,
        known.served_tokens_per_s,
        known.held.tokens,
        known.held.kv_bytes,
        known.held.slots,
        known.pending.tokens_per_s,
        known.pending.kv_bytes,
        known.pending.slots,
        known.expected_duration_ms,
        known.demand.tokens_per_s,
        known.demand.kv_bytes,
        known.demand.slots,
        output.floor.tokens_per_s,
        output.floor.kv_bytes,
        output.floor.slots,
        output.grant.tokens_per_s,
        output.grant.kv_bytes,
        output.grant.slots,
        output.gap_ppm,
        known.debt_ppm,
        known.burst_ppm,
        output.debt_ppm,
        output.burst_ppm,
        output.weight_ppm,
    )


def decision_row(decision: Decision) -> DecisionRow:
    """Return the row of a decision."""
    return DecisionRow(
        decision.id,
        at(decision.at_us),
        decision.incarnation,
        decision.pool,
        decision.entitlement,
        decision.tenant,
        decision.kind.value,
        decision.reason,
        decision.dimension or "",
        decision.served_class or "",
        decision.count,
        decision.unique,
        decision.request_id,
        decision.reservation_id,
        decision.tokens,
        decision.kv_bytes,
        decision.slots,
        decision.retry_after_ms,
        decision.shadow,
        decision.state_version.epoch,
        decision.state_version.generation,
        decision.state_version.tick,
        decision.state_age_ms,
        decision.dropped,
    )


def scale_decision_row(decision: ScaleDecision) -> ScaleDecisionRow:
    """Return the row of one evaluation of a pool."""
    return ScaleDecisionRow(
        decision.id,
        decision.pool,
        at(decision.at_us),
        decision.direction.value,
        decision.current,
        decision.ready,
        decision.starting,
        decision.desired,
        decision.raw_desired,
        decision.reason,
        decision.dimension,
        decision.demand.tokens_per_s,
        decision.demand.kv_bytes,
        decision.demand.slots,
        decision.floors.tokens_per_s,
        decision.floors.kv_bytes,
        decision.floors.slots,
        decision.per_replica.tokens_per_s,
        decision.per_replica.kv_bytes,
        decision.per_replica.slots,
        decision.source.value,
        at(decision.window_start_us),
        at(decision.window_end_us),
        decision.quantile_ppm,
        decision.ticks_seen,
        decision.spec_version,
    )


def entitlement_rows(record: PoolRecord, *, offset: int, stored_ms: int) -> list[EntitlementRow]:
    """Return a row for each entitlement; raise ``SpecError`` for a spec that nobody follows."""
    pool = compile_pool(record, version=offset)
    return [
        EntitlementRow(
            pool.name,
            entitlement.uid,
            entitlement.tenant,
            entitlement.service_class.value,
            pool.model,
            pool.price_list,
            {**record.pool.labels, **entitlement.labels},
            entitlement.baseline.tokens_per_s,
            entitlement.baseline.kv_bytes,
            entitlement.baseline.slots,
            entitlement.slo_ms,
            stored_ms,
            offset,
            pool.digest,
        )
        for entitlement in pool.entitlements.values()
    ]
