"""A replay in real time: against the engine alone, and against admitters with real HTTP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from admission.gateways.client import GatewayClient
from console.replay.clock import steady_wall_clock
from console.replay.plan import ReplayPlan, ReplicaChange
from console.replay.record import Recorder, read_totals
from console.replay.replayer import Arrivals, DeliveryRecord, background, replay
from console.replay.replicas import PoolReplicas
from console.replay.requests import Desk
from console.replay.stats import ReplaySnapshot, ReplayStats
from schemas.errors import SpecError
from schemas.scaling import ScaleDecision, ScaleDirection
from schemas.specs import ServiceClass
from tests.component.gateways.fake_admitter import FakeAdmitter
from tests.component.gateways.samples import FAST, refusal
from tests.component.gateways.transports import MemoryTransport
from tests.component.replay.worlds import arrivals, plan_of, requests_of, the_pool

DEADLINE_S = 20


async def straight(plan: ReplayPlan, stop: asyncio.Event | None = None) -> ReplaySnapshot:
    """Replay without admission control."""
    stats = ReplayStats(run_id=plan.run_id)
    async with asyncio.timeout(DEADLINE_S):
        result = await replay(plan, kafka=None, urls=(), stats=stats, stop=stop or asyncio.Event())
    return result.snapshot


@asynccontextmanager
async def through(
    admitter: FakeAdmitter, plan: ReplayPlan, transport: MemoryTransport
) -> AsyncIterator[ReplayStats]:
    """Replay the plan through one admitter and a transport in memory; yield the counts."""
    stats, now_us = ReplayStats(run_id=plan.run_id), steady_wall_clock()
    stats.begin(plan.pools)
    replicas = [PoolReplicas(pool, plan, now_us=now_us) for pool in plan.pools]
    async with asyncio.timeout(DEADLINE_S):
        with Recorder(plan.record_path) as recorder:
            async with GatewayClient(
                [admitter.url],
                transport,
                source="replay/run",
                limits=FAST,
                listener=DeliveryRecord(recorder, stats),
                now_us=now_us,
            ) as client:
                desk = Desk(
                    plan=plan,
                    client=client,
                    servers={each.pool.name: each.server for each in replicas},
                    recorder=recorder,
                    stats=stats,
                    now_us=now_us,
                )
                sending = Arrivals(plan, desk, stats, now_us=now_us)
                async with background(plan, replicas, None, stats):
                    await sending.run(asyncio.Event(), started_us=now_us())
    yield stats


async def test_without_admission_everything_is_served_and_nothing_emitted(tmp_path: Path) -> None:
    plan = plan_of(arrivals("a", "b", "a", "b", "a", "b"), tmp_path, admission=False)

    snapshot = await straight(plan)

    assert [line.outcome for line in requests_of(plan)] == ["ok"] * 6
    assert [line.output_tokens for line in requests_of(plan)] == [50] * 6
    assert (snapshot.sent, snapshot.in_flight, snapshot.events_emitted) == (6, 0, 0)
    assert {each.entitlement: each.completed for each in snapshot.entitlements} == {"a": 3, "b": 3}
    assert snapshot.ttft_p99_us[ServiceClass.GUARANTEED] is not None


async def test_arrivals_do_not_wait_for_answers(tmp_path: Path) -> None:
    """100 requests of 60 ms in 4 slots take 1.5 s; they all arrive in a fraction of that."""
    plan = plan_of(arrivals(*"a" * 100, tokens=150), tmp_path, admission=False)

    await straight(plan)

    lines = requests_of(plan)
    assert lines[-1].arrived_us - lines[0].arrived_us < 1_000_000
    assert lines[-1].first_token_us is not None
    assert lines[-1].first_token_us - lines[-1].arrived_us > 200_000


async def test_what_arrives_beyond_the_bound_is_not_sent_and_counted(tmp_path: Path) -> None:
    plan = plan_of(arrivals(*"aaaaa", gap_ms=0), tmp_path, admission=False, in_flight_max=2)

    snapshot = await straight(plan)

    assert [line.outcome for line in requests_of(plan)] == ["ok", "ok", *["not_sent"] * 3]
    assert (snapshot.sent, snapshot.not_sent) == (5, 3)


async def test_a_tenant_without_an_entitlement_is_left_out_and_counted(tmp_path: Path) -> None:
    plan = plan_of(arrivals("a", "nobody"), tmp_path, admission=False)

    snapshot = await straight(plan)

    assert (snapshot.sent, snapshot.unmapped, len(requests_of(plan))) == (2, 1, 1)


async def test_a_stop_ends_requests_that_run(tmp_path: Path) -> None:
    stop = asyncio.Event()
    plan = plan_of(arrivals("a", "a", gap_ms=50, tokens=1_000_000), tmp_path, admission=False)
    asyncio.get_running_loop().call_later(0.02, stop.set)

    snapshot = await straight(plan, stop)

    assert [line.outcome for line in requests_of(plan)] == ["aborted"]
    assert snapshot.in_flight == 0


async def test_a_cancelled_replay_ends_requests_that_run(tmp_path: Path) -> None:
    plan = plan_of(arrivals("a", "a", gap_ms=50, tokens=1_000_000), tmp_path, admission=False)
    replaying = asyncio.create_task(straight(plan))
    asyncio.get_running_loop().call_later(0.02, replaying.cancel)

    await asyncio.wait([replaying])

    assert replaying.cancelled()
    assert [line.outcome for line in requests_of(plan)] == ["aborted"]


async def test_the_end_of_a_replay_waits_only_so_long(tmp_path: Path) -> None:
    requests = arrivals("a", tokens=1_000_000)
    plan = plan_of(requests, tmp_path, admission=False, drain_ms_max=50)

    await straight(plan)

    assert [line.outcome for line in requests_of(plan)] == ["aborted"]


async def test_a_schedule_of_replicas_is_followed(tmp_path: Path) -> None:
    plan = replace(
        plan_of(arrivals("a", "a", gap_ms=60), tmp_path, admission=False),
        replica_schedule=(ReplicaChange(offset_us=10_000, pool="chat", ready=2),),
    )

    snapshot = await straight(plan)

    assert [pool.ready for pool in snapshot.pools] == [2]


async def test_speed_multiplies_the_load_and_capacity_only_when_asked(tmp_path: Path) -> None:
    plan = replace(plan_of([], tmp_path, admission=False), speed_ppm=2_500_000)

    assert plan.wall_offset_us(1_000_000) == 400_000
    assert plan.per_replica(the_pool()) == the_pool().per_replica
    scaled = replace(plan, scale_capacity=True).per_replica(the_pool())
    assert (scaled.tokens_per_s, scaled.slots) == (50_000, 10)


async def test_the_record_sums_what_was_emitted(tmp_path: Path) -> None:
    transport = MemoryTransport()
    plan = plan_of(arrivals("a", "b", "a", "b"), tmp_path, admission=True)
    async with FakeAdmitter() as admitter, through(admitter, plan, transport) as stats:
        snapshot = stats.snapshot()

    totals = read_totals([plan.record_path])
    stored = sum(event.data.counts.total for event in transport.events)
    assert (totals.tokens, snapshot.tokens_emitted) == (stored, stored)
    assert stored == 4 * 100
    assert totals.by_pool() == {"chat": 400}
    assert sum(body.output_tokens for _, body in admitter.settled) == 200
    assert snapshot.settlements_failed == 0


async def test_a_refused_request_comes_back_with_its_ticket(tmp_path: Path) -> None:
    plan = plan_of(arrivals("a"), tmp_path, admission=True)
    async with FakeAdmitter() as admitter:
        admitter.refusals += [(429, refusal("contended", retry_after_ms=5))] * 2
        async with through(admitter, plan, MemoryTransport()) as stats:
            (of_a, _) = stats.snapshot().entitlements

    assert [body.ticket for body, _ in admitter.asked] == ["", "ticket", "ticket"]
    assert {key for _, key in admitter.asked} == {"run/1"}
    assert (of_a.refused, of_a.refused_requests, of_a.lost) == ({"contended": 2}, 1, {})
    assert [(line.outcome, line.attempts) for line in requests_of(plan)] == [("ok", 3)]


@pytest.mark.parametrize(
    ("reason", "retry_after_ms", "attempts"),
    [
        pytest.param("contended", 1, 3, id="after so many attempts"),
        pytest.param("contended", 60_000, 1, id="when told to wait too long"),
        pytest.param("impossible", 0, 1, id="when it can never fit"),
    ],
)
async def test_a_client_gives_up(
    tmp_path: Path, reason: str, retry_after_ms: int, attempts: int
) -> None:
    plan = plan_of(arrivals("b"), tmp_path, admission=True)
    async with FakeAdmitter() as admitter:
        admitter.refusals += [(429, refusal(reason, retry_after_ms=retry_after_ms))] * 9
        async with through(admitter, plan, MemoryTransport()) as stats:
            (_, of_b) = stats.snapshot().entitlements

    assert len(admitter.asked) == attempts
    assert of_b.lost == {reason: 1}
    assert [line.outcome for line in requests_of(plan)] == [f"lost:{reason}"]


async def test_an_evicted_request_stops_and_is_charged_what_it_produced(tmp_path: Path) -> None:
    transport = MemoryTransport()
    plan = plan_of(arrivals("b", tokens=100_000), tmp_path, admission=True)
    async with FakeAdmitter(renew_in_ms=20) as admitter:
        admitter.evicts = True
        async with through(admitter, plan, transport):
            pass

    (line,) = requests_of(plan)
    (event,) = transport.events
    assert (line.outcome, event.data.outcome) == ("evicted", "evicted")
    assert event.data.output_tokens == line.output_tokens < 100_000


async def test_a_decision_to_scale_is_obeyed_after_the_start_delay(tmp_path: Path) -> None:
    at_us = 1_000_000
    now = [at_us]
    plan = plan_of([], tmp_path, admission=True)
    replicas = PoolReplicas(the_pool(), plan, now_us=lambda: now[0])

    replicas.decided(decision(2, at_us=at_us - 1))
    ignored = replicas.capacity()
    replicas.decided(decision(9, at_us=at_us))
    starting = replicas.capacity()
    now[0] += 10_000
    replicas.turn()
    ready = replicas.capacity()

    assert (ignored.ready, ignored.starting) == (1, 0)
    assert (starting.ready, starting.starting) == (1, 1)
    assert (ready.ready, ready.starting) == (2, 0)
    assert [change.ready for change in replicas.changes] == [1, 2]


def decision(desired: int, *, at_us: int) -> ScaleDecision:
    return ScaleDecision(
        id="d",
        pool="chat",
        at_us=at_us,
        direction=ScaleDirection.UP,
        current=1,
        ready=1,
        starting=0,
        desired=desired,
        raw_desired=desired,
        reason="test",
    )


async def test_an_entitlement_in_two_pools_cannot_be_replayed(tmp_path: Path) -> None:
    plan = replace(plan_of([], tmp_path, admission=False), pools=(the_pool(), the_pool()))

    with pytest.raises(SpecError, match="'a' is in pools chat and chat"):
        await straight(plan)
