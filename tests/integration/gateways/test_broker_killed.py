"""Kafka is killed (-9) while usage events are on their way: none is lost, none counts twice."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from admission.gateways.emitter import Emitter
from admission.gateways.kafka import KafkaTransport
from admission.gateways.limits import GatewayLimits
from deploy.local.broker import Broker
from deploy.local.broker_settings import BrokerConfig
from deploy.local.ports import free_ports
from deploy.local.provision import provision
from schemas.connections import KafkaOptions
from schemas.usage import UsageEvent, decode_parts
from streams.kafka import client_kwargs
from tests.component.gateways.samples import usage
from tests.integration.gateways.usage_log import UsageLog, headers_of, usage_log_of

EVENTS = 400
DEADLINE_S = 100
SINGLY = GatewayLimits(close_ms_max=40_000, send_ms_max=3_000, linger_ms=0)
IN_FRAMES = GatewayLimits(close_ms_max=40_000, send_ms_max=3_000, frame_events_max=16)
NUMBERS = list(range(1, EVENTS + 1))


@dataclass
class Acknowledged:
    """Counts acknowledgements; ``reached`` is set at the number given."""

    at: int
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    numbers: list[int] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def delivered(self, event: UsageEvent) -> None:
        assert event.sequence is not None
        self.numbers.append(event.sequence)
        if len(self.numbers) >= self.at:
            self.reached.set()

    def undelivered(self, event: UsageEvent, error: Exception) -> None:
        self.failures.append(f"{event.id}: {error}")


class Gateway:
    """Emits ``EVENTS`` events of one pool; the broker is killed when half were submitted."""

    def __init__(self, kafka: KafkaOptions, limits: GatewayLimits, *, pool: str) -> None:
        self.pool = pool
        self.acknowledged = Acknowledged(at=EVENTS // 4)
        self.emitter = Emitter(
            KafkaTransport(kafka, limits), source="s", limits=limits, listener=self.acknowledged
        )

    async def submit(self, count: int) -> None:
        for _ in range(count):
            await self.emitter.place()
            self.emitter.submit(usage(self.pool, sequence=0).data)


@pytest.mark.slow
async def test_every_event_is_stored_after_the_broker_was_killed(
    tmp_path: Path, kafka_jars: Sequence[Path]
) -> None:
    port, controller_port = free_ports(2)
    config = BrokerConfig(state_dir=tmp_path, port=port, controller_port=controller_port)
    broker = Broker(config, jars=kafka_jars)
    kafka = KafkaOptions(bootstrap=f"127.0.0.1:{port}", partitions=2)
    gateways = [
        Gateway(kafka, SINGLY, pool="singly"),
        Gateway(kafka, IN_FRAMES, pool="in frames"),
    ]
    await asyncio.to_thread(broker.start)
    try:
        await provision(kafka, client=client_kwargs(kafka))
        async with asyncio.timeout(DEADLINE_S):
            await emit_through_a_crash(broker, gateways)
            async with usage_log_of(kafka) as log:
                await log.until_its_end()
    finally:
        await asyncio.to_thread(broker.stop)

    for gateway in gateways:
        bodies = bodies_of(log, pool=gateway.pool)
        assert gateway.acknowledged.failures == []
        assert sorted(gateway.acknowledged.numbers) == NUMBERS
        assert sorted(bodies) == NUMBERS
        assert [number for number, copies in bodies.items() if len(set(copies)) > 1] == []
    assert list(bodies_of(log, pool="in frames")) == NUMBERS
    assert max(len(decode_parts(each.value, headers_of(each))) for each in log.records) > 1


async def emit_through_a_crash(broker: Broker, gateways: Sequence[Gateway]) -> None:
    for gateway in gateways:
        await gateway.emitter.start()
    for gateway in gateways:
        await gateway.submit(EVENTS // 2)
        await gateway.acknowledged.reached.wait()
    await asyncio.to_thread(broker.kill)
    for gateway in gateways:
        await gateway.submit(EVENTS // 2)
    await asyncio.to_thread(broker.start)
    await asyncio.gather(*(gateway.emitter.stop() for gateway in gateways))


def bodies_of(log: UsageLog, *, pool: str) -> dict[int, list[bytes]]:
    """Every copy of each numbered event's bytes, in the order in which numbers appeared."""
    bodies: dict[int, list[bytes]] = {}
    for record in log.records:
        for body, event in decode_parts(record.value, headers_of(record)):
            assert isinstance(event, UsageEvent)
            assert event.sequence is not None
            if event.data.pool == pool:
                bodies.setdefault(event.sequence, []).append(body)
    return bodies
