"""Merging reports: twice is once, and only the newest sequence counts per entitlement."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from schemas.reports import AdmitterReport, EntitlementReport
from schemas.units import Held
from streams.core.reports import merge

entries = st.dictionaries(st.sampled_from("wxyz"), st.integers(0, 9), max_size=4)
reports = st.builds(
    lambda sequence, full, held: AdmitterReport(
        pool="chat",
        incarnation="a-1",
        url="http://a",
        sequence=sequence,
        full=full,
        entitlements=tuple(
            EntitlementReport(entitlement=uid, held=Held(slots=held[uid])) for uid in sorted(held)
        ),
    ),
    st.integers(1, 20),
    st.booleans(),
    entries,
)


def merged(sequence: list[AdmitterReport]) -> AdmitterReport | None:
    """Return all of them merged in this order."""
    result: AdmitterReport | None = None
    for report in sequence:
        result = merge(result, report)
    return result


@given(sequence=st.lists(reports, max_size=10))
def test_merging_everything_again_changes_nothing(sequence: list[AdmitterReport]) -> None:
    once = merged(sequence)

    for report in sequence:
        assert once is not None
        assert merge(once, report) == once


@given(sequence=st.lists(reports, min_size=1, max_size=10))
def test_the_result_is_as_new_as_the_newest(sequence: list[AdmitterReport]) -> None:
    result = merged(sequence)

    assert result is not None
    assert result.sequence == max(report.sequence for report in sequence)
