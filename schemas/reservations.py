"""Reservations: the bodies of the admission API, shared by admitter and gateway client.

``POST /v1/reservations`` -> 201 ``Reservation`` | 429/503/400 ``RefusalBody``;
``POST /v1/reservations/{id}/renewal`` -> ``Renewal``;
``POST /v1/reservations/{id}/settlement`` -> ``SettlementResult``;
``DELETE /v1/reservations/{id}`` -> ``SettlementResult``.  421 ``Misdirected`` names the owner.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from schemas.specs import ServiceClass
from schemas.units import Dimension


class ReserveBody(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a gateway asks for.  Without API keys it names pool and entitlement itself."""

    pool: str = ""
    entitlement: str = ""
    model: str = ""
    request_id: str = ""
    """Idempotency key; the header ``Idempotency-Key`` wins.  Empty: every attempt is unique."""
    input_tokens: int
    """All input, cached or not."""
    cached_input_tokens: int = 0
    """The part expected to be read from the cache (a guess never frees KV)."""
    max_tokens: int | None = None
    n: int = 1
    allow_demotion: bool = False
    """Serve it as spot when the entitlement's own limit is reached."""
    can_renew: bool = True
    ticket: str = ""
    """From an earlier refusal of the same request."""


class Evicting(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What was told to stop to make room; whose it is stays with the admitter."""

    requests: int
    slots: int
    kv_bytes: int


class Reservation(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """201: the request may start."""

    reservation_id: str
    pool: str
    entitlement: str
    tenant: str
    model: str
    service_class: ServiceClass
    served_class: ServiceClass
    demoted: bool = False
    reserved_tokens: int
    kv_bytes: int
    slots: int
    max_tokens: int
    renew_in_ms: int
    """0: it need not be renewed."""
    expires_in_ms: int
    admitter_url: str
    state_version: str = ""
    state_age_ms: int = 0
    shadow_refusal: str = ""
    """In shadow mode: the reason it would have been refused for."""
    evicting: Evicting | None = None
    """Lent room that this request calls back."""


class Refusal(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Why a request may not start, and when to come back."""

    message: str
    type: str = "token_pool_refusal"
    code: str = ""
    """The reason (``schemas.decisions.RefusalReason``), repeated as OpenAI clients expect it."""
    param: str | None = None
    reason: str
    dimension: Dimension | None = None
    pool: str = ""
    entitlement: str = ""
    service_class: ServiceClass | None = None
    limit: int = 0
    """The limit that was met, in the dimension's unit."""
    retry_after_ms: int = 0
    ticket: str = ""
    home_url: str = ""
    """Another admitter that has the rest of the floor; retry there once."""
    evicting: Evicting | None = None
    """Preemptible requests that make room; they are gone when ``retry_after_ms`` has passed."""


class RefusalBody(msgspec.Struct, frozen=True, kw_only=True):
    """The OpenAI-shaped error body."""

    error: Refusal


class RenewBody(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a gateway says while a request runs."""

    output_tokens: int = 0
    """Produced so far."""


class Renewal(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The answer to a renewal."""

    verdict: Literal["continue", "evict"] = "continue"
    reservation_id: str
    """A new id when the reservation was adopted from a dead admitter."""
    adopted: bool = False
    renew_in_ms: int
    expires_in_ms: int
    evict_in_ms: int = 0
    """With ``evict``: stop within this time and settle what was produced."""
    evict_reason: str = ""
    """With ``evict``: a ``schemas.decisions.EvictionReason``."""
    admitter_url: str = ""


class SettleBody(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What was really used, by token class."""

    input_tokens: int = 0
    """Uncached input."""
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    outcome: str = "ok"
    source: str = ""
    """The CloudEvents source under which this usage is emitted: who is asked when it is not."""
    repeated: bool = False
    """An earlier attempt may have reached an admitter that has died since."""


class SettlementResult(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """200: the reservation ended; ``first`` is false when it had ended before."""

    reservation_id: str
    first: bool
    ended: Literal["settled", "released", "expired"]
    late: bool = False
    """True: it had expired; the usage is charged all the same and frees nothing."""
    charged_tokens: int = 0


class Misdirected(msgspec.Struct, frozen=True, kw_only=True):
    """421: another admitter owns this reservation."""

    message: str
    owner_url: str


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """400, 401, 404, 413, 422: what is wrong, and in which field."""

    message: str
    field: str = ""
    code: str = ""
