"""The gateway client against admitters that speak real HTTP."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import msgspec
import pytest

from admission.gateways.answers import Gone, Refused, RejectedRequestError
from admission.gateways.client import GatewayClient
from admission.gateways.limits import GatewayLimits
from admission.gateways.reservation import ActiveReservation, EvictedError
from schemas.errors import UnavailableError
from schemas.reservations import ReserveBody
from schemas.units import TokenCounts
from tests.component.gateways.fake_admitter import FakeAdmitter
from tests.component.gateways.samples import BODY, FAST, refusal
from tests.component.gateways.transports import MemoryTransport

DEADLINE_S = 10
COUNTS = TokenCounts(input_tokens=10, output_tokens=20)
BROKEN = KeyError("the engine broke")
RENEWING = {"renew_in_ms": 5}


@asynccontextmanager
async def client_of(
    urls: Sequence[str], transport: MemoryTransport, *, limits: GatewayLimits = FAST
) -> AsyncIterator[GatewayClient]:
    async with (
        asyncio.timeout(DEADLINE_S),
        GatewayClient(urls, transport, source="gw", limits=limits, api_key="k") as client,
    ):
        yield client


async def run(client: GatewayClient, *, body: ReserveBody = BODY) -> ActiveReservation:
    """One request that is admitted and uses ``COUNTS``."""
    async with client.reserve(body) as answer:
        assert isinstance(answer, ActiveReservation)
        answer.began()
        answer.report(COUNTS)
    return answer


async def never_stop(client: GatewayClient) -> None:
    """One request whose body used ``COUNTS`` and heeds nothing."""
    async with client.reserve(BODY) as answer:
        assert isinstance(answer, ActiveReservation)
        answer.began()
        answer.report(COUNTS)
        await asyncio.Event().wait()


async def break_while_running(client: GatewayClient, error: Exception = BROKEN) -> None:
    """One request whose body fails after it used ``COUNTS``."""
    async with client.reserve(BODY) as answer:
        assert isinstance(answer, ActiveReservation)
        answer.began()
        answer.report(COUNTS)
        raise error


async def refused(client: GatewayClient) -> Refused:
    async with client.reserve(BODY) as answer:
        assert isinstance(answer, Refused)
    return answer


async def dead_url() -> str:
    """The address of an admitter that is gone."""
    async with FakeAdmitter() as admitter:
        return admitter.url


async def test_a_request_is_settled_and_metered_with_what_it_used() -> None:
    transport = MemoryTransport()
    async with FakeAdmitter() as admitter, client_of([admitter.url], transport) as client:
        active = await run(client)

        assert active.settlement is not None
        assert [settled for _, settled in admitter.settled] == [
            msgspec.structs.replace(admitter.settled[0][1], input_tokens=10, output_tokens=20)
        ]
    (event,) = transport.events
    assert event.data.counts == COUNTS
    assert (event.data.final, event.data.outcome, event.sequence) == (True, "ok", 1)
    assert event.data.reservation_id == active.reservation_id
    assert (event.data.tenant, event.data.pool) == ("acme", "chat")
    assert event.source.startswith("gw/")


async def test_the_request_id_and_the_api_key_travel_in_headers() -> None:
    async with FakeAdmitter() as admitter, client_of([admitter.url], MemoryTransport()) as client:
        await run(client)

        assert admitter.asked == [(BODY, "q1")]
        assert admitter.authorization == ["Bearer k"]


async def test_two_clients_never_share_a_source() -> None:
    one, other = (GatewayClient(["http://x"], MemoryTransport(), source="gw") for _ in range(2))

    assert one.source != other.source


async def test_an_aborted_body_settles_what_was_produced() -> None:
    transport = MemoryTransport()
    async with FakeAdmitter() as admitter, client_of([admitter.url], transport) as client:
        with pytest.raises(KeyError):
            await break_while_running(client)

        assert admitter.settled[0][1].outcome == "aborted"
        assert admitter.settled[0][1].output_tokens == 20
    assert [event.data.outcome for event in transport.events] == ["aborted"]


async def test_a_cancelled_request_is_settled_and_metered() -> None:
    transport = MemoryTransport()
    async with FakeAdmitter() as admitter, client_of([admitter.url], transport) as client:
        running = asyncio.Event()

        async def forever() -> None:
            async with client.reserve(BODY) as answer:
                assert isinstance(answer, ActiveReservation)
                answer.observe(lambda: COUNTS)
                answer.began()
                running.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(forever())
        await running.wait()
        task.cancel()
        await asyncio.wait([task])

        assert [body.output_tokens for _, body in admitter.settled] == [20]
    assert [event.data.counts for event in transport.events] == [COUNTS]


async def test_a_request_that_never_began_is_released_and_not_metered() -> None:
    transport = MemoryTransport()
    async with FakeAdmitter() as admitter, client_of([admitter.url], transport) as client:
        async with client.reserve(BODY):
            pass

        assert len(admitter.released) == 1
        assert admitter.settled == []
    assert transport.events == []


async def test_a_refusal_is_a_value_with_its_reason_and_ticket() -> None:
    async with FakeAdmitter() as admitter, client_of([admitter.url], MemoryTransport()) as client:
        admitter.refusals.append((429, refusal("contended", retry_after_ms=1_200)))

        answer = await refused(client)

        assert (answer.reason, answer.retry_after_ms) == ("contended", 1_200)
        assert (answer.ticket, answer.status) == ("ticket", 429)


async def test_an_impossible_request_is_a_refusal_with_status_400() -> None:
    async with FakeAdmitter() as admitter, client_of([admitter.url], MemoryTransport()) as client:
        admitter.refusals.append((400, refusal("impossible")))

        assert (await refused(client)).status == 400


async def test_a_wrong_request_is_the_caller_s_error() -> None:
    async with FakeAdmitter() as admitter, client_of([admitter.url], MemoryTransport()) as client:
        with pytest.raises(RejectedRequestError, match="422: pool: is missing"):
            async with client.reserve(ReserveBody(input_tokens=1)):
                pass


async def test_an_exhausted_share_is_retried_once_at_the_home_with_the_ticket() -> None:
    async with (
        FakeAdmitter() as other,
        FakeAdmitter() as home,
        client_of([other.url], MemoryTransport()) as client,
    ):
        other.refusals.append((429, refusal("share_exhausted", home_url=home.url)))

        active = await run(client)

        assert active.admitter_url == home.url
        assert [body.ticket for body, _ in home.asked] == ["ticket"]
        assert len(home.settled) == 1


async def test_a_home_that_refuses_is_asked_only_once() -> None:
    async with (
        FakeAdmitter() as other,
        FakeAdmitter() as home,
        client_of([other.url], MemoryTransport()) as client,
    ):
        other.refusals.append((429, refusal("share_exhausted", home_url=home.url)))
        home.refusals.append((429, refusal("share_exhausted", home_url=other.url)))

        answer = await refused(client)

        assert answer.admitter_url == home.url
        assert (len(other.asked), len(home.asked)) == (1, 1)


async def test_a_home_without_state_leaves_the_refusal_as_it_is() -> None:
    async with (
        FakeAdmitter() as other,
        FakeAdmitter() as home,
        client_of([other.url], MemoryTransport()) as client,
    ):
        exhausted = refusal("share_exhausted", home_url=home.url, retry_after_ms=700)
        other.refusals.append((429, exhausted))
        home.refusals.append((503, refusal("no_state")))

        answer = await refused(client)

        assert (answer.reason, answer.retry_after_ms) == ("share_exhausted", 700)


async def test_a_settlement_that_reached_nobody_is_made_when_somebody_is_there() -> None:
    transport = MemoryTransport()
    async with FakeAdmitter() as admitter, client_of([admitter.url], transport) as client:
        async with client.reserve(BODY) as answer:
            assert isinstance(answer, ActiveReservation)
            answer.report(COUNTS)
            admitter.broken = True
            recovered = asyncio.create_task(recover_when_metered(admitter, transport))
        await recovered

        assert [settled for settled, _ in admitter.settled] == [answer.reservation_id]
        assert answer.settlement is not None


async def recover_when_metered(admitter: FakeAdmitter, transport: MemoryTransport) -> None:
    """Answer again as soon as the usage was emitted, which does not wait for the settlement."""
    await transport.until_stored(1)
    admitter.broken = False


async def test_an_admitter_that_is_gone_is_passed_over() -> None:
    gone = await dead_url()
    async with FakeAdmitter() as admitter, client_of([gone, admitter.url], MemoryTransport()) as c:
        for _ in range(3):
            assert (await run(c)).admitter_url == admitter.url


async def test_one_that_answers_500_is_passed_over() -> None:
    async with (
        FakeAdmitter() as broken,
        FakeAdmitter() as admitter,
        client_of([broken.url, admitter.url], MemoryTransport()) as client,
    ):
        broken.broken = True

        for _ in range(3):
            assert (await run(client)).admitter_url == admitter.url


async def test_without_any_admitter_the_error_says_so() -> None:
    async with client_of([await dead_url()], MemoryTransport()) as client:
        with pytest.raises(UnavailableError, match="URLs"):
            async with client.reserve(BODY):
                pass


async def test_an_admitter_without_state_is_asked_again() -> None:
    async with FakeAdmitter() as admitter, client_of([admitter.url], MemoryTransport()) as client:
        admitter.refusals += [(503, refusal("no_state", retry_after_ms=60_000))] * 2

        await run(client)

        assert len(admitter.asked) == 3


async def test_state_that_never_comes_is_a_refusal() -> None:
    async with FakeAdmitter() as admitter, client_of([admitter.url], MemoryTransport()) as client:
        admitter.refusals += [(503, refusal("no_state", retry_after_ms=1))] * 99

        answer = await refused(client)

        assert (answer.reason, answer.status) == ("no_state", 503)
        assert len(admitter.asked) == FAST.rounds_max


async def test_a_reservation_is_renewed_with_what_was_produced() -> None:
    async with (
        FakeAdmitter(**RENEWING) as admitter,
        client_of([admitter.url], MemoryTransport()) as client,
        client.reserve(BODY) as answer,
    ):
        assert isinstance(answer, ActiveReservation)
        answer.began()
        answer.report(COUNTS)
        await admitter.until_renewed()

        assert admitter.renewed[0] == (answer.reservation_id, admitter.renewed[0][1])
        assert admitter.renewed[0][1].output_tokens == 20


async def test_an_eviction_reaches_the_body() -> None:
    async with FakeAdmitter(**RENEWING) as admitter:
        admitter.evicts = True
        async with client_of([admitter.url], MemoryTransport()) as client:
            async with client.reserve(BODY) as answer:
                assert isinstance(answer, ActiveReservation)
                answer.began()
                await answer.evicted.wait()
                answer.outcome = "evicted"

                assert answer.evict_in_ms == 500
            assert admitter.settled[0][1].outcome == "evicted"


async def test_a_body_that_does_not_stop_is_stopped_and_settled_with_what_it_produced() -> None:
    transport = MemoryTransport()
    async with FakeAdmitter(**RENEWING) as admitter, client_of([admitter.url], transport) as client:
        admitter.evicts, admitter.evict_in_ms = True, 20
        with pytest.raises(EvictedError):
            await never_stop(client)

        assert [(body.outcome, body.output_tokens) for _, body in admitter.settled] == [
            ("evicted", 20)
        ]
    assert [(event.data.outcome, event.data.counts) for event in transport.events] == [
        ("evicted", COUNTS)
    ]


async def test_a_bodys_own_timeout_is_no_eviction() -> None:
    async with FakeAdmitter() as admitter, client_of([admitter.url], MemoryTransport()) as client:
        with pytest.raises(TimeoutError):
            await break_while_running(client, TimeoutError())

        assert admitter.settled[0][1].outcome == "aborted"


async def test_a_settlement_that_may_have_arrived_says_so_when_it_is_repeated() -> None:
    async with (
        FakeAdmitter() as owner,
        FakeAdmitter() as home,
        client_of([owner.url, home.url], MemoryTransport()) as client,
    ):
        home.refusals += [(503, refusal("no_state"))] * 9
        owner.hangs_up = True
        await run(client)

        assert [body.repeated for _, body in owner.settled] == [False]
        assert [body.repeated for _, body in home.settled] == [True]


async def test_a_settlement_that_cannot_have_arrived_is_the_first() -> None:
    async with (
        FakeAdmitter() as owner,
        FakeAdmitter() as home,
        client_of([owner.url, home.url], MemoryTransport()) as client,
    ):
        home.refusals += [(503, refusal("no_state"))] * 9
        async with client.reserve(BODY) as answer:
            assert isinstance(answer, ActiveReservation)
            answer.began()
            answer.report(COUNTS)
            await owner.die()

        assert [body.repeated for _, body in home.settled] == [False]


async def test_when_the_owner_dies_the_home_adopts_and_is_settled_with() -> None:
    transport = MemoryTransport()
    async with (
        FakeAdmitter(**RENEWING) as owner,
        FakeAdmitter(**RENEWING) as other,
        FakeAdmitter(**RENEWING) as home,
        client_of([owner.url, other.url], transport) as client,
    ):
        other.refusals += [(503, refusal("no_state"))] * 99
        other.owner_url = home.url
        home.adopts_as = "v1.adopted.sig"
        async with client.reserve(BODY) as answer:
            assert isinstance(answer, ActiveReservation)
            assert answer.admitter_url == owner.url
            first_id = answer.reservation_id
            answer.began()
            await owner.die()
            await home.until_renewed(times=2)

        assert home.renewed[0][0] == first_id
        assert answer.reservation_id == "v1.adopted.sig"
        assert [settled for settled, _ in home.settled] == ["v1.adopted.sig"]
    assert [event.data.reservation_id for event in transport.events] == [first_id]


async def test_a_reservation_that_is_gone_is_lost_and_still_metered() -> None:
    transport = MemoryTransport()
    async with FakeAdmitter(**RENEWING) as admitter, client_of([admitter.url], transport) as client:
        admitter.gone = True
        async with client.reserve(BODY) as answer:
            assert isinstance(answer, ActiveReservation)
            answer.began()
            answer.report(COUNTS)
            await answer.lost.wait()
    assert [event.data.counts for event in transport.events] == [COUNTS]


async def test_usage_is_emitted_also_when_the_settlement_reaches_nobody() -> None:
    transport = MemoryTransport()
    async with FakeAdmitter() as admitter, client_of([admitter.url], transport) as client:
        async with client.reserve(BODY) as answer:
            assert isinstance(answer, ActiveReservation)
            answer.began()
            answer.report(COUNTS)
            await admitter.die()

        assert answer.settlement is None
        assert not isinstance(answer.settlement, Gone)
    assert [event.data.counts for event in transport.events] == [COUNTS]


async def test_a_settlement_is_made_where_the_owner_is() -> None:
    async with (
        FakeAdmitter() as first,
        FakeAdmitter() as owner,
        client_of([first.url], MemoryTransport()) as client,
    ):
        first.owner_url = owner.url

        active = await run(client)

        assert [settled for settled, _ in owner.settled] == [active.reservation_id]


async def test_two_admitters_that_point_at_each_other_end_the_search() -> None:
    async with (
        FakeAdmitter() as one,
        FakeAdmitter() as other,
        client_of([one.url, other.url], MemoryTransport()) as client,
    ):
        one.owner_url, other.owner_url = other.url, one.url

        active = await run(client)

        assert active.settlement is None


async def test_a_long_generation_emits_increments_that_add_up() -> None:
    transport = MemoryTransport()
    limits = replace(FAST, partial_ms=2)
    async with FakeAdmitter() as admitter, client_of([admitter.url], transport, limits=limits) as c:
        async with c.reserve(BODY) as answer:
            assert isinstance(answer, ActiveReservation)
            answer.began()
            for output_tokens in (5, 9):
                answer.report(TokenCounts(input_tokens=10, output_tokens=output_tokens))
                await transport.until_stored(len(transport.records) + 1)
            answer.report(COUNTS)

        assert len(admitter.settled) == 1
    events = transport.events
    assert [event.data.output_tokens for event in events] == [5, 4, 11]
    assert [event.data.input_tokens for event in events] == [10, 0, 0]
    assert [event.data.final for event in events] == [False, False, True]
    assert [event.data.outcome for event in events] == ["running", "running", "ok"]
    assert events[0].data.end_us == events[1].data.start_us
    assert len({event.id for event in events}) == 3
