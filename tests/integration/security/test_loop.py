"""The whole loop over TLS with SCRAM: one request through every client, and no secret is seen."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import pytest

from admission.auth import digest_of, new_key
from admission.gateways.client import GatewayClient
from admission.gateways.kafka import KafkaTransport
from admission.gateways.limits import GatewayLimits
from admission.gateways.reservation import ActiveReservation
from console.environment import read_text
from console.publish import publish_pools
from deploy.local.ports import free_ports
from schemas.connections import KafkaOptions, clickhouse_options
from schemas.reservations import ReserveBody
from schemas.scaling import ScaleDecision
from schemas.specs import (
    Amounts,
    EntitlementSpec,
    PoolRecord,
    PoolRef,
    PoolSpec,
    Qos,
    Replicas,
    ServiceClass,
)
from schemas.topics import SCALE_DECISIONS
from schemas.units import TokenCounts
from schemas.wire import decode
from streams.changelog import read_totals
from streams.history.queries import accepted_totals
from streams.kafka import client_kwargs
from streams.topic_logs import Follower
from tests.integration.admission.waiting import eventually
from tests.integration.security.logins import Login
from tests.integration.security.processes import (
    Running,
    base_environment,
    command_lines,
    running,
    tokenpools,
)

READY_S_MAX: Final = 60.0
"""Until an admitter, newly started, has a state: streams has started and ticked by then."""
RESERVED_S_MAX: Final = 20.0
"""Until a request is admitted."""
COUNTED_S_MAX: Final = 30.0
"""Until the ledger, and then history, have counted an event."""
SCALED_S_MAX: Final = 30.0
"""Until the autoscaler has decided something about the pool."""
USED: Final = TokenCounts(input_tokens=30, output_tokens=12)
PROCESSES: Final = ("streams", "history", "autoscaler", "admission")
"""In the order of their start."""


@dataclass(frozen=True)
class Loop:
    """A loop that runs, and everything that must not be seen of it."""

    options: KafkaOptions
    environ: Mapping[str, str]
    url: str
    api_key: str
    secrets: tuple[str, ...]
    processes: Mapping[str, Running]

    def check(self) -> None:
        """Fail at once, with its log, when a process has ended."""
        for name, process in self.processes.items():
            assert not process.ended(), f"{name} ended:\n{process.said()}"


def pool(api_key: str) -> PoolRecord:
    """Return a pool whose one entitlement is asked for with this key."""
    return PoolRecord(
        pool=PoolSpec(
            name="chat",
            model="model",
            replicas=Replicas(min=1, max=2),
            per_replica=Amounts(
                tokens_per_second=Decimal(10_000), kv_cache_gib=Decimal(8), concurrency=16
            ),
            kv_bytes_per_token=1_000,
        ),
        entitlements=(
            EntitlementSpec(
                uid="assistant",
                tenant_id="acme",
                pool_ref=PoolRef(name="chat"),
                qos=Qos(service_class=ServiceClass.GUARANTEED),
                resources=Amounts(
                    tokens_per_second=Decimal(5_000), kv_cache_gib=Decimal(4), concurrency=8
                ),
                keys=(digest_of(api_key),),
            ),
        ),
    )


@pytest.fixture
async def loop(
    login: Callable[[str], Login], clickhouse_database: str, tmp_path: Path
) -> AsyncIterator[Loop]:
    """Topics, tables and a spec; then every process of the loop, each with all of the settings."""
    known = login("SCRAM")
    server = urlsplit(clickhouse_database)
    password = unquote(server.password or "")
    reservation_key, api_key = secrets.token_hex(32), new_key()
    (port,) = free_ports(1)
    environ = {
        **base_environment(os.environ),
        **known.environ,
        "CLICKHOUSE_DSN": f"clickhouse://{server.hostname}:{server.port}{server.path}",
        "CLICKHOUSE_USER": server.username or "default",
        "CLICKHOUSE_PASSWORD_FILE": kept(tmp_path / "clickhouse.password", password),
        "TOKENPOOLS_RESERVATION_KEY_FILE": kept(tmp_path / "reservation.key", reservation_key),
        "TOKENPOOLS_ADMISSION_PORT": str(port),
        "TOKENPOOLS_AUTOSCALER_INTERVAL_MS": "500",
    }
    prepared = await asyncio.gather(
        asyncio.to_thread(tokenpools, "topics", environ=environ),
        asyncio.to_thread(tokenpools, "migrate", environ=environ),
    )
    assert [done.stdout for done in prepared if done.returncode != 0] == []
    options = known.options
    await publish_pools(
        [pool(api_key)],
        options,
        client=client_kwargs(options),
        now_us=time.time_ns() // 1_000,
    )
    with ExitStack() as stack:
        processes = {
            name: stack.enter_context(running(name, environ=environ, folder=tmp_path))
            for name in PROCESSES
        }
        yield Loop(
            options=options,
            environ=environ,
            url=f"http://127.0.0.1:{port}",
            api_key=api_key,
            secrets=(known.secret, password, reservation_key, api_key),
            processes=processes,
        )


def kept(path: Path, secret: str) -> str:
    path.touch(mode=0o600)
    path.write_text(secret)
    return str(path)


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_a_request_goes_through_every_client_and_no_secret_is_seen(loop: Loop) -> None:
    await admitter_is_ready(loop)
    await use_once(loop)
    await ledger_has(loop, USED)
    await history_has(loop, USED)
    await autoscaler_decided(loop)

    seen = {name: process.said() for name, process in loop.processes.items()}
    seen["ps"] = command_lines()
    usage = await asyncio.to_thread(tokenpools, "usage", environ=loop.environ)
    seen["usage"] = usage.stdout

    assert "-m console streams" in seen["ps"]
    assert usage.returncode == 0, usage.stdout
    assert "acme" in usage.stdout
    for secret in loop.secrets:
        assert [name for name, text in seen.items() if secret in text] == []


async def admitter_is_ready(loop: Loop) -> None:
    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"{loop.url}/readyz", timeout=2.0) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    async def ready() -> bool:
        loop.check()
        return await asyncio.to_thread(answers)

    await eventually(ready, within_s=READY_S_MAX)


async def use_once(loop: Loop) -> None:
    """Reserve, settle, and emit the usage."""
    transport = KafkaTransport(loop.options, GatewayLimits())
    async with GatewayClient(
        [loop.url], transport, source="gateway", api_key=loop.api_key
    ) as client:

        async def reserved() -> bool:
            loop.check()
            body = ReserveBody(model="model", input_tokens=30, max_tokens=20)
            async with client.reserve(body) as answer:
                if not isinstance(answer, ActiveReservation):
                    return False
                answer.began()
                answer.report(USED)
            return True

        await eventually(reserved, within_s=RESERVED_S_MAX)
    assert client.emitter.delivered == 1


async def ledger_has(loop: Loop, used: TokenCounts) -> None:
    async def counted() -> bool:
        loop.check()
        totals = await read_totals(loop.options)
        return {key: each.tokens for key, each in totals.items()} == {("chat", "assistant"): used}

    await eventually(counted, within_s=COUNTED_S_MAX)


async def history_has(loop: Loop, used: TokenCounts) -> None:
    options = clickhouse_options(loop.environ, read_text=read_text)

    async def written() -> bool:
        loop.check()
        totals = await asyncio.to_thread(accepted_totals, options)
        return {key: each.tokens for key, each in totals.items()} == {("chat", "assistant"): used}

    await eventually(written, within_s=COUNTED_S_MAX)


async def autoscaler_decided(loop: Loop) -> None:
    decided: list[ScaleDecision] = []
    follower = Follower(
        loop.options,
        SCALE_DECISIONS,
        handler=lambda record: decided.append(decode(record.value or b"", ScaleDecision)),
    )
    async with AsyncExitStack() as stack:
        await follower.start()
        stack.push_async_callback(follower.stop)

        def found() -> bool:
            loop.check()
            return bool(decided)

        await eventually(found, within_s=SCALED_S_MAX)
    assert decided[0].pool == "chat"
