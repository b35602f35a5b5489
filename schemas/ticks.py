"""Ticks: everything one allocation read and wrote, on the topic ``ticks``.

The pure allocation replays from ``TickInputs`` to the same ``outputs`` (law 9); that is what makes
policy back-tests possible and lets the autoscaler go on while ClickHouse is away.
"""

from __future__ import annotations

import msgspec

from schemas.positions import Position, Version
from schemas.specs import ServiceClass
from schemas.state import AdmissionState, EntitlementStatus
from schemas.units import NOTHING, NOTHING_HELD, Held, Resources


class EntitlementInput(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the tick knew of one entitlement."""

    entitlement: str
    served_tokens_per_s: int = 0
    """Paid out over this tick from the ledger's increments, weighted by cost."""
    held: Held = NOTHING_HELD
    pending: Resources = NOTHING
    expected_duration_ms: int = 0
    demand: Resources = NOTHING
    debt_ppm: int = 0
    burst_ppm: int = 0
    """Debt and burst before this tick."""
    debt_rest: int = 0
    burst_rest: int = 0
    """What ``debt_ppm`` and ``burst_ppm`` leave out, in millionths of a ppm."""


class ReportPosition(msgspec.Struct, frozen=True, kw_only=True):
    """The last report folded in of one incarnation."""

    incarnation: str
    sequence: int
    age_ms: int = 0
    alive: bool = True


class TickInputs(msgspec.Struct, frozen=True, kw_only=True):
    """What the allocation read."""

    at_us: int
    elapsed_us: int
    spec_version: int
    spec_digest: str = ""
    capacity_writer: str = ""
    replicas_ready: int = 0
    replicas_starting: int = 0
    replicas_draining: int = 0
    per_replica: Resources = NOTHING
    ledger: Position | None = None
    """The ledger's position when the tick began."""
    reports: tuple[ReportPosition, ...] = ()
    entitlements: tuple[EntitlementInput, ...] = ()


class EntitlementOutput(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the allocation gave one entitlement."""

    entitlement: str
    tenant: str = ""
    service_class: ServiceClass
    status: EntitlementStatus
    floor: Resources = NOTHING
    grant: Resources = NOTHING
    gap_ppm: int = 0
    debt_ppm: int = 0
    burst_ppm: int = 0
    weight_ppm: int = 0
    debt_rest: int = 0
    burst_rest: int = 0


class Tick(msgspec.Struct, frozen=True, kw_only=True):
    """One tick of one pool."""

    pool: str
    model: str = ""
    version: Version
    inputs: TickInputs
    capacity: Resources
    common: Resources = NOTHING
    headroom_slots: int = 0
    contended: bool = False
    overshoot_bound: Resources = NOTHING
    held: Held = NOTHING_HELD
    excess: Resources = NOTHING
    """How far the reported holdings (and served tokens/s) exceeded capacity in this tick."""
    outputs: tuple[EntitlementOutput, ...] = ()
    state: tuple[AdmissionState, ...] = ()
    """The parts published with this tick; empty when nothing changed."""
