"""Traffic: pools, and the usage events that gateways of ours emit for them, as record bytes.

Event ``n`` belongs to key ``n`` modulo the keys, so every key is as busy as any other; a frame
holds events of one gateway and one pool, which is how a gateway's linger makes them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Final, NamedTuple

from schemas.partitioning import partition_of
from schemas.pools import Pool, compile_pool
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
from schemas.units import US_PER_S
from schemas.usage import (
    BATCH,
    CONTENT_TYPE_HEADER,
    NDJSON,
    STRUCTURED,
    Headers,
    UsageData,
    UsageEvent,
    encode_structured,
)
from tests.bench.metering.sizes import (
    ENTITLEMENTS,
    EVENTS_PER_S,
    FRAME_EVENTS,
    GATEWAYS,
    PARTITIONS,
    POOLS,
)

RESERVATION: Final = f"v1.{'A' * 88}.{'B' * 22}"
"""As long as a signed reservation id."""


class Shape(Enum):
    """How events lie in records."""

    SINGLE = "single"
    LINES = "lines"
    ARRAY = "array"


class Produced(NamedTuple):
    """One record to be stored."""

    partition: int
    key: bytes
    value: bytes
    headers: Headers
    events: int


@dataclass(frozen=True)
class Traffic:
    """What a log holds."""

    events: int
    shape: Shape = Shape.SINGLE
    numbered: bool = True
    pools: int = POOLS
    entitlements: int = ENTITLEMENTS
    partitions: int = PARTITIONS


def pool_names(traffic: Traffic) -> list[str]:
    """Return names that spread evenly over the partitions (to within one pool)."""
    each, rest = divmod(traffic.pools, traffic.partitions)
    room = [each + (partition < rest) for partition in range(traffic.partitions)]
    names: list[str] = []
    for number in itertools.count():
        name = f"pool-{number:04d}"
        home = partition_of(name, traffic.partitions)
        if room[home]:
            room[home] -= 1
            names.append(name)
        if len(names) == traffic.pools:
            break
    return names


def pool_records(traffic: Traffic, *, tick_ms: int = 1_000) -> list[PoolRecord]:
    """Return the specs of the pools."""
    return [_pool_record(name, traffic.entitlements, tick_ms) for name in pool_names(traffic)]


def specs_of(traffic: Traffic) -> dict[str, Pool]:
    """Return the pools compiled, as the worker has them."""
    return {each.pool.name: compile_pool(each) for each in pool_records(traffic)}


def _pool_record(name: str, entitlements: int, tick_ms: int) -> PoolRecord:
    return PoolRecord(
        pool=PoolSpec(
            name=name,
            model="example-70b",
            replicas=Replicas(min=1, max=4),
            per_replica=Amounts(
                tokens_per_second=Decimal(10_000), kv_cache_gib=Decimal(40), concurrency=64
            ),
            kv_bytes_per_token=320_000,
            policy=Policy(tick_ms=tick_ms),
            leases=Leases(lease_ms=max(5_000, 2 * tick_ms)),
        ),
        entitlements=tuple(
            EntitlementSpec(
                uid=f"team-{number}",
                tenant_id=f"tenant-{number}",
                pool_ref=PoolRef(name=name),
                qos=Qos(service_class=ServiceClass.SPOT),
            )
            for number in range(entitlements)
        ),
    )


class Numbers:
    """Numbers events per (source, pool) from 1, as gateways do."""

    def __init__(self, *, run: str, numbered: bool) -> None:
        self._run = run
        self._numbered = numbered
        self._last: dict[tuple[int, str], int] = {}

    def event(self, number: int, gateway: int, data: UsageData) -> UsageEvent:
        """Return the event with its identity."""
        source = f"gateway-{gateway}/{self._run}"
        if not self._numbered:
            return UsageEvent(source=source, id=f"{number:032x}", sequence=None, data=data)
        sequence = self._last.get((gateway, data.pool), 0) + 1
        self._last[gateway, data.pool] = sequence
        return UsageEvent(source=source, id=f"{data.pool}/{sequence}", sequence=sequence, data=data)


def usage_data(number: int, *, pool: str, entitlement: int, end_us: int) -> UsageData:
    """Return what a short request used, with the fields that our client fills."""
    return UsageData(
        pool=pool,
        entitlement=f"team-{entitlement}",
        tenant=f"tenant-{entitlement}",
        model="example-70b",
        reservation_id=RESERVATION,
        served_class=ServiceClass.SPOT,
        input_tokens=200 + number % 700,
        output_tokens=50 + number % 300,
        start_us=end_us - 2 * US_PER_S,
        end_us=end_us,
        requested_us=end_us - 2 * US_PER_S - 5_000,
        first_token_us=end_us - 2 * US_PER_S + 180_000,
        attributes={"application": "chat"},
    )


def events_of(traffic: Traffic, *, run: str, end_us: int) -> Iterator[tuple[int, UsageEvent]]:
    """Yield (gateway, event); the last event happened at ``end_us``."""
    names = pool_names(traffic)
    numbers = Numbers(run=run, numbered=traffic.numbered)
    for number in range(traffic.events):
        round_, pool = divmod(number, traffic.pools)
        at_us = end_us - (traffic.events - number) * US_PER_S // EVENTS_PER_S
        data = usage_data(
            number, pool=names[pool], entitlement=round_ % traffic.entitlements, end_us=at_us
        )
        gateway = round_ // traffic.entitlements % GATEWAYS
        yield gateway, numbers.event(number, gateway, data)


def records_of(traffic: Traffic, *, run: str, end_us: int) -> Iterator[Produced]:
    """Yield the records in the order in which gateways would send them."""
    homes = {name: partition_of(name, traffic.partitions) for name in pool_names(traffic)}
    pending: dict[tuple[int, str], list[bytes]] = {}
    frame_events = 1 if traffic.shape is Shape.SINGLE else FRAME_EVENTS
    for gateway, event in events_of(traffic, run=run, end_us=end_us):
        pool = event.data.pool
        frame = pending.setdefault((gateway, pool), [])
        frame.append(encode_structured(event)[0])
        if len(frame) == frame_events:
            yield _produced(traffic.shape, homes[pool], pool, pending.pop((gateway, pool)))
    for (_, pool), frame in pending.items():
        yield _produced(traffic.shape, homes[pool], pool, frame)


def _produced(shape: Shape, partition: int, pool: str, frame: Sequence[bytes]) -> Produced:
    return Produced(partition, pool.encode(), *framed(shape, frame), len(frame))


def framed(shape: Shape, frame: Sequence[bytes]) -> tuple[bytes, Headers]:
    """Return value and headers of one record that holds these events."""
    match shape:
        case Shape.SINGLE:
            (value,) = frame
            return value, [(CONTENT_TYPE_HEADER, STRUCTURED)]
        case Shape.LINES:
            return b"\n".join(frame) + b"\n", [(CONTENT_TYPE_HEADER, NDJSON)]
        case Shape.ARRAY:
            return b"[" + b",".join(frame) + b"]", [(CONTENT_TYPE_HEADER, BATCH)]
