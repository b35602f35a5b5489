"""Laws judged by hand: what each check takes for broken, and what it lets pass."""

from __future__ import annotations

from random import Random

import pytest

from admission.core.pool import PoolDesk
from admission.core.share import Room
from schemas.positions import Version
from schemas.specs import ServiceClass
from schemas.ticks import EntitlementInput, ReportPosition, Tick, TickInputs
from schemas.units import NOTHING, Resources
from simulation.laws.broken import Broken
from simulation.laws.charges import Charges
from simulation.laws.demand import NEW_US, TICKS_MAX, Demand
from simulation.laws.floors import Floors
from simulation.laws.lines import Line, Triple
from simulation.laws.order import check_headroom, check_order
from simulation.laws.places import Place
from simulation.laws.shadow import Shadow
from simulation.laws.staleness import Freshness
from tests.simulation.families import pool_of

SECOND_US = 1_000_000
E = ServiceClass.ELASTIC
SPOT = ServiceClass.SPOT
MUCH = (1_000, 1_000, 1_000)


def line(uid: str, kind: ServiceClass, *, want: Triple, grant: Triple, baseline: int = 0) -> Line:
    promised = (baseline, baseline, baseline)
    floor = promised if kind.is_reserved else (0, 0, 0)
    return Line(uid, kind, want, promised, MUCH, floor, grant, (0, 0, 0))


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        pytest.param(
            [
                line("e", E, want=(4, 4, 4), grant=(2, 2, 2), baseline=4),
                line("s", SPOT, want=(4, 4, 4), grant=(2, 2, 2)),
            ],
            ["order", "order"],
            id="spot has what an elastic baseline lacks (and its burst)",
        ),
        pytest.param(
            [
                line("e", E, want=(4, 4, 4), grant=(2, 2, 2), baseline=4),
                line("s", SPOT, want=(0, 4, 4), grant=(0, 2, 2)),
            ],
            [],
            id="tokens are short, and spot has none of them",
        ),
        pytest.param(
            [
                line("e", E, want=(40, 4, 4), grant=(4, 1, 1), baseline=4),
                line("s", SPOT, want=(0, 3, 3), grant=(0, 3, 3)),
            ],
            [],
            id="a tenth of the tokens can use a tenth of the slots",
        ),
        pytest.param(
            [
                line("a", E, want=(4, 4, 4), grant=(1, 1, 1), baseline=4),
                line("b", E, want=(8, 8, 8), grant=(7, 7, 7), baseline=4),
            ],
            ["order"],
            id="a peer bursts while a baseline is short",
        ),
    ],
)
def test_who_is_short_while_later_phases_have_some(lines: list[Line], names: list[str]) -> None:
    assert [broken.name for broken in check_order(lines)] == names


def test_surplus_grants_leave_the_headroom_free() -> None:
    lines = [line("s", SPOT, want=(0, 0, 9), grant=(0, 0, 9))]

    assert list(check_headroom(lines, slots=10, headroom_slots=1)) == []
    assert [broken.law for broken in check_headroom(lines, slots=10, headroom_slots=2)] == [4]


def charged(charges: Charges, *amounts: tuple[int, int], bound: int = 0) -> list[Broken]:
    """Charge (second, tokens), with a tick every second and a depth of 20 tokens; then close."""
    broken: list[Broken] = []
    last_s = 0
    for at_s, tokens in amounts:
        for second in range(last_s + 1, at_s + 1):
            broken += charges.tick(bound, now_us=second * SECOND_US)
        last_s = at_s
        charges.charge(tokens, depth_tokens=20, now_us=at_s * SECOND_US)
    return broken + list(charges.close())


def at_ten_per_second() -> Charges:
    return Charges(lease_us=SECOND_US, capacity_tokens_per_s=10)


def test_a_window_may_charge_capacity_and_depths() -> None:
    assert charged(at_ten_per_second(), (0, 20), (1, 10), (2, 10), (3, 10)) == []


