"""Limits: every bound of the gateway client, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from schemas.errors import SettingsError
from schemas.usage import EVENTS_PER_RECORD_MAX

BATCH_BYTES_MAX: Final = 512 * 1024
"""The most that one record batch of usage events holds, and so one frame; the topic takes 1 MiB."""


@dataclass(frozen=True, kw_only=True)
class GatewayLimits:
    """How long the client waits and how much it keeps; the defaults suit one gateway process."""

    connect_ms: int = 1_000
    answer_ms: int = 5_000
    """For one HTTP exchange, connecting included."""
    connections_max: int = 256
    """Open connections to all admitters together; further exchanges wait for one."""
    suspect_ms: int = 2_000
    """How long an admitter that did not answer is asked last."""
    rounds_max: int = 8
    """How often all admitters are asked again when none has state or none answers."""
    round_wait_ms_max: int = 1_000
    """The longest pause between two rounds, whatever ``Retry-After`` says."""
    renew_retry_ms: int = 500
    """Pause before a renewal that reached nobody is tried again, until the reservation expires."""
    settle_attempts_max: int = 6
    """With growing pauses of ``renew_retry_ms``: 7.5 s in all, after the usage was emitted."""
    evict_margin_ms: int = 1_000
    """Before an evicted request must be gone its body is cancelled (at most a quarter of its time
    earlier), so that the settlement still arrives."""
    partial_ms: int = 5_000
    """A generation that lasts longer emits an increment this often."""
    pending_events_max: int = 10_000
    """Events that wait for the broker's acknowledgement; beyond it, requests wait at their end."""
    linger_ms: int = 20
    """How long an event waits for others of its pool to share one record; 0: a record for each."""
    frame_events_max: int = 256
    """Events in one record."""
    frame_bytes_max: int = 256 * 1024
    """Bytes of one record; an event that is larger has a record of its own."""
    delivery_ms_max: int = 120_000
    """How long one event is tried before it is reported as undelivered."""
    send_ms_max: int = 30_000
    """How long one attempt may take."""
    reconnect_ms: int = 500
    """Pause between attempts to connect to the broker, however many events wait for it."""
    retry_ms_min: int = 100
    retry_ms_max: int = 5_000
    """Pauses between the attempts double from the first to the second."""
    close_ms_max: int = 10_000
    """How long closing waits for acknowledgements."""

    def __post_init__(self) -> None:
        """Refuse frames that no meter would read, or no broker store."""
        _check("frame_events_max", self.frame_events_max, low=1, high=EVENTS_PER_RECORD_MAX)
        _check("frame_bytes_max", self.frame_bytes_max, low=1, high=BATCH_BYTES_MAX)
        tried_ms = self.delivery_ms_max
        _check("linger_ms", self.linger_ms, low=0, high=tried_ms, bound="delivery_ms_max")


def _check(name: str, value: int, *, low: int, high: int, bound: str = "") -> None:
    if not low <= value <= high:
        raise SettingsError(f"{name} is {value}, must be {low} to {bound and f'{bound}, '}{high}")
