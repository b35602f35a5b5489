"""How does an operator's word reach the loop?  As one acknowledged record on a compacted topic.

Specs, capacity and log epochs are published here and nowhere else.  Each record goes to the
partition of its pool, so that everything about a pool has one order.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas.capacity import PoolCapacity, capacity_key
from schemas.connections import KafkaOptions
from schemas.errors import UnavailableError
from schemas.partitioning import partition_of
from schemas.pools import compile_pool, digest_of
from schemas.specs import EPOCH_KEY, EpochRecord, PoolRecord
from schemas.topics import LARGE_PLAIN_BYTES_MAX, POOL_CAPACITY, POOLS
from schemas.wire import encode


@asynccontextmanager
async def producer(
    options: KafkaOptions, *, client: Mapping[str, Any]
) -> AsyncIterator[AIOKafkaProducer]:
    """Give an idempotent producer that waits for every replica's acknowledgement."""
    kafka = AIOKafkaProducer(
        **client,
        acks="all",
        enable_idempotence=True,
        compression_type="gzip",
        max_request_size=LARGE_PLAIN_BYTES_MAX,
    )
    try:
        await kafka.start()
        yield kafka
    except KafkaError as error:
        raise UnavailableError(
            f"Kafka at {options.bootstrap} did not take the record ({error}); "
            "check KAFKA_BOOTSTRAP_SERVERS"
        ) from error
    finally:
        await kafka.stop()


async def publish_pools(
    records: Sequence[PoolRecord],
    options: KafkaOptions,
    *,
    client: Mapping[str, Any],
    now_us: int,
) -> None:
    """Validate every pool, then publish all; nothing is published when one is refused."""
    for record in records:
        compile_pool(record)
    async with producer(options, client=client) as kafka:
        for record in records:
            stamped = PoolRecord(
                pool=record.pool,
                entitlements=record.entitlements,
                applied_us=now_us,
                digest=digest_of(record),
            )
            await kafka.send_and_wait(
                options.topic(POOLS),
                encode(stamped),
                key=record.pool.name.encode(),
                partition=partition_of(record.pool.name, options.partitions),
            )


async def withdraw_pools(
    names: Sequence[str], options: KafkaOptions, *, client: Mapping[str, Any]
) -> None:
    """Take pools back (tombstones): nobody is admitted to them and they tick no more."""
    async with producer(options, client=client) as kafka:
        for name in names:
            await kafka.send_and_wait(
                options.topic(POOLS),
                None,
                key=name.encode(),
                partition=partition_of(name, options.partitions),
            )


async def publish_capacity(
    capacity: PoolCapacity, options: KafkaOptions, *, client: Mapping[str, Any]
) -> None:
    """Publish one writer's word on a pool's replicas."""
    async with producer(options, client=client) as kafka:
        await kafka.send_and_wait(
            options.topic(POOL_CAPACITY),
            encode(capacity),
            key=capacity_key(capacity.pool, capacity.writer),
            partition=partition_of(capacity.pool, options.partitions),
        )


async def publish_epoch(
    epoch: EpochRecord, options: KafkaOptions, *, client: Mapping[str, Any]
) -> None:
    """Publish a new log epoch."""
    async with producer(options, client=client) as kafka:
        await kafka.send_and_wait(
            options.topic(POOLS),
            encode(epoch),
            key=EPOCH_KEY,
            partition=partition_of(EPOCH_KEY.decode(), options.partitions),
        )
