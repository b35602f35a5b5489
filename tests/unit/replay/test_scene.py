"""The default scene is worth watching: what it promises follows from its traffic alone.

No allocator runs here.  What each tenant wants is the number of requests that it would have in
the engine if there were always room (a slot keeps a request for its tokens ÷ the slot's rate).
"""

from pathlib import Path

import pytest

from console.poolsfile import read_pools
from console.replay.plan import max_tokens_for
from schemas.pools import Pool, compile_pool
from schemas.specs import ServiceClass
from schemas.units import US_PER_S
from simulation.arrivals import Arrival
from simulation.catalog import DEFAULT_SEED, SCENE
from simulation.engine import Finished, Job, SlotEngine, SlotEngineSpec
from simulation.percentiles import p99
from simulation.workloads import generate

SCENES = Path(__file__).parents[3] / "console" / "scenes"
SCARCE_S, SECOND_REPLICA_S = 6, 16
"""The scene's busy phase begins; by then the second replica should be there."""

DEMOTED = frozenset(read_pools(SCENES / "default.yaml").replay.clients.demotion)
Spans = dict[str, list[tuple[int, int]]]


@pytest.fixture(scope="module")
def pool() -> Pool:
    (record,) = read_pools(SCENES / "default.yaml").records
    return compile_pool(record)


@pytest.fixture(scope="module")
def arrivals() -> list[Arrival]:
    return list(generate(SCENE, seed=DEFAULT_SEED))


@pytest.fixture(scope="module")
def wanted(pool: Pool, arrivals: list[Arrival]) -> Spans:
    """When each request would be in the engine, by entitlement."""
    spec = SlotEngineSpec.of(pool.per_replica)
    spans: Spans = {uid: [] for uid in pool.entitlements}
    for number, arrival in enumerate(arrivals):
        job = Job(id=number, input_tokens=arrival.input_tokens, output_tokens=arrival.output_tokens)
        spans[arrival.tenant].append((arrival.offset_us, arrival.offset_us + spec.service_us(job)))
    return spans


def slots_at(spans: list[tuple[int, int]], at_us: int) -> int:
    return sum(start <= at_us < end for start, end in spans)


def mean_slots(spans: list[tuple[int, int]], *, start_s: int, end_s: int) -> float:
    seconds = range(start_s, end_s)
    return sum(slots_at(spans, second * US_PER_S) for second in seconds) / len(seconds)


def test_the_guaranteed_tenants_stay_inside_their_floors_unless_they_may_be_demoted(
    pool: Pool, wanted: Spans
) -> None:
    for uid, entitlement in pool.entitlements.items():
        if entitlement.service_class is ServiceClass.GUARANTEED:
            peak = max(slots_at(wanted[uid], start) for start, _ in wanted[uid])
            assert (peak <= entitlement.floor.slots) == (uid not in DEMOTED)


def test_a_preemptible_request_outlives_a_renewal_and_the_grace(pool: Pool, wanted: Spans) -> None:
    told_us = (pool.leases.renew_seconds + pool.leases.evict_grace_seconds) * US_PER_S

    assert min(end - start for start, end in wanted["crawler"]) > told_us


def test_the_guaranteed_tenants_worst_case_memory_fits_their_floors(
    pool: Pool, arrivals: list[Arrival]
) -> None:
    for uid, entitlement in pool.entitlements.items():
        if entitlement.service_class is ServiceClass.GUARANTEED and uid not in DEMOTED:
            own = sorted(
                (each.input_tokens + max_tokens_for(each.output_tokens)) * pool.kv_bytes_per_token
                for each in arrivals
                if each.tenant == uid
            )
            assert sum(own[-entitlement.floor.slots :]) <= entitlement.floor.kv_bytes


def test_one_replica_cannot_give_the_elastic_tenants_their_baselines(
    pool: Pool, wanted: Spans
) -> None:
    busy = {"start_s": SCARCE_S + 2, "end_s": SECOND_REPLICA_S}
    reserved = mean_slots(wanted["assistant"], **busy) + mean_slots(wanted["search"], **busy)
    elastic = sum(
        min(mean_slots(wanted[uid], **busy), pool.entitlements[uid].baseline.slots)
        for uid in ("copilot", "reports")
    )

    assert reserved + elastic > 1.15 * pool.per_replica.slots
    assert reserved + elastic < 2 * pool.per_replica.slots


def test_two_replicas_have_room_to_pay_debts_back_and_for_spot(pool: Pool, wanted: Spans) -> None:
    later = {"start_s": SECOND_REPLICA_S + 6, "end_s": SCENE.duration_s}

    everybody = sum(
        mean_slots(spans, **later)
        for uid, spans in wanted.items()
        if pool.entitlements[uid].service_class is not ServiceClass.PREEMPTIBLE
    )

    assert everybody < 1.5 * pool.per_replica.slots


def test_without_admission_control_everybody_waits_for_seconds(
    pool: Pool, arrivals: list[Arrival]
) -> None:
    engine = SlotEngine(SlotEngineSpec.of(pool.per_replica), replicas=1)
    for number, arrival in enumerate(arrivals):
        job = Job(id=number, input_tokens=arrival.input_tokens, output_tokens=arrival.output_tokens)
        if arrival.offset_us >= SECOND_REPLICA_S * US_PER_S:
            engine.resize(2, now_us=arrival.offset_us)
        engine.submit(job, now_us=arrival.offset_us)
    ttft_us = [
        event.timing.first_token_us - event.timing.arrived_us
        for event in engine.advance(now_us=1_000 * US_PER_S)
        if isinstance(event, Finished) and arrivals[event.job.id].tenant == "assistant"
    ]

    waited_us = p99(ttft_us)
    assert waited_us is not None
    assert waited_us > 2 * US_PER_S


def test_the_scene_ends_within_a_minute(pool: Pool, wanted: Spans) -> None:
    last_end_us = max(end for spans in wanted.values() for _, end in spans)

    assert last_end_us < 55 * US_PER_S
