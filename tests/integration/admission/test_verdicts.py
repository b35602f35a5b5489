"""What an admitter decides, over HTTP: demotion, eviction, shadow mode, impossible requests.

One pool of four slots: ``acme`` has a floor of two of them, ``crawler`` is preemptible.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import aiohttp
from msgspec.structs import replace

from admission.gateways.client import GatewayClient
from admission.gateways.reservation import ActiveReservation
from schemas.decisions import DecisionKind
from schemas.reservations import ReserveBody, SettlementResult
from schemas.specs import Amounts, EntitlementSpec, Leases, PoolRecord, PoolRef, Qos, ServiceClass
from schemas.units import NOTHING, Resources, TokenCounts
from tests.component.gateways.transports import MemoryTransport
from tests.integration.admission.http import post, ready
from tests.integration.admission.processes import admitter, environment
from tests.integration.admission.streams_side import (
    FLOOR,
    Given,
    StreamsSide,
    spec,
    streams_side,
)
from tests.integration.admission.waiting import START_S_MAX, eventually

HALF = Resources(FLOOR.tokens_per_s // 2, FLOOR.kv_bytes // 2, 2)
ASK = {"pool": "chat", "entitlement": "acme", "input_tokens": 100, "max_tokens": 50}


def scarce() -> PoolRecord:
    """Return the pool; reservations are renewed every second and have a second's grace."""
    record = spec()
    (acme,) = record.entitlements
    half = Amounts(tokens_per_second=Decimal(5_000), kv_cache_gib=Decimal(20), concurrency=2)
    crawler = EntitlementSpec(
        uid="crawler",
        tenant_id="crawler",
        pool_ref=PoolRef(name="chat"),
        qos=Qos(service_class=ServiceClass.PREEMPTIBLE),
    )
    leases = Leases(lease_ms=2_000, renew_seconds=1, evict_grace_seconds=1)
    return replace(
        record,
        pool=replace(record.pool, leases=leases),
        entitlements=(replace(acme, resources=half), crawler),
    )


@dataclass(frozen=True)
class Running:
    """A ready admitter, and who feeds it."""

    side: StreamsSide
    http: aiohttp.ClientSession
    url: str

    async def reserve(
        self, entitlement: str = "acme", **more: object
    ) -> tuple[int, dict[str, Any]]:
        """Reserve one request."""
        body = {**ASK, "entitlement": entitlement, **more}
        return await post(self.http, f"{self.url}/v1/reservations", body)

    async def decided(self, kind: DecisionKind) -> str:
        """Wait for a decision of a kind; return its reason."""

        def look() -> str | None:
            reasons = (each.reason for each in self.side.decisions if each.kind is kind)
            return next((reason or "-" for reason in reasons), None)

        return await eventually(look, within_s=START_S_MAX)


@asynccontextmanager
async def running(
    kafka: str, prefix: str, *, grant: Resources, common: Resources, **settings: str
) -> AsyncIterator[Running]:
    """Run an admitter; acme has a floor of two slots, ``grant`` of it granted."""
    async with streams_side(kafka, prefix) as side, aiohttp.ClientSession() as http:
        side.given = {
            "acme": Given(HALF, grant),
            "crawler": Given(service_class=ServiceClass.PREEMPTIBLE),
        }
        side.common = common
        await side.apply(scarce())
        with admitter(environment(kafka, prefix, **settings)) as process:
            url = await process.url()
            await ready(http, url)
            yield Running(side, http, url)


async def test_beyond_its_limit_a_caller_that_allows_it_is_served_as_spot(
    kafka_bootstrap: str, topic_prefix: str
) -> None:
    async with running(kafka_bootstrap, topic_prefix, grant=HALF, common=HALF) as here:
        for _ in range(HALF.slots):
            await eventually(lambda: _admitted(here), within_s=START_S_MAX)
        refused = await here.reserve()
        demoted = await here.reserve(allow_demotion=True)
        await here.decided(DecisionKind.DEMOTED)

    assert (refused[0], refused[1]["error"]["reason"]) == (429, "limit_reached")
    assert (demoted[0], demoted[1]["demoted"]) == (201, True)
    assert (demoted[1]["service_class"], demoted[1]["served_class"]) == ("guaranteed", "spot")


async def test_an_evicted_request_learns_it_from_its_renewal_stops_and_is_settled(
    kafka_bootstrap: str, topic_prefix: str
) -> None:
    produced = TokenCounts(input_tokens=100, output_tokens=7)
    transport = MemoryTransport()
    lent = Resources(FLOOR.tokens_per_s, FLOOR.kv_bytes, 1)
    async with (
        running(kafka_bootstrap, topic_prefix, grant=NOTHING, common=lent) as here,
        GatewayClient([here.url], transport, source="test") as client,
        asyncio.timeout(START_S_MAX),
    ):
        ask = ReserveBody(pool="chat", entitlement="crawler", input_tokens=100, max_tokens=50)
        async with client.reserve(ask) as victim:
            assert isinstance(victim, ActiveReservation)
            victim.began()
            victim.report(produced)
            owner = await here.reserve()
            await victim.evicted.wait()
            victim.outcome = "evicted"
        reason = await here.decided(DecisionKind.EVICTED)

    assert owner[0] == 201
    assert owner[1]["evicting"] == {"requests": 1, "slots": 1, "kv_bytes": 150 * 1_024}
    assert victim.reservation_id not in str(owner[1])
    assert (victim.evict_reason, reason) == ("called_back", "called_back")
    assert isinstance(victim.settlement, SettlementResult)
    assert (victim.settlement.first, victim.settlement.charged_tokens) == (True, 107)
    assert [(each.data.outcome, each.data.counts) for each in transport.events] == [
        ("evicted", produced)
    ]


async def test_a_switch_makes_an_admitter_decide_and_refuse_nothing(
    kafka_bootstrap: str, topic_prefix: str
) -> None:
    settings = {"TOKENPOOLS_ADMISSION_SHADOW": "true"}
    async with running(
        kafka_bootstrap, topic_prefix, grant=HALF, common=NOTHING, **settings
    ) as here:
        answers = [await here.reserve() for _ in range(HALF.slots + 1)]
        reason = await here.decided(DecisionKind.REFUSED)
        async with here.http.get(f"{here.url}/metrics") as metrics:
            text = await metrics.text()

    assert [status for status, _ in answers] == [201] * (HALF.slots + 1)
    assert answers[-1][1]["shadow_refusal"] == "limit_reached" == reason
    assert "tokenpools_admission_shadow_refused_requests_total{" in text


async def test_a_request_that_can_never_fit_is_told_so_at_once(
    kafka_bootstrap: str, topic_prefix: str
) -> None:
    async with running(kafka_bootstrap, topic_prefix, grant=HALF, common=HALF) as here:
        too_many = await here.reserve(n=HALF.slots + 1)
        too_long = await here.reserve(max_tokens=30_000_000)

    assert [status for status, _ in (too_many, too_long)] == [400, 400]
    assert too_many[1]["error"]["dimension"] == "concurrency"
    assert too_long[1]["error"]["dimension"] == "kv_cache"
    assert too_many[1]["error"]["retry_after_ms"] == 0


async def _admitted(here: Running) -> bool:
    """Whether it is admitted; a bucket that has just arrived admits at its rate."""
    status, _ = await here.reserve()
    return status == 201
