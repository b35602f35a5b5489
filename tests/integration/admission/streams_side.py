"""The streams side of the topics, by hand: a spec, and a state on every report."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from msgspec.structs import replace

from schemas.decisions import Decision
from schemas.partitioning import partition_of
from schemas.positions import Version
from schemas.reports import AdmitterReport
from schemas.specs import (
    Amounts,
    EntitlementSpec,
    Leases,
    Policy,
    PoolRecord,
    PoolRef,
    PoolSpec,
    Qos,
    Replicas,
    ServiceClass,
)
from schemas.state import AdmissionState, AdmitterView, EntitlementState, Share, state_key
from schemas.topics import ADMISSION_STATE, ADMITTER_REPORTS, DECISIONS, POOLS
from schemas.units import BYTES_PER_GIB, NOTHING, Resources
from schemas.wire import decode, encode

POOL = "chat"
PARTITIONS = 2
FLOOR = Resources(10_000, 40 * BYTES_PER_GIB, 4)
Decide = Callable[[tuple[AdmitterReport, ...]], str]
"""Which incarnation is the home, given the newest report of each."""


def spec(*, keys: tuple[str, ...] = ()) -> PoolRecord:
    """Return a pool with one guaranteed entitlement, ticking every 200 ms."""
    amounts = Amounts(tokens_per_second=Decimal(10_000), kv_cache_gib=Decimal(40), concurrency=4)
    return PoolRecord(
        pool=PoolSpec(
            name=POOL,
            model="m",
            replicas=Replicas(min=1, max=1),
            per_replica=amounts,
            kv_bytes_per_token=1_024,
            policy=Policy(tick_ms=200),
            leases=Leases(lease_ms=2_000, renew_seconds=2),
        ),
        entitlements=(
            EntitlementSpec(
                uid="acme",
                tenant_id="acme",
                pool_ref=PoolRef(name=POOL),
                qos=Qos(service_class=ServiceClass.GUARANTEED),
                resources=amounts,
                keys=keys,
            ),
        ),
    )


@dataclass(frozen=True)
class Given:
    """What an entitlement has at its home; what of its floor is not granted is lent."""

    floor: Resources = NOTHING
    grant: Resources = NOTHING
    service_class: ServiceClass = ServiceClass.GUARANTEED


@dataclass
class StreamsSide:
    """Answers every report with a state that gives all that there is to the home."""

    prefix: str
    producer: AIOKafkaProducer
    reports: dict[str, AdmitterReport] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)
    dead: set[str] = field(default_factory=set)
    home: str = ""
    tick: int = 0
    given: dict[str, Given] = field(default_factory=lambda: {"acme": Given(FLOOR)})
    common: Resources = NOTHING
    """The home's part of the common share."""

    async def apply(self, record: PoolRecord) -> None:
        """Publish a spec."""
        await self._send(POOLS, record.pool.name.encode(), encode(record))

    async def follow(self, consumer: AIOKafkaConsumer) -> None:
        """Publish a state after every report, for ever."""
        async for record in consumer:
            if record.topic == f"{self.prefix}{DECISIONS}":
                self.decisions.append(decode(record.value, Decision))
                continue
            report = decode(record.value, AdmitterReport)
            self.reports[report.incarnation] = report
            self.home = self.home or report.incarnation
            await self.publish()

    async def publish(self) -> None:
        """Publish the next state."""
        self.tick += 1
        views = tuple(
            AdmitterView(
                incarnation=name,
                url=each.url,
                sequence=each.sequence,
                alive=name not in self.dead,
                common=self.common if name == self.home else NOTHING,
            )
            for name, each in self.reports.items()
        )
        entitlements = tuple(
            EntitlementState(
                entitlement=uid,
                service_class=each.service_class,
                floor=each.floor,
                grant=each.grant,
                home=self.home,
                shares=(Share(admitter=self.home, floor=each.floor, grant=each.grant),),
            )
            for uid, each in self.given.items()
        )
        state = AdmissionState(
            pool=POOL,
            version=Version(1, 1, self.tick),
            capacity=FLOOR,
            admitters=views,
            entitlements=entitlements,
        )
        halves = (
            replace(state, part=0, parts=2, entitlements=()),
            replace(state, part=1, parts=2, admitters=()),
        )
        for half in halves:
            await self._send(ADMISSION_STATE, state_key(POOL, half.part), encode(half))

    async def _send(self, topic: str, key: bytes, value: bytes) -> None:
        partition = partition_of(POOL, PARTITIONS)
        await self.producer.send_and_wait(
            f"{self.prefix}{topic}", value, key=key, partition=partition
        )


async def make_topics(kafka: str, prefix: str) -> None:
    """Create the four topics that an admitter uses."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        await admin.create_topics(
            [
                NewTopic(f"{prefix}{name}", PARTITIONS, 1)
                for name in (POOLS, ADMISSION_STATE, ADMITTER_REPORTS, DECISIONS)
            ]
        )
    finally:
        await admin.close()


@asynccontextmanager
async def streams_side(kafka: str, prefix: str) -> AsyncIterator[StreamsSide]:
    """Play streams for the time of the block."""
    await make_topics(kafka, prefix)
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    consumer = AIOKafkaConsumer(
        f"{prefix}{ADMITTER_REPORTS}",
        f"{prefix}{DECISIONS}",
        bootstrap_servers=kafka,
        auto_offset_reset="earliest",
    )
    await producer.start()
    await consumer.start()
    side = StreamsSide(prefix, producer)
    following = asyncio.create_task(side.follow(consumer))
    try:
        yield side
    finally:
        following.cancel()
        await asyncio.wait([following])
        await consumer.stop()
        await producer.stop()
