"""Meter: cumulative counts of one request in, increments out.

Pure: times are arguments (microseconds since 1970).  The increments of a request add up to its
counts, their production intervals follow each other without gaps, and exactly one is final.
"""

from __future__ import annotations

import msgspec

from schemas.reservations import Reservation
from schemas.units import NO_TOKENS, TokenCounts
from schemas.usage import UsageData


class Meter:
    """What one request has used so far, and how much of it was already emitted."""

    def __init__(
        self, reservation: Reservation, *, requested_us: int, attributes: dict[str, str]
    ) -> None:
        self._template = UsageData(
            pool=reservation.pool,
            entitlement=reservation.entitlement,
            tenant=reservation.tenant,
            model=reservation.model,
            reservation_id=reservation.reservation_id,
            served_class=reservation.served_class,
            demoted=reservation.demoted,
            requested_us=requested_us,
            attributes=attributes,
        )
        self._emitted = NO_TOKENS
        self._counts = NO_TOKENS
        self._since_us: int | None = None
        self._first_token_us: int | None = None

    @property
    def counts(self) -> TokenCounts:
        """Everything used so far."""
        return self._counts

    @property
    def has_begun(self) -> bool:
        """Whether production began; until then nothing needs to be metered."""
        return self._since_us is not None or self._counts != NO_TOKENS

    def began(self, at_us: int) -> None:
        """Say when the engine took the request; the first call counts."""
        if self._since_us is None:
            self._since_us = at_us

    def first_token(self, at_us: int) -> None:
        """Say when the first token came; the first call counts."""
        if self._first_token_us is None:
            self._first_token_us = at_us

    def report(self, counts: TokenCounts) -> None:
        """Set what was used so far; counts never fall."""
        behind = _less(counts, self._counts)
        if min(msgspec.structs.astuple(behind)) < 0:
            raise ValueError(f"usage fell from {self._counts} to {counts}")
        self._counts = counts

    def partial(self, now_us: int) -> UsageData | None:
        """Return the next increment of a request that goes on; None when there is nothing new."""
        if self._counts == self._emitted:
            return None
        return self._increment(now_us, final=False, outcome="running")

    def final(self, now_us: int, *, outcome: str) -> UsageData:
        """Return the last increment; it may be empty, it carries the outcome."""
        return self._increment(now_us, final=True, outcome=outcome)

    def _increment(self, now_us: int, *, final: bool, outcome: str) -> UsageData:
        start_us = now_us if self._since_us is None else self._since_us
        end_us = max(now_us, start_us)
        new = _less(self._counts, self._emitted)
        self._emitted, self._since_us = self._counts, end_us
        return msgspec.structs.replace(
            self._template,
            input_tokens=new.input_tokens,
            cache_read_tokens=new.cache_read_tokens,
            cache_write_tokens=new.cache_write_tokens,
            output_tokens=new.output_tokens,
            reasoning_tokens=new.reasoning_tokens,
            start_us=start_us,
            end_us=end_us,
            first_token_us=self._first_token_us,
            final=final,
            outcome=outcome,
        )


def _less(counts: TokenCounts, other: TokenCounts) -> TokenCounts:
    return TokenCounts(
        counts.input_tokens - other.input_tokens,
        counts.cache_read_tokens - other.cache_read_tokens,
        counts.cache_write_tokens - other.cache_write_tokens,
        counts.output_tokens - other.output_tokens,
        counts.reasoning_tokens - other.reasoning_tokens,
    )