def test_a_window_that_charges_more_is_named_once_per_length() -> None:
    broken = charged(at_ten_per_second(), (0, 20), (1, 10), (1, 5))

    assert {each.name for each in broken} == {"tokens charged"}
    assert all("5 tokens more" in each.sentence for each in broken)


def test_the_exported_bound_and_what_is_taken_back_allow_more() -> None:
    assert charged(at_ten_per_second(), (0, 20), (1, 10), (2, 15), bound=5) == []
    assert charged(at_ten_per_second(), (0, 30), (1, -10), (1, 10), (2, 10), bound=10) == []


def test_what_was_charged_drains_at_the_floor_of_its_time_that_the_admitter_knows() -> None:
    """A pool that was away drained nothing, whatever its floor is afterwards."""
    floors = Floors(pool_of("small-floors", Random(1)))
    ten, five = ({"g": Room(floor=Resources(rate, 0, 0))} for rate in (10, 5))
    bound = [line("g", ServiceClass.GUARANTEED, want=MUCH, grant=(0, 0, 0), baseline=10)]
    away = [line("g", ServiceClass.GUARANTEED, want=MUCH, grant=(0, 0, 0))]

    floors.follow(0, ten, now_us=0)
    floors.tick(bound, now_us=0)
    floors.charge(0, "g", 100, now_us=0)
    floors.tick(away, now_us=2 * SECOND_US)
    floors.tick(bound, now_us=60 * SECOND_US)
    floors.follow(0, five, now_us=61 * SECOND_US)
    floors.charge(0, "g", 0, now_us=63 * SECOND_US)

    assert floors.meters[0, "g"].level == (100 - 2 * 10 - 1 * 10 - 2 * 5) * SECOND_US


def test_a_share_that_grew_is_charged_its_growth_and_what_it_was_overdrawn_by() -> None:
    pool = pool_of("small-floors", Random(1))
    floors = Floors(pool)
    full = 10 * pool.bucket_s * SECOND_US

    floors.raised(0, "g", 10, level=full - 1, now_us=0)
    assert floors.meters[0, "g"].level == full

    floors.raised(0, "g", 10, level=5 * full, now_us=0)
    assert floors.meters[0, "g"].level == 5 * full


def seen_nothing(demand: Demand, uid: str, *, sequence: int) -> list[Broken]:
    """Judge ticks that see no demand, by one report, until a law has to say something."""
    reports = (ReportPosition(incarnation="a", sequence=sequence),)
    inputs = TickInputs(
        at_us=0,
        elapsed_us=0,
        spec_version=1,
        reports=reports,
        entitlements=(EntitlementInput(entitlement=uid),),
    )
    tick = Tick(pool="pool", version=Version(1, 1, 1), inputs=inputs, capacity=NOTHING)
    places = [Place(0, freshness=Freshness("a"))]
    times = [0, *(NEW_US + number for number in range(TICKS_MAX + 1))]
    shadow = Shadow()
    return [each for now_us in times for each in demand.tick(tick, places, shadow, now_us=now_us)]


@pytest.mark.parametrize(("sequence", "laws"), [(1, []), (2, [6])])
def test_only_what_the_report_in_use_said_to_have_come_back_is_left_out(
    sequence: int, laws: list[int]
) -> None:
    pool = pool_of("elastic", Random(1))
    uid = next(iter(pool.entitlements))
    demand, shadow, desk = Demand(pool), Shadow(), PoolDesk(pool, "a")
    desk.follow_spec(pool, now_us=0)
    withdrawn = desk.accounts[uid].withdrawn
    shadow.by_place[0, uid].slots = 2
    demand.note(uid, shadow, doors=1, now_us=0)

    withdrawn.put("b/r1", Resources(0, 0, 2), lapse_us=SECOND_US)
    desk.sequence = 1
    demand.reported(desk)
    withdrawn.lapse(SECOND_US)
    desk.sequence = 2
    demand.reported(desk)

    assert [broken.law for broken in seen_nothing(demand, uid, sequence=sequence)] == laws
