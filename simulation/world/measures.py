"""Measures: what a world saw, per entitlement and over time; statistics are made from it later.

Every request has ended in exactly one ``Outcome``.  Times are world times in microseconds.  A time
to first token is kept from the request's first attempt (what a user waits, refusals included) and
from its admission (what the engine's queue cost).  The paper's figure is the engine's queue plus
prefill: *from admission*; without refusals the two are the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from schemas.specs import ServiceClass
from schemas.units import PPM
from simulation.policy import Priority


class Outcome(StrEnum):
    """How a request ended."""

    COMPLETED = "completed"
    EVICTED = "evicted"
    """Admitted, told to stop, and stopped."""
    ABORTED = "aborted"
    """Admitted; its client went away."""
    VANISHED = "vanished"
    """Admitted; its gateway was lost without a word."""
    FAILED = "failed"
    """Admitted; its replica was lost."""
    GAVE_UP = "gave_up"
    """Never admitted: out of attempts or patience."""
    REJECTED = "rejected"
    """Never admitted: it can never fit (400)."""
    UNFINISHED = "unfinished"
    """The world ended first."""


class RequestRecord(NamedTuple):
    """One request from its first attempt to its end."""

    number: int
    first_attempt_us: int
    ended_us: int
    outcome: Outcome
    attempts: int
    refusals: int
    admitted_us: int | None = None
    first_token_us: int | None = None
    output_tokens: int = 0
    demoted: bool = False

    @property
    def ttft_us(self) -> int | None:
        """From the first attempt to the first token; None when none came."""
        if self.first_token_us is None:
            return None
        return self.first_token_us - self.first_attempt_us

    @property
    def ttft_from_admission_us(self) -> int | None:
        """From admission to the first token; None when none came."""
        if self.first_token_us is None or self.admitted_us is None:
            return None
        return self.first_token_us - self.admitted_us

    @property
    def latency_us(self) -> int | None:
        """From the first attempt to the end of a completed request."""
        completed = self.outcome is Outcome.COMPLETED
        return self.ended_us - self.first_attempt_us if completed else None


@dataclass(slots=True, kw_only=True)
class Tally:
    """One entitlement's counts; ``records`` hold the same requests one by one."""

    uid: str
    service_class: ServiceClass
    requests: int = 0
    attempts: int = 0
    """Times that a request was put to the policy; a visit home belongs to its attempt."""
    admitted: int = 0
    demoted: int = 0
    told_to_stop: int = 0
    refused_attempts: Counter[str] = field(default_factory=Counter)
    """By reason: attempts that were refused."""
    refused_requests: Counter[str] = field(default_factory=Counter)
    """By reason: requests that met it at least once."""
    requests_refused: int = 0
    """Requests refused at least once, whatever the reason."""
    floor_refusals: int = 0
    """Attempts of a reserved class refused inside its floor, the home asked as well (law 3)."""
    share_exhausted: int = 0
    """First answers with that reason; the home may have admitted the request after it."""
    went_home: int = 0
    """Attempts that were put to the home as well."""
    admitted_at_home: int = 0
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    output_tokens: int = 0
    """Produced by the engine, in whatever way the request ended."""
    unsettled: int = 0
    """Settlements that no door took."""
    settled_late: int = 0
    """Settlements of reservations that had run out."""
    lost: int = 0
    """Reservations that no door knew any more when they were renewed or settled."""
    records: list[RequestRecord] = field(default_factory=list)

    def between(self, start_us: int, end_us: int) -> Iterator[RequestRecord]:
        """Yield the records of the requests that came in ``[start_us, end_us)``."""
        return (each for each in self.records if start_us <= each.first_attempt_us < end_us)


class Line(NamedTuple):
    """One entitlement at one instant; counts are cumulative."""

    in_flight: int
    """Admitted requests that have not ended, queueing ones included."""
    attempts: int
    refusals: int
    priority: Priority | None
    """None where the policy has none."""


class Sample(NamedTuple):
    """The world at one instant."""

    at_us: int
    waiting: int
    """Admitted requests in the engine's queue."""
    running: int
    slots: int
    """Of ready and draining replicas."""
    busy_slot_us: int
    """Integral of running requests over time until now."""
    slot_us: int
    """Integral of slots over time until now."""
    lines: Mapping[str, Line]


@dataclass(slots=True, kw_only=True)
class Measures:
    """Everything that was measured."""

    policy: str
    seed: int
    duration_us: int
    tallies: dict[str, Tally]
    samples: list[Sample] = field(default_factory=list)
    """Every ``Scenario.sampling_us``, from 0 to the end."""
    waiting_max: int = 0
    """Of the engine's queue, over every event."""
    steps: int = 0
    left_out: int = 0
    """Arrivals that the mapping gives to nobody."""
    requests_kept: int = 0
    """Records over all tallies."""
    records_dropped: int = 0
    replica_changes: list[tuple[int, int]] = field(default_factory=list)
    """(time, ready replicas)."""

    def of(self, *classes: ServiceClass) -> list[Tally]:
        """Return the tallies of these classes."""
        return [tally for tally in self.tallies.values() if tally.service_class in classes]

    @property
    def requests(self) -> int:
        """All requests that were sent."""
        return sum(tally.requests for tally in self.tallies.values())

    @property
    def guaranteed_floor_refusals(self) -> int:
        """Refusals of reserved classes inside their floor; law 3 wants none."""
        return sum(tally.floor_refusals for tally in self.tallies.values())

    def utilisation_ppm(self, start_us: int, end_us: int) -> int:
        """Return busy ÷ available slot time between the samples nearest to the two times."""
        first, last = self._nearest(start_us), self._nearest(end_us)
        slot_us = last.slot_us - first.slot_us
        return (last.busy_slot_us - first.busy_slot_us) * PPM // slot_us if slot_us else 0

    def _nearest(self, at_us: int) -> Sample:
        return min(self.samples, key=lambda sample: abs(sample.at_us - at_us))


def ttfts_us(records: Iterable[RequestRecord]) -> list[int]:
    """Return the times to first token from the first attempt."""
    return [ttft for each in records if (ttft := each.ttft_us) is not None]


def ttfts_from_admission_us(records: Iterable[RequestRecord]) -> list[int]:
    """Return the times to first token from admission: the paper's figure."""
    return [ttft for each in records if (ttft := each.ttft_from_admission_us) is not None]


def latencies_us(records: Iterable[RequestRecord]) -> list[int]:
    """Return first attempt to end of the completed ones."""
    return [latency for each in records if (latency := each.latency_us) is not None]


def throttled_ppm(records: Iterable[RequestRecord]) -> int:
    """Return the part of unique requests that were refused at least once."""
    total = refused = 0
    for each in records:
        total += 1
        refused += each.refusals > 0
    return refused * PPM // total if total else 0


def refused_attempts_ppm(records: Iterable[RequestRecord]) -> int:
    """Return the part of attempts that were refused."""
    attempts = refused = 0
    for each in records:
        attempts += each.attempts
        refused += each.refusals
    return refused * PPM // attempts if attempts else 0
