"""Overshoot: how far may admitters exceed capacity right now, and how far do they?

KV cache and slots: what admitters may hold under any state that they may still follow (their
shares, their common parts, what they hold above them, what the dead hold) less capacity.  That is
idle floors that are lent, cuts not yet acknowledged and capacity just lost.  On top come the
static safe shares of incarnations that fell silent.

Throughput: in *tokens*, over any window, beyond capacity × window and the buckets' depths: the
largest admitted request of each bucket, the error of open estimates, and the rate promised above
capacity for as long as an admitter may not have heard of its cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from schemas.reports import AdmitterReport
from schemas.units import (
    MS_PER_S,
    NOTHING,
    Held,
    Resources,
    ceil_div,
)


def bound(
    *,
    reach: Resources,
    capacity: Resources,
    safe: Resources,
    reports: Iterable[AdmitterReport],
    unheard_ms: int,
) -> Resources:
    """Return the exported bound: tokens, bytes and slots above capacity.

    ``reach`` is what may be held (tokens/s: promised), ``safe`` the static safe shares, and
    ``unheard_ms`` how long a cut may go unheard.
    """
    over = (reach - capacity).at_least(NOTHING) + safe
    late = ceil_div(over.tokens_per_s * unheard_ms, MS_PER_S)
    return Resources(late + _open_tokens(reports), over.kv_bytes, over.slots)


def _open_tokens(reports: Iterable[AdmitterReport]) -> int:
    """Return one largest request per bucket plus the errors of estimates still open."""
    return sum(
        item.largest_request_tokens + item.estimator_error_tokens
        for report in reports
        for item in report.entitlements
    )


def safe_shares(
    floors: Mapping[str, Resources], *, last_homes: Sequence[Iterable[str]], admitters_max: int
) -> Resources:
    """Return what silent incarnations may still admit on their own.

    One item of ``last_homes`` per silent incarnation: the entitlements whose home it was last.
    Each keeps floor ÷ ``admitters_max`` (rounded down), and as last home what the others leave.
    """
    total = NOTHING
    for homes in map(set, last_homes):
        for uid, floor in floors.items():
            part = floor.split(admitters_max)
            total += floor - part.times(admitters_max - 1) if uid in homes else part
    return total


def excess(*, held: Held, served_tokens_per_s: int, capacity: Resources) -> Resources:
    """Return how far holdings and the served rate exceed capacity; nothing where they do not."""
    use = Resources(served_tokens_per_s, held.kv_bytes, held.slots)
    return (use - capacity).at_least(NOTHING)
