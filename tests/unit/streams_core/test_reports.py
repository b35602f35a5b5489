"""Reports: partial ones are put together, and a lost or repeated one is harmless."""

from __future__ import annotations

import pytest

from schemas.reports import AdmitterReport, Adoption, EntitlementReport
from schemas.units import Held
from streams.core.reports import Reading, arrived_us, heard, merge


def report(sequence: int, *held: tuple[str, int], full: bool = False) -> AdmitterReport:
    """Return a report of so many slots by entitlement."""
    return AdmitterReport(
        pool="chat",
        incarnation="a-1",
        url="http://a",
        sequence=sequence,
        full=full,
        entitlements=tuple(
            EntitlementReport(entitlement=uid, held=Held(slots=slots)) for uid, slots in held
        ),
    )


def slots(merged: AdmitterReport) -> dict[str, int]:
    """Return the slots held by entitlement."""
    return {item.entitlement: item.held.slots for item in merged.entitlements}


def test_the_first_report_is_taken_as_it_is() -> None:
    assert merge(None, report(4, ("x", 1))) == report(4, ("x", 1))


def test_a_partial_report_changes_only_what_it_names() -> None:
    merged = merge(report(1, ("x", 1), ("y", 2), full=True), report(2, ("y", 0)))

    assert slots(merged) == {"x": 1, "y": 0}
    assert merged.sequence == 2


def test_a_full_report_forgets_what_it_does_not_name() -> None:
    merged = merge(report(1, ("x", 1), ("y", 2), full=True), report(2, ("y", 3), full=True))

    assert slots(merged) == {"y": 3}


def test_an_older_or_equal_sequence_changes_nothing() -> None:
    newest = report(5, ("x", 5), full=True)

    assert merge(newest, report(5, ("x", 9), full=True)) is newest
    assert merge(newest, report(3, ("x", 9), full=True)) is newest


def test_a_report_that_says_nothing_new_is_no_sign_of_life() -> None:
    first = heard(None, report(5, ("x", 5)), received_us=1_000)
    repeated = heard(first, report(5, ("x", 5)), received_us=9_000)
    overtaken = heard(repeated, report(4, ("x", 4)), received_us=9_500)
    newer = heard(overtaken, report(6, ("x", 6)), received_us=9_900)

    assert (repeated, overtaken) == (first, first)
    assert (newer.received_us, slots(newer.report)) == (9_900, {"x": 6})


def test_adoptions_are_kept_until_they_are_named_again() -> None:
    adopted = Adoption(incarnation="dead-1", entitlement="x", adopted=Held(slots=2))
    first = AdmitterReport(
        pool="chat", incarnation="a-1", url="http://a", sequence=1, adoptions=(adopted,)
    )

    assert merge(first, report(2, ("x", 1))).adoptions == (adopted,)


@pytest.mark.parametrize(
    ("stored_s", "read_s", "last_stored_s", "last_read_s", "arrived_s"),
    [
        pytest.param(7, 100, 9, 102, 100, id="read at once: when it was read"),
        pytest.param(7, 100, 57, 150, 100, id="however long ago"),
        pytest.param(7, 100, 27, 100, 80, id="of a backlog: as long before as it was stored"),
        pytest.param(7, 100, 27, 101, 81, id="also when it was read in two batches"),
        pytest.param(7, 100, 900, 100, 70, id="at most hold before, should a clock have jumped"),
        pytest.param(900, 100, 7, 100, 100, id="a clock that jumped back makes nothing old"),
    ],
)
def test_when_a_report_arrived(
    stored_s: int, read_s: int, last_stored_s: int, last_read_s: int, arrived_s: int
) -> None:
    """A hold of 30 s; the broker's clock is its own."""
    reading = Reading(read_us=read_s, stored_us=stored_s)
    last = Reading(read_us=last_read_s, stored_us=last_stored_s)

    assert arrived_us(reading, last, hold_us=30) == arrived_s
