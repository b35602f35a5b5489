"""What each class may use here, by the state and by its age."""

import pytest
from msgspec.structs import replace

from admission.core.share import Outlook, outlook
from admission.core.staleness import Freshness
from schemas.decisions import RefusalReason
from schemas.pools import Pool
from schemas.specs import ServiceClass
from schemas.state import EntitlementStatus
from schemas.units import NOTHING, Resources
from tests.unit.admission.pools import FLOOR, HERE, THERE, entitlement, pool, state

BIG = FLOOR.times(2)
COMMON = Resources(500, 5_000, 5)
CLASSES = [each.value for each in ServiceClass]


def seen(freshness: Freshness, *, spec: Pool | None = None, home: str = HERE) -> Outlook:
    """The outlook where every entitlement has twice a floor here and a common part is left."""
    spec = spec or pool()
    published = state(
        spec, shares={uid: {HERE: BIG} for uid in CLASSES}, common={HERE: COMMON}, home=home
    )
    return outlook(spec, published, incarnation=HERE, freshness=freshness)


@pytest.mark.parametrize(
    ("freshness", "usable", "stopped"),
    [
        pytest.param(
            Freshness.FRESH,
            dict.fromkeys(CLASSES, BIG),
            set(),
            id="fresh: the shares",
        ),
        pytest.param(
            Freshness.HOLD,
            {"dedicated": FLOOR, "guaranteed": FLOOR, "elastic": FLOOR},
            {"spot", "preemptible"},
            id="lease over: the baselines, no surplus",
        ),
        pytest.param(
            Freshness.STALE,
            {"dedicated": Resources(250, 25_000, 4), "guaranteed": Resources(250, 25_000, 4)},
            {"elastic", "spot", "preemptible"},
            id="hold over: a safe part of the floors, more of it at home",
        ),
    ],
)
def test_usable_by_age(
    freshness: Freshness, usable: dict[str, Resources], stopped: set[str]
) -> None:
    rooms = seen(freshness).rooms

    assert {uid: room.usable for uid, room in rooms.items() if room.usable != NOTHING} == usable
    assert {uid for uid, room in rooms.items() if room.closed} == stopped


def test_away_from_home_the_safe_part_is_rounded_down() -> None:
    rooms = seen(Freshness.STALE, home=THERE).rooms

    assert rooms["guaranteed"].usable.slots == FLOOR.slots // 4


@pytest.mark.parametrize(
    ("freshness", "expected"),
    [
        pytest.param(Freshness.FRESH, COMMON, id="while fresh"),
        pytest.param(Freshness.HOLD, NOTHING, id="not without a lease"),
        pytest.param(Freshness.NONE, NOTHING, id="not without a state"),
    ],
)
def test_the_common_part_is_used(freshness: Freshness, expected: Resources) -> None:
    assert seen(freshness).common == expected


@pytest.mark.parametrize("status", [EntitlementStatus.PENDING, EntitlementStatus.EXPIRED])
def test_what_is_not_bound_is_closed(status: EntitlementStatus) -> None:
    spec = pool()
    published = state(spec, shares={}, statuses={"elastic": status})
    rooms = outlook(spec, published, incarnation=HERE, freshness=Freshness.FRESH).rooms

    assert rooms["elastic"].closed is RefusalReason.NOT_BOUND
    assert rooms["spot"].closed is None


def test_an_entitlement_that_the_state_does_not_know_is_not_bound() -> None:
    published = replace(state(pool(), shares={}), entitlements=())
    rooms = outlook(pool(), published, incarnation=HERE, freshness=Freshness.FRESH).rooms

    assert {room.closed for room in rooms.values()} == {RefusalReason.NOT_BOUND}


@pytest.mark.parametrize("admitters", [1, 2, 3, 7])
def test_the_parts_of_a_ceiling_sum_to_the_ceiling(admitters: int) -> None:
    ceiling = Resources(5_000, 50_003, 23)
    spec = pool(entitlement("burst", ServiceClass.ELASTIC, ceiling=ceiling))
    names = [f"a-{number}" for number in range(admitters)]
    published = state(
        spec,
        shares={"burst": {name: Resources(10, 10, 1) for name in names}},
        alive=dict.fromkeys(names, True),
        home=names[-1],
    )
    total = NOTHING
    for name in names:
        seen_here = outlook(spec, published, incarnation=name, freshness=Freshness.FRESH)
        total += seen_here.rooms["burst"].ceiling

    assert total == ceiling


def test_headroom_is_split_over_live_admitters_and_rounded_up() -> None:
    spec = pool(headroom_slots=5)
    published = state(spec, shares={}, alive={HERE: True, THERE: True, "c-1": False})

    assert outlook(spec, published, incarnation=HERE, freshness=Freshness.FRESH).headroom_slots == 3


def test_the_home_is_named_only_elsewhere() -> None:
    spec = pool()
    published = state(spec, shares={}, alive={HERE: True, THERE: True}, home=THERE)
    there = outlook(spec, published, incarnation=HERE, freshness=Freshness.FRESH)
    here = outlook(spec, published, incarnation=THERE, freshness=Freshness.FRESH)

    assert there.rooms["guaranteed"].home_url == f"http://{THERE}"
    assert here.rooms["guaranteed"].home_url == ""
