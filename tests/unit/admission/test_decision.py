"""One verdict over three dimensions: the share first, then the common part, within the ceiling."""

from dataclasses import replace

import pytest
from msgspec import structs

from admission.core.decision import (
    Fits,
    FitsDemoted,
    Need,
    Short,
    Standing,
    Surplus,
    Verdict,
    can_never_fit,
    decide,
)
from admission.core.share import Room
from schemas.decisions import RefusalReason as Why
from schemas.units import Dimension as In
from schemas.units import Resources

SHARE = Resources(100, 1_000, 4)
WIDE = Resources(10_000, 100_000, 400)
ROOM = Room(usable=SHARE, ceiling=WIDE, whole=SHARE, floor=SHARE, at_home=True, may_burst=True)
FIXED = replace(ROOM, may_burst=False, ceiling=SHARE)
AWAY = replace(FIXED, whole=SHARE.times(2), floor=SHARE.times(2), at_home=False)
SPOT = replace(ROOM, floor=Resources(), leaves_headroom=True)
NEED = Need(tokens=50, kv_bytes=100, slots=1)
PLENTY = Surplus(slots=10, kv_bytes=10_000, headroom_slots=0, open=True)
NONE = Surplus(slots=0, kv_bytes=0, headroom_slots=0, open=False)


def standing(room: Room, *, slots: int = 0, kv_bytes: int = 0, **more: bool) -> Standing:
    flags = {"share_open": True, "ceiling_open": True, "may_demote": False, **more}
    return Standing(room=room, slots=slots, kv_bytes=kv_bytes, **flags)


OWN, COMMON = Fits(in_common=False), Fits(in_common=True)
SPENT = {"share_open": False}


@pytest.mark.parametrize(
    ("stands", "surplus", "expected"),
    [
        pytest.param(standing(ROOM, slots=3), NONE, OWN, id="the last slot of the share"),
        pytest.param(standing(ROOM, kv_bytes=900), NONE, OWN, id="the last bytes of the share"),
        pytest.param(standing(ROOM, slots=4), PLENTY, OWN, id="a slot of the common part"),
        pytest.param(standing(ROOM, **SPENT), PLENTY, COMMON, id="common throughput"),
        pytest.param(
            standing(ROOM, slots=4),
            NONE,
            Short(Why.CONTENDED, In.CONCURRENCY, 4),
            id="nothing left above the share",
        ),
        pytest.param(
            standing(ROOM, kv_bytes=901),
            NONE,
            Short(Why.CONTENDED, In.KV_CACHE, 1_000),
            id="one byte too many",
        ),
        pytest.param(
            standing(ROOM, **SPENT),
            NONE,
            Short(Why.CONTENDED, In.THROUGHPUT, 100),
            id="no common throughput either",
        ),
        pytest.param(
            standing(replace(ROOM, ceiling=SHARE), slots=4),
            PLENTY,
            Short(Why.LIMIT_REACHED, In.CONCURRENCY, 4),
            id="the ceiling holds whatever is free",
        ),
        pytest.param(
            standing(ROOM, share_open=False, ceiling_open=False),
            PLENTY,
            Short(Why.LIMIT_REACHED, In.THROUGHPUT, 10_000),
            id="the ceiling's bucket holds whatever is free",
        ),
        pytest.param(
            standing(FIXED, slots=4),
            PLENTY,
            Short(Why.LIMIT_REACHED, In.CONCURRENCY, 4),
            id="a class that may not burst ends at its share",
        ),
        pytest.param(
            standing(AWAY, slots=4),
            PLENTY,
            Short(Why.SHARE_EXHAUSTED, In.CONCURRENCY, 4),
            id="inside the floor, this admitter's part used up",
        ),
        pytest.param(
            standing(AWAY, **SPENT),
            PLENTY,
            Short(Why.SHARE_EXHAUSTED, In.THROUGHPUT, 100),
            id="the same in throughput",
        ),
        pytest.param(
            standing(SPOT, slots=4),
            structs.replace(PLENTY, slots=2, headroom_slots=2),
            Short(Why.CONTENDED, In.CONCURRENCY, 4),
            id="surplus classes leave the headroom free",
        ),
        pytest.param(
            standing(SPOT, slots=4),
            structs.replace(PLENTY, slots=3, headroom_slots=2),
            OWN,
            id="and take what is above it",
        ),
        pytest.param(
            standing(ROOM, slots=4),
            structs.replace(PLENTY, slots=1, headroom_slots=2),
            OWN,
            id="other classes use the headroom",
        ),
        pytest.param(
            standing(replace(ROOM, closed=Why.STATE_STALE)),
            PLENTY,
            Short(Why.STATE_STALE),
            id="closed is closed",
        ),
    ],
)
def test_verdict(stands: Standing, surplus: Surplus, expected: Verdict) -> None:
    assert decide(NEED, standing=stands, surplus=surplus) == expected


def test_a_request_straddles_share_and_common_part() -> None:
    need = Need(tokens=50, kv_bytes=100, slots=3)
    stands = standing(ROOM, slots=3)

    assert decide(need, standing=stands, surplus=structs.replace(PLENTY, slots=2)) == OWN
    assert isinstance(
        decide(need, standing=stands, surplus=structs.replace(PLENTY, slots=1)), Short
    )


def test_held_above_a_share_that_was_cut_draws_all_of_the_next_request() -> None:
    stands = standing(ROOM, slots=9)

    assert decide(NEED, standing=stands, surplus=structs.replace(PLENTY, slots=1)) == OWN
    assert isinstance(
        decide(NEED, standing=stands, surplus=structs.replace(PLENTY, slots=0)), Short
    )


@pytest.mark.parametrize(
    ("stands", "surplus", "demoted"),
    [
        pytest.param(standing(FIXED, slots=4, may_demote=True), PLENTY, True, id="at its limit"),
        pytest.param(standing(FIXED, slots=4), PLENTY, False, id="only when it was allowed"),
        pytest.param(
            standing(FIXED, slots=4, may_demote=True), NONE, False, id="only into surplus"
        ),
        pytest.param(
            standing(FIXED, slots=4, may_demote=True),
            structs.replace(PLENTY, slots=2, headroom_slots=2),
            False,
            id="not into the headroom",
        ),
        pytest.param(
            standing(AWAY, slots=4, may_demote=True), PLENTY, False, id="the home is tried first"
        ),
        pytest.param(
            standing(replace(AWAY, at_home=True), slots=4, may_demote=True),
            PLENTY,
            True,
            id="at home there is nowhere else to go",
        ),
    ],
)
def test_demotion(stands: Standing, surplus: Surplus, demoted: bool) -> None:
    verdict = decide(NEED, standing=stands, surplus=surplus)

    assert isinstance(verdict, FitsDemoted) is demoted


@pytest.mark.parametrize(
    ("most", "dimension"),
    [
        pytest.param(Resources(1, 100, 1), None, id="exactly what there can be"),
        pytest.param(Resources(1, 100, 0), In.CONCURRENCY, id="more sequences than ever"),
        pytest.param(Resources(1, 99, 1), In.KV_CACHE, id="more KV than ever"),
        pytest.param(Resources(0, 100, 1), In.THROUGHPUT, id="no throughput ever"),
    ],
)
def test_impossible(most: Resources, dimension: In | None) -> None:
    short = can_never_fit(NEED, most=most)

    assert (short.dimension if short else None) == dimension
