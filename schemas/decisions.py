"""Decisions: what admitters did, on the topic ``decisions``.

Refusals, demotions, evictions and expiries singly; admits, settlements and releases as counts per
tick.  Delivery is best effort from a bounded queue whose drops are counted in ``dropped``.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from schemas.positions import NO_VERSION, Version
from schemas.specs import ServiceClass
from schemas.units import Dimension


class DecisionKind(StrEnum):
    """What was decided."""

    ADMITTED = "admitted"
    DEMOTED = "demoted"
    REFUSED = "refused"
    EVICTED = "evicted"
    EXPIRED = "expired"
    SETTLED = "settled"
    RELEASED = "released"
    ADOPTED = "adopted"


class RefusalReason(StrEnum):
    """Why a request was refused (429 unless said otherwise)."""

    LIMIT_REACHED = "limit_reached"
    """The entitlement's own limit: its baseline if it may not burst, else burst or limits."""
    CONTENDED = "contended"
    """The pool has nothing left for this class above its grant."""
    SHARE_EXHAUSTED = "share_exhausted"
    """This admitter's part of the floor is used up; the home admitter has the rest."""
    NOT_BOUND = "not_bound"
    """The entitlement is pending or expired."""
    STATE_STALE = "state_stale"
    """The lease on the state ran out and the class has stopped."""
    NO_STATE = "no_state"
    """503: this admitter has no state of the pool yet."""
    IMPOSSIBLE = "impossible"
    """400: it can never fit the entitlement."""

    @property
    def is_contention(self) -> bool:
        """Whether the refusal counts as unmet demand."""
        return self in (
            RefusalReason.CONTENDED,
            RefusalReason.SHARE_EXHAUSTED,
            RefusalReason.LIMIT_REACHED,
        )


class EvictionReason(StrEnum):
    """Why a reservation was told to stop."""

    CALLED_BACK = "called_back"
    """A request took back a part of its floor that was lent."""
    CONTENDED = "contended"
    """A request of a higher class found no room."""
    SHARE_CUT = "share_cut"
    """More is held above the shares than the common part of the newest state."""
    STALE = "stale"
    """Lease and hold are over: only the static safe share may stay."""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """One decision, or ``count`` equal ones of one tick."""

    id: str
    """Unique: ``<incarnation>/<number>``; makes the row idempotent in history."""
    at_us: int
    incarnation: str
    pool: str
    entitlement: str
    tenant: str = ""
    kind: DecisionKind
    reason: str = ""
    dimension: Dimension | None = None
    served_class: ServiceClass | None = None
    count: int = 1
    unique: bool = True
    """False for a retry of a request that was refused before."""
    request_id: str = ""
    reservation_id: str = ""
    tokens: int = 0
    kv_bytes: int = 0
    slots: int = 0
    retry_after_ms: int = 0
    shadow: bool = False
    """True: it would have been decided so, but the pool or the admitter is in shadow mode."""
    state_version: Version = NO_VERSION
    state_age_ms: int = 0
    dropped: int = 0
    """Cumulative decisions of this incarnation that its queue had to drop."""
