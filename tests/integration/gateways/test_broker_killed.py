"""Kafka is killed (-9) while usage events are on their way: none is lost, none counts twice."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from admission.gateways.emitter import Emitter
from admission.gateways.kafka import KafkaTransport
from admission.gateways.limits import GatewayLimits
from deploy.local.broker import Broker, free_ports
from deploy.local.broker_settings import BrokerConfig
from deploy.local.provision import provision
from schemas.connections import KafkaOptions
from schemas.topics import USAGE
from schemas.usage import UsageEvent, decode_record
from streams.kafka import client_kwargs, log_bounds, read_range
from tests.component.gateways.samples import usage

EVENTS = 400
DEADLINE_S = 100


@dataclass
class Acknowledged:
    """Counts acknowledgements; ``reached`` is set at the number given."""

    at: int
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    ids: set[str] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)

    def delivered(self, event: UsageEvent) -> None:
        self.ids.add(event.id)
        if len(self.ids) >= self.at:
            self.reached.set()

    def undelivered(self, event: UsageEvent, error: Exception) -> None:
        self.failures.append(f"{event.id}: {error}")


async def test_every_event_is_stored_after_the_broker_was_killed(
    tmp_path: Path, kafka_jars: Sequence[Path]
) -> None:
    port, controller_port = free_ports(2)
    config = BrokerConfig(state_dir=tmp_path, port=port, controller_port=controller_port)
    broker = Broker(config, jars=kafka_jars)
    kafka = KafkaOptions(bootstrap=f"127.0.0.1:{port}", partitions=2)
    limits = GatewayLimits(close_ms_max=40_000, send_ms_max=3_000)
    acknowledged = Acknowledged(at=EVENTS // 4)
    await asyncio.to_thread(broker.start)
    try:
        await provision(kafka, client=client_kwargs(kafka))
        async with asyncio.timeout(DEADLINE_S):
            await emit_through_a_crash(broker, kafka, limits, acknowledged)
            stored = await stored_ids(kafka)
    finally:
        await asyncio.to_thread(broker.stop)

    assert acknowledged.failures == []
    assert acknowledged.ids == stored == {f"chat/{number}" for number in range(1, EVENTS + 1)}


async def emit_through_a_crash(
    broker: Broker, kafka: KafkaOptions, limits: GatewayLimits, acknowledged: Acknowledged
) -> None:
    emitter = Emitter(
        KafkaTransport(kafka, limits), source="s", limits=limits, listener=acknowledged
    )
    await emitter.start()
    for number in range(EVENTS):
        await emitter.place()
        emitter.submit(usage("chat", sequence=0).data)
        if number == EVENTS // 2:
            await acknowledged.reached.wait()
            await asyncio.to_thread(broker.kill)
    await asyncio.to_thread(broker.start)
    await emitter.stop()


async def stored_ids(kafka: KafkaOptions) -> set[str]:
    bounds = await log_bounds(kafka, USAGE, [0, 1])
    starts = {partition: start for partition, (start, _) in bounds.items()}
    ends = {partition: end for partition, (_, end) in bounds.items()}
    ids: set[str] = set()
    async for record in read_range(kafka, USAGE, starts=starts, ends=ends):
        (event,) = decode_record(record.value, ())
        assert isinstance(event, UsageEvent)
        ids.add(event.id)
    return ids
