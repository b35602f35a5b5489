"""Incarnations: who is dead, for how long it counts, and that death is final."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from schemas.ledger import AdmitterRecord
from schemas.reports import AdmitterReport, Adoption, EntitlementReport
from schemas.specs import Leases
from schemas.units import NOTHING, Held, Resources
from streams.core.incarnations import (
    alive,
    census,
    is_silent,
    orphaned,
    patience_us,
    taken_over,
    unreported,
)
from streams.core.reports import Reported

S = 1_000_000
LEASES = Leases(lease_ms=5_000, hold_seconds=30, admitters_max=2)
PATIENCE_US = patience_us(LEASES)
HELD = Held(tokens=10, kv_bytes=20, slots=3)


def reported(
    incarnation: str,
    at_s: int,
    *,
    url: str = "",
    sequence: int = 1,
    leaving: bool = False,
    expires_in_s: int = 15,
    adopted: Sequence[Adoption] = (),
) -> Reported:
    """Return a report that holds 3 slots of ``e`` until they expire."""
    report = AdmitterReport(
        pool="chat",
        incarnation=incarnation,
        url=url or f"http://{incarnation}",
        sequence=sequence,
        leaving=leaving,
        expires_in_ms=expires_in_s * 1_000,
        entitlements=(EntitlementReport(entitlement="e", held=HELD),),
        adoptions=tuple(adopted),
    )
    return Reported(report, at_s * S)


def counted(
    previous: Sequence[AdmitterRecord], reports: Sequence[Reported], at_s: int
) -> tuple[AdmitterRecord, ...]:
    """Return the census at a time in seconds."""
    return census(previous, reports, now_us=at_s * S, leases=LEASES)


def test_whoever_reports_is_alive() -> None:
    records = counted((), [reported("b", 1), reported("a", 1)], 1)

    assert list(alive(records)) == ["a", "b"]
    assert records[0].held == {"e": HELD}


def test_silence_kills_after_lease_and_hold() -> None:
    before = counted((), [reported("a", 0)], 0)

    assert alive(counted(before, [], PATIENCE_US // S))
    assert not alive(counted(before, [], PATIENCE_US // S + 1))


def test_whoever_leaves_is_dead_at_once_and_counts_until_its_last_expiry() -> None:
    records = counted((), [reported("a", 0, leaving=True)], 0)

    assert not alive(records)
    assert orphaned(records, [], now_us=14 * S) == {"e": HELD}
    assert orphaned(records, [], now_us=15 * S) == {}


def test_only_the_silent_may_still_serve_on_their_own() -> None:
    before = counted((), [reported("a", 0), reported("b", 0, leaving=True)], 0)

    records = counted(before, [], 36)

    assert [(record.incarnation, is_silent(record)) for record in records] == [("a", True)]
    assert not is_silent(before[1])


def test_a_newcomer_under_its_url_replaces_an_incarnation() -> None:
    last = reported("a-1", 0, url="http://a")
    before = counted((), [last], 0)

    records = counted(before, [last, reported("a-2", 2, url="http://a")], 2)

    assert list(alive(records)) == ["a-2"]
    assert records[0].replaced_by == "a-2"
    assert orphaned(records, [], now_us=2 * S) == {"e": HELD}


def test_long_reservations_of_a_replaced_incarnation_count_to_their_end() -> None:
    last = reported("a-1", 0, url="http://a", expires_in_s=100)
    records = counted((), [last], 0)
    for at_s in (2, 60, 99):
        records = counted(records, [reported("a-2", at_s, url="http://a")], at_s)

    assert orphaned(records, [], now_us=99 * S) == {"e": HELD}
    assert orphaned(records, [], now_us=100 * S) == {}


def with_reach(records: Sequence[AdmitterRecord], slots: int) -> tuple[AdmitterRecord, ...]:
    """Return the records as a tick leaves them that let each hold so many slots."""
    reach = Resources(0, 100, slots)
    return tuple(msgspec.structs.replace(record, reach=reach) for record in records)


def test_what_the_dead_may_have_admitted_since_their_last_report_is_beyond_what_counts() -> None:
    before = with_reach(counted((), [reported("a-1", 0, url="http://a")], 0), 8)

    records = counted(before, [reported("a-2", 9, url="http://a")], 9)

    assert unreported(before, [], now_us=9 * S) == NOTHING
    assert unreported(records, [], now_us=9 * S) == Resources(0, 80, 5)
    assert unreported(records, [], now_us=23 * S) == Resources(0, 100, 8)
    assert unreported(records, [], now_us=24 * S) == NOTHING


def test_it_is_less_by_what_was_adopted_reported_or_not() -> None:
    before = with_reach(counted((), [reported("a-1", 0, url="http://a")], 0), 8)
    adoption = Adoption(incarnation="a-1", entitlement="e", adopted=Held(0, 20, 4))
    reports = [reported("a-2", 1, url="http://a", adopted=[adoption])]

    records = counted(before, reports, 1)

    assert orphaned(records, reports, now_us=S) == {"e": Held(10, 0, 0)}
    assert unreported(records, reports, now_us=S) == Resources(0, 80, 4)


def test_whoever_leaves_has_reported_everything() -> None:
    before = with_reach(counted((), [reported("a", 0)], 0), 8)

    records = counted(before, [reported("a", 1, sequence=2, leaving=True)], 1)

    assert unreported(records, [], now_us=S) == NOTHING


def test_a_newcomer_ends_the_static_safe_share_of_a_silent_one_under_its_url() -> None:
    silent = counted(counted((), [reported("a-1", 0, url="http://a")], 0), [], 36)
    served = [msgspec.structs.replace(record, safe=Resources(5, 5, 1)) for record in silent]

    records = counted(served, [reported("a-2", 40, url="http://a")], 40)

    assert [record.safe for record in records] == [None, None]
    assert unreported(records, [], now_us=40 * S) == Resources(0, 5, 1)


def test_death_is_final() -> None:
    before = counted((), [reported("a", 0, leaving=True)], 0)

    assert not alive(counted(before, [reported("a", 1, sequence=9)], 1))


def test_a_dead_incarnation_is_not_born_again_from_its_last_report() -> None:
    last = reported("a-1", 0, url="http://a")
    records = counted((), [last], 0)
    for at_s in range(0, 120, 5):
        records = counted(records, [last, reported("a-2", at_s, url="http://a")], at_s)
        assert list(alive(records)) == ["a-2"]


def test_a_sleeper_that_reported_once_more_never_buries_the_one_that_it_became() -> None:
    url = "http://a"
    first = reported("a-1", 0, url=url)
    asleep = counted(counted((), [first], 1), [first], 40)
    woken = reported("a-1", 41, url=url, sequence=2)
    records = counted(asleep, [woken], 41)
    for at_s in range(42, 120):
        records = counted(records, [woken, reported("a-2", at_s, url=url)], at_s)

        assert list(alive(records)) == ["a-2"]


def test_one_that_was_forgotten_is_no_newcomer_while_its_last_report_is_remembered() -> None:
    url = "http://a"
    reports = [reported(f"a-{number}", number, url=url) for number in range(9)]
    records: tuple[AdmitterRecord, ...] = ()
    for at_s in range(9):
        records = counted(records, reports[: at_s + 1], at_s)
    for at_s in range(9, 35):
        records = counted(records, [*reports[:8], reported("a-8", at_s, url=url)], at_s)

        assert list(alive(records)) == ["a-8"]


def test_what_was_adopted_counts_at_the_adopter_alone() -> None:
    before = counted((), [reported("a-1", 0, url="http://a")], 0)
    adoption = Adoption(incarnation="a-1", entitlement="e", adopted=Held(slots=2))
    reports = [reported("a-2", 1, url="http://a", adopted=[adoption])]

    records = counted(before, reports, 1)

    assert orphaned(records, reports, now_us=S)["e"].slots == 1


def test_more_adopted_than_was_held_is_nothing_held() -> None:
    before = counted((), [reported("a-1", 0, url="http://a")], 0)
    adoption = Adoption(incarnation="a-1", entitlement="e", adopted=Held(99, 99, 99))
    reports = [reported("a-2", 1, url="http://a", adopted=[adoption])]

    assert orphaned(counted(before, reports, 1), reports, now_us=S) == {"e": Held()}


def test_the_silent_are_remembered_up_to_a_bound() -> None:
    records = counted((), [reported(name, number) for number, name in enumerate("abcd")], 3)

    later = counted(records, [], 60)

    assert [record.incarnation for record in later] == ["c", "d"]


def test_a_new_owner_gives_everybody_their_full_time_again() -> None:
    before = counted((), [reported("a", 0), reported("b", 0, leaving=True)], 10)

    after = taken_over(before, at_us=10 * S, now_us=30 * S, leases=LEASES)

    assert alive(census(after, [], now_us=65 * S, leases=LEASES))
    assert not alive(census(after, [], now_us=66 * S, leases=LEASES))
    assert orphaned(after, [], now_us=34 * S) == {"e": HELD}
    assert orphaned(after, [], now_us=35 * S) == {}


def test_a_new_owner_whose_clock_is_ahead_buries_nobody_early() -> None:
    """By its clock the admitter was silent for lease + hold + 9 s; in truth it was for 1 s."""
    before = counted((), [reported("a", 9)], 10)

    after = taken_over(before, at_us=10 * S, now_us=(9 + 35 + 9) * S, leases=LEASES)

    assert alive(census(after, [], now_us=(53 + 35) * S, leases=LEASES))


def test_a_new_owner_who_comes_long_after_waits_one_lease_for_those_it_knows() -> None:
    before = counted((), [reported("a", 0), reported("b", 0, leaving=True)], 10)

    after = taken_over(before, at_us=10 * S, now_us=1_000 * S, leases=LEASES)

    assert list(alive(census(after, [], now_us=1_005 * S, leases=LEASES))) == ["a"]
    assert alive(census(after, [], now_us=1_006 * S, leases=LEASES)) == {}
    assert orphaned(after, [], now_us=1_000 * S) == {}


def test_what_a_leaver_holds_counts_as_long_as_one_more_renewal_lets_it_live() -> None:
    last = reported("a-1", 0, url="http://a", expires_in_s=1)
    leaving = msgspec.structs.replace(last.report, sequence=9, leaving=True, ttl_ms_max=6_000)
    records = counted(counted((), [last], 0), [Reported(leaving, 0)], 0)

    assert orphaned(records, [], now_us=5 * S) == {"e": HELD}
    assert orphaned(records, [], now_us=6 * S) == {}
