"""Admission state: what streams lets each admitter use, on the compacted topic ``admission-state``.

One state of a pool is published in ``parts`` numbered parts (each under 512 KiB) that are applied
together.  Versions only rise: an admitter ignores anything lower than what it has applied.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from schemas.positions import NO_VERSION, Version
from schemas.specs import ServiceClass
from schemas.units import NOTHING, Resources

PART_BYTES_MAX: Final = 512 * 1024


class EntitlementStatus(StrEnum):
    """Whether an entitlement may be served."""

    PENDING = "pending"
    BOUND = "bound"
    DEGRADED = "degraded"
    EXPIRED = "expired"


class Share(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One admitter's part of an entitlement's floor and grant; it may use the larger of the two."""

    admitter: str
    floor: Resources = NOTHING
    grant: Resources = NOTHING

    @property
    def usable(self) -> Resources:
        """The larger of floor and grant in each dimension."""
        return self.floor.at_least(self.grant)


class EntitlementState(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One entitlement in this tick."""

    entitlement: str
    service_class: ServiceClass
    status: EntitlementStatus = EntitlementStatus.BOUND
    status_reason: str = ""
    floor: Resources = NOTHING
    grant: Resources = NOTHING
    demand: Resources = NOTHING
    served_tokens_per_s: int = 0
    debt_ppm: int = 0
    burst_ppm: int = 0
    weight_ppm: int = 0
    home: str = ""
    """Incarnation of the home admitter."""
    shares: tuple[Share, ...] = ()


class AdmitterView(msgspec.Struct, frozen=True, kw_only=True):
    """One admitter incarnation as streams sees it."""

    incarnation: str
    url: str = ""
    alive: bool = True
    sequence: int = 0
    """The last report sequence folded in: what the admitter ages its lease by."""
    applied: Version = NO_VERSION
    common: Resources = NOTHING
    """Its part of the common share."""
    replaced_by: str = ""
    last_home: tuple[str, ...] = ()
    """Entitlements whose home it was named last (for static safe shares); empty when not needed."""


class AdmissionState(msgspec.Struct, frozen=True, kw_only=True):
    """One part of a pool's state."""

    pool: str
    version: Version
    part: int = 0
    parts: int = 1
    at_us: int = 0
    """The publisher's clock, for people only: no lease is judged by it."""
    spec_version: int = 0
    tick_ms: int = 1_000
    lease_ms: int = 5_000
    capacity: Resources = NOTHING
    """Live capacity: ready replicas x per-replica."""
    replicas_ready: int = 0
    replicas_starting: int = 0
    replicas_draining: int = 0
    common: Resources = NOTHING
    """What the fill left free, before it was split over admitters."""
    contended: bool = False
    overshoot_bound: Resources = NOTHING
    """How far held slots and KV (and tokens/s) may exceed capacity right now (law 2)."""
    admitters: tuple[AdmitterView, ...] = ()
    entitlements: tuple[EntitlementState, ...] = ()


def state_key(pool: str, part: int) -> bytes:
    """Return the compaction key of one part."""
    return f"{pool}|{part}".encode()
