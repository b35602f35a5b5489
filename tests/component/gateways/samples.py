"""Small pieces that gateway tests share: requests, events, limits without long waits."""

from __future__ import annotations

from admission.gateways.limits import GatewayLimits
from schemas.reservations import Refusal, ReserveBody
from schemas.usage import UsageData, UsageEvent

FAST = GatewayLimits(
    round_wait_ms_max=5,
    rounds_max=3,
    renew_retry_ms=5,
    retry_ms_min=1,
    retry_ms_max=2,
    suspect_ms=50,
    linger_ms=1,
    delivery_ms_max=2_000,
    close_ms_max=500,
)
BODY = ReserveBody(pool="chat", entitlement="copilot", input_tokens=10, request_id="q1")


def usage(pool: str, *, sequence: int, output_tokens: int = 7) -> UsageEvent:
    """An event of one pool."""
    data = UsageData(
        pool=pool, entitlement="copilot", output_tokens=output_tokens, start_us=1, end_us=2
    )
    return UsageEvent(source="s", id=f"{pool}/{sequence}", sequence=sequence, data=data)


def refusal(reason: str, *, home_url: str = "", retry_after_ms: int = 0) -> Refusal:
    """A refusal with a ticket."""
    return Refusal(
        message=reason,
        reason=reason,
        home_url=home_url,
        retry_after_ms=retry_after_ms,
        ticket="ticket",
    )
