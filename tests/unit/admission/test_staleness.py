"""The lease is judged by our own clock, and the safe shares sum to the floor."""

import pytest

from admission.core.staleness import SENT_MAX, Freshness, Lease, safe_share
from schemas.specs import Leases
from schemas.units import US_PER_S, Resources

LEASES = Leases(lease_ms=5_000, hold_seconds=30)


def echoed(*, sent_us: int = 0) -> Lease:
    lease = Lease()
    lease.sent(1, now_us=sent_us)
    lease.echoed(1)
    return lease


@pytest.mark.parametrize(
    ("age_us", "expected"),
    [
        pytest.param(0, Freshness.FRESH, id="as old as the report that it echoes"),
        pytest.param(5 * US_PER_S, Freshness.FRESH, id="until the lease is over"),
        pytest.param(5 * US_PER_S + 1, Freshness.HOLD, id="then it holds"),
        pytest.param(35 * US_PER_S, Freshness.HOLD, id="until the hold is over"),
        pytest.param(35 * US_PER_S + 1, Freshness.STALE, id="then it is stale"),
    ],
)
def test_freshness(age_us: int, expected: Freshness) -> None:
    assert echoed().freshness(age_us, leases=LEASES) is expected


def test_without_an_echo_there_is_no_state() -> None:
    lease = Lease()
    lease.sent(1, now_us=0)

    assert lease.freshness(1, leases=LEASES) is Freshness.NONE


def test_an_echo_that_we_never_sent_renews_nothing() -> None:
    lease = echoed(sent_us=100)
    lease.echoed(99)

    assert lease.echoed_us == 100


def test_an_older_echo_makes_the_state_no_older() -> None:
    lease = Lease()
    lease.sent(1, now_us=100)
    lease.sent(2, now_us=200)
    lease.echoed(2)
    lease.echoed(1)

    assert lease.echoed_us == 200


def test_sent_reports_are_remembered_within_a_bound() -> None:
    lease = Lease()
    for sequence in range(SENT_MAX + 10):
        lease.sent(sequence, now_us=sequence)
    lease.echoed(0)

    assert lease.echoed_us is None


@pytest.mark.parametrize("admitters_max", [1, 2, 3, 16])
def test_safe_shares_sum_to_the_floor(admitters_max: int) -> None:
    floor = Resources(1_000, 77, 10)
    away = safe_share(floor, admitters_max=admitters_max, at_home=False)
    home = safe_share(floor, admitters_max=admitters_max, at_home=True)

    assert home + away.times(admitters_max - 1) == floor
