"""Reports: what one admitter holds and has refused, on the topic ``admitter-reports``.

Amounts are absolute and counters cumulative per incarnation, so a lost or repeated report is
harmless.  Durations are relative to the sending of the report: no clock is shared.
"""

from __future__ import annotations

from typing import Final

import msgspec

from schemas.positions import NO_VERSION, Version
from schemas.units import NO_TOKENS, NOTHING, NOTHING_HELD, Held, Resources, TokenCounts

SOURCES_MAX: Final = 64
"""Gateways told apart per entitlement and incarnation; the others are summed up."""
OTHER_SOURCES: Final = "(other)"
UNNAMED_SOURCE: Final = "(unnamed)"
"""Of settlements that name no source."""


class EntitlementReport(msgspec.Struct, frozen=True, kw_only=True):
    """One entitlement at one admitter."""

    entitlement: str
    held: Held = NOTHING_HELD
    held_above_share: Held = NOTHING_HELD
    """The part of ``held`` that draws on the common share."""
    held_demoted: Held = NOTHING_HELD
    """The part of ``held`` by demoted requests: in the common share whatever the share is."""
    held_in_common: Resources = NOTHING
    pending: Resources = NOTHING
    """Refused for contention and not yet withdrawn or lapsed, unique by request id."""
    withdrawn: Resources = NOTHING
    """Tickets of other incarnations that came back here, until they would have lapsed there."""
    expected_duration_ms: int = 0
    """Mean time a request holds its slot, as observed here; 0: nothing seen yet.

    What refused tokens are divided by, since they are an unbiased sample of requests.
    """
    held_duration_ms: int = 0
    """What held tokens are divided by: at any instant long requests are overrepresented.

    Mean of (reserved tokens x duration) / mean of tokens really used; 0: as the expected one.
    """
    largest_request_tokens: int = 0
    """The largest estimate admitted within the last lease (overshoot bound)."""
    estimator_error_tokens: int = 0
    """Sum of |estimate - actual| over reservations still open past their estimate."""
    level_tokens: int = 0
    """Bucket level: tokens charged and not yet drained."""
    admitted: int = 0
    demoted: int = 0
    settled: int = 0
    released: int = 0
    expired: int = 0
    evicted: int = 0
    late_settled: int = 0
    reserved_tokens: int = 0
    """Cumulative estimates of what was admitted."""
    settled_tokens: TokenCounts = NO_TOKENS
    """Cumulative tokens that gateways settled; compared with the ledger, never summed into it."""
    settled_by_source: dict[str, int] = {}
    """The sum of ``settled_tokens`` by the source that emits them, cumulative; told every tenth
    tick and when leaving, so empty says nothing."""
    estimated: int = 0
    """Completed requests whose output was held against its estimate."""
    estimates_covered: int = 0
    """Of those, outputs that were at most what was estimated."""
    estimate_over_tokens: int = 0
    """Cumulative estimate - output where too much was estimated."""
    estimate_under_tokens: int = 0
    """Cumulative output - estimate where too little was."""
    refused: dict[str, int] = {}
    """Unique requests refused, by reason."""
    attempts: dict[str, int] = {}
    """Refusals including retries, by reason."""


class Adoption(msgspec.Struct, frozen=True, kw_only=True):
    """Reservations of a dead incarnation that this one took over (cumulative amounts)."""

    incarnation: str
    entitlement: str
    adopted: Held


class AdmitterReport(msgspec.Struct, frozen=True, kw_only=True):
    """One admitter's report on one pool."""

    pool: str
    incarnation: str
    url: str
    sequence: int
    """Rises by one with every report of this incarnation on this pool."""
    applied: Version = NO_VERSION
    """The state version that it follows."""
    full: bool = True
    """Whether every entitlement with anything to report is included."""
    leaving: bool = False
    expires_in_ms: int = 0
    """Until its last open reservation expires, from the sending of this report."""
    ttl_ms_max: int = 0
    """The longest life that it gave one of its open reservations; 0: none is open."""
    state_age_ms: int = 0
    entitlements: tuple[EntitlementReport, ...] = ()
    adoptions: tuple[Adoption, ...] = ()
