"""The agent ``reports``: an owner that reads a backlog does not take old reports for fresh ones."""

from __future__ import annotations

from schemas.reports import AdmitterReport
from schemas.specs import Leases
from schemas.units import US_PER_S
from schemas.wire import encode
from streams.agents.reports import Admitters
from streams.core.judge import StoredRecord
from streams.driver import Batch

LEASES = Leases(lease_ms=5_000, hold_seconds=30)


class Clock:
    """The tick owner's, in seconds."""

    def __init__(self, at_s: int) -> None:
        self.at_s = at_s

    def __call__(self) -> int:
        return self.at_s * US_PER_S


def batch(*stored: tuple[str, int]) -> Batch:
    """Return reports by incarnation and the broker's seconds."""
    records = [
        StoredRecord(
            offset=offset,
            value=encode(
                AdmitterReport(pool="chat", incarnation=name, url=f"http://{name}", sequence=at_s)
            ),
            key=b"chat",
            timestamp=at_s * 1_000,
        )
        for offset, (name, at_s) in enumerate(stored)
    ]
    return Batch("reports", 0, records, before=-1, generation=1)


def heard_at_s(admitters: Admitters) -> dict[str, int]:
    """Return when each incarnation was heard of, by the owner's clock."""
    reports = admitters.of("chat", leases=LEASES)
    return {each.report.incarnation: each.received_us // US_PER_S for each in reports}


def test_of_a_backlog_each_report_arrived_as_long_before_the_last_as_it_was_stored() -> None:
    clock = Clock(at_s=1_000)
    admitters = Admitters(1, now_us=clock)

    admitters.take(batch(("gone", 10), ("a", 25), ("b", 29)))
    clock.at_s = 1_001
    admitters.take(batch(("a", 30)))

    assert heard_at_s(admitters) == {"gone": 981, "a": 1_001, "b": 1_000}


def test_nobody_is_forgotten_for_a_clock_of_the_broker_that_jumped() -> None:
    admitters = Admitters(1, now_us=Clock(at_s=1_000))

    admitters.take(batch(("a", 10), ("b", 90_000)))

    assert heard_at_s(admitters) == {"a": 970, "b": 1_000}


def test_a_silent_incarnation_is_forgotten_after_twice_lease_and_hold() -> None:
    clock = Clock(at_s=1_000)
    admitters = Admitters(1, now_us=clock)

    admitters.take(batch(("a", 10)))
    clock.at_s += 71

    assert heard_at_s(admitters) == {}
