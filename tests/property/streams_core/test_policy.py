"""Laws 2, 4 and 5 on what ``decide`` gives over sequences of ticks, and states with their reasons.

The world is the simplest one: what a tick grants is served until the next, what it does not is
refused and asked for again.
"""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.pools import Pool
from schemas.specs import EntitlementSpec, ServiceClass
from schemas.state import EntitlementStatus
from schemas.ticks import EntitlementInput, EntitlementOutput, TickInputs
from schemas.units import NOTHING, PPM, Held, Resources
from streams.core.debt import DEBT_MAX, DEBT_MIN
from streams.core.policy import Decision, decide
from tests.unit.streams_core.pools import GIB, SECOND_US, START_US, entitlement, pool_of, vector

ELASTIC = ServiceClass.ELASTIC
REPLICA = Resources(240, 16 * GIB, 16)
LONG_AGO = "2020-01-01T00:00:00Z"


@st.composite
def pools(draw: st.DrawFn) -> Pool:
    """Return a pool of a few entitlements of every class; floors may exceed live capacity."""
    specs: list[EntitlementSpec] = []
    for number in range(draw(st.integers(1, 5))):
        service_class = draw(st.sampled_from(ServiceClass))
        specs.append(
            entitlement(
                f"e{number}",
                service_class,
                draw(st.integers(1, 12)) if service_class.has_baseline else 0,
                slo_ms=draw(st.sampled_from((200, 1_000, 30_000))),
                expires_at=draw(st.sampled_from((None, None, None, LONG_AGO))),
            )
        )
    return pool_of(*specs, replicas=8, headroom=draw(st.integers(0, 3)))


Load = list[tuple[int, list[int]]]
"""Per tick: ready replicas, and the slots that each entitlement asks for."""
loads = st.lists(
    st.tuples(st.integers(0, 3), st.lists(st.integers(0, 20), min_size=5, max_size=5)),
    min_size=1,
    max_size=12,
)


def ticks(pool: Pool, load: Load) -> Iterator[tuple[TickInputs, dict[str, Decision]]]:
    """Yield each tick's inputs with its decisions by uid."""
    last: dict[str, EntitlementOutput] = {}
    for replicas, wants in load:
        items = tuple(
            asked(uid, vector(slots), last.get(uid))
            for uid, slots in zip(sorted(pool.entitlements), wants, strict=False)
        )
        inputs = TickInputs(
            at_us=START_US,
            elapsed_us=SECOND_US,
            spec_version=7,
            replicas_ready=replicas,
            per_replica=REPLICA,
            entitlements=items,
        )
        decisions = {item.output.entitlement: item for item in decide(pool, inputs)}
        yield inputs, decisions
        last = {uid: decision.output for uid, decision in decisions.items()}


def asked(uid: str, demand: Resources, last: EntitlementOutput | None) -> EntitlementInput:
    """Return what a tick knows of an entitlement that was granted ``last``."""
    granted = NOTHING if last is None else last.grant
    served = granted.at_most(demand)
    return EntitlementInput(
        entitlement=uid,
        served_tokens_per_s=served.tokens_per_s,
        held=Held(tokens=0, kv_bytes=served.kv_bytes, slots=served.slots),
        pending=demand - served,
        demand=demand,
        debt_ppm=0 if last is None else last.debt_ppm,
        debt_rest=0 if last is None else last.debt_rest,
        burst_ppm=0 if last is None else last.burst_ppm,
        burst_rest=0 if last is None else last.burst_rest,
    )


@given(pool=pools(), load=loads)
def test_neither_floors_nor_grants_exceed_live_capacity_in_any_tick(pool: Pool, load: Load) -> None:
    for inputs, decisions in ticks(pool, load):
        floors = grants = NOTHING
        for decision in decisions.values():
            floors, grants = floors + decision.output.floor, grants + decision.output.grant
        capacity = REPLICA.times(inputs.replicas_ready)

        assert capacity.covers(floors)
        assert capacity.covers(grants)


@given(pool=pools(), load=loads)
def test_no_elastic_waits_below_its_baseline_while_a_peer_is_above_its_own(
    pool: Pool, load: Load
) -> None:
    """Law 5 allows two ticks; the fill needs none, whatever debt and burst make of the weights."""
    for inputs, decisions in ticks(pool, load):
        demands = {item.entitlement: item.demand for item in inputs.entitlements}
        elastic = {
            uid: decision.output.grant
            for uid, decision in decisions.items()
            if decision.output.service_class is ELASTIC
            and decision.output.status is not EntitlementStatus.EXPIRED
        }
        waits = [
            uid
            for uid, grant in elastic.items()
            if not grant.covers(demands[uid].at_most(pool.entitlements[uid].baseline))
        ]
        bursts = [
            uid
            for uid, grant in elastic.items()
            if grant.slots > pool.entitlements[uid].baseline.slots
        ]

        assert not (waits and bursts)


@given(pool=pools(), load=loads)
def test_debt_is_bounded_and_earned_only_by_unmet_demand_inside_a_baseline(
    pool: Pool, load: Load
) -> None:
    before: dict[str, int] = {}
    for inputs, decisions in ticks(pool, load):
        for item in inputs.entitlements:
            output = decisions[item.entitlement].output
            baseline = pool.entitlements[item.entitlement].baseline.tokens_per_s
            unmet = item.pending.tokens_per_s > 0 and item.served_tokens_per_s < baseline

            assert DEBT_MIN <= output.debt_ppm <= DEBT_MAX
            assert unmet or output.debt_ppm <= max(0, before.get(item.entitlement, 0))
            assert output.weight_ppm > 0
            before[item.entitlement] = output.debt_ppm


@settings(max_examples=15)
@given(pool=pools(), load=loads)
def test_debt_fades_to_nothing_when_idle(pool: Pool, load: Load) -> None:
    """Within 20 half-lives: a debt of one baseline is then a millionth of it."""
    idle = (1, [0] * 5)

    decisions = [each for _, each in ticks(pool, [*load[:4], *[idle] * 200])][-1]

    assert all(abs(each.output.debt_ppm) <= 1 for each in decisions.values())


@given(pool=pools(), load=loads)
def test_each_state_has_its_reason(pool: Pool, load: Load) -> None:
    for inputs, decisions in ticks(pool, load):
        for uid, decision in decisions.items():
            spec, output = pool.entitlements[uid], decision.output
            match output.status:
                case EntitlementStatus.EXPIRED:
                    assert spec.expires_at == LONG_AGO
                    assert output.floor == output.grant == NOTHING
                case EntitlementStatus.PENDING:
                    assert inputs.replicas_ready == 0
                    assert output.grant == NOTHING
                case EntitlementStatus.DEGRADED:
                    assert spec.floor.covers(output.floor)
                    assert output.floor != spec.floor
                case EntitlementStatus.BOUND:
                    assert output.floor == spec.floor
            assert (decision.reason == "") == (output.status is EntitlementStatus.BOUND)


@given(pool=pools(), load=loads)
def test_contended_says_who_got_less_than_it_could_use(pool: Pool, load: Load) -> None:
    for inputs, decisions in ticks(pool, load):
        for item in inputs.entitlements:
            decision = decisions[item.entitlement]
            usable = item.demand.at_most(pool.entitlements[item.entitlement].ceiling)
            expired = decision.output.status is EntitlementStatus.EXPIRED

            assert decision.contended == (not expired and not decision.output.grant.covers(usable))
            assert decision.output.gap_ppm <= PPM
