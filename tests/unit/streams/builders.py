"""Builders for the ledger's tests: a pool, usage events and the records that carry them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

import msgspec

from schemas.partitioning import partition_of
from schemas.pools import Pool, compile_pool
from schemas.specs import (
    Amounts,
    EntitlementSpec,
    Metering,
    PoolRecord,
    PoolRef,
    PoolSpec,
    Qos,
    ServiceClass,
)
from schemas.units import US_PER_S, TokenCounts
from schemas.usage import Headers, UsageData, UsageEvent, encode_structured, envelope
from streams.core.judge import Record, StoredRecord
from streams.core.ledger import fold
from streams.core.outcome import Outcome, Place, States, apply

NOW_US = 1_790_000_000 * US_PER_S
"""The broker's time in these tests; the start of a minute plus 20 s."""

POOL = "alpha"
PARTITIONS = 4
HOME = partition_of(POOL, PARTITIONS)
PLACE = Place(partition=HOME, partitions=PARTITIONS)


def pool(name: str = POOL, *, metering: Metering | None = None, entitlements: int = 3) -> Pool:
    """Return a pool with spot entitlements e0, e1, ..."""
    spec = PoolSpec(
        name=name,
        model="model",
        per_replica=Amounts(
            tokens_per_second=Decimal(1_000), kv_cache_gib=Decimal(1), concurrency=8
        ),
        kv_bytes_per_token=1,
        metering=metering or Metering(),
    )
    entitled = tuple(
        EntitlementSpec(
            uid=f"e{number}",
            tenant_id=f"tenant-{number}",
            pool_ref=PoolRef(name=name),
            qos=Qos(service_class=ServiceClass.SPOT),
        )
        for number in range(entitlements)
    )
    return compile_pool(PoolRecord(pool=spec, entitlements=entitled))


SPECS: Mapping[str, Pool] = {POOL: pool()}


def usage(  # noqa: PLR0913 - an event has many sides
    number: int = 0,
    *,
    output: int = 5,
    entitlement: str = "e0",
    pool: str = POOL,
    source: str = "gateway",
    event_us: int = NOW_US,
    final: bool = True,
    demoted: bool = False,
    numbered: bool = False,
) -> UsageEvent:
    """Return one event; ``number`` is its id, and its sequence when it is ``numbered``."""
    data = UsageData(
        pool=pool,
        entitlement=entitlement,
        output_tokens=output,
        start_us=event_us - US_PER_S,
        end_us=event_us,
        final=final,
        demoted=demoted,
    )
    return UsageEvent(
        source=source, id=str(number), sequence=number if numbered else None, data=data
    )


def record(
    content: UsageEvent | Sequence[UsageEvent] | bytes | None,
    offset: int = 0,
    *,
    stored_us: int = NOW_US,
    headers: Headers = (),
) -> StoredRecord:
    """Return a record with one event, a frame of events, raw bytes or a tombstone."""
    if content is None or isinstance(content, bytes):
        return StoredRecord(offset, stored_us // 1_000, b"key", content, headers)
    if isinstance(content, UsageEvent):
        value, own = encode_structured(content)
        return StoredRecord(offset, stored_us // 1_000, b"key", value, (*own, *headers))
    frame = msgspec.json.encode([envelope(event) for event in content])
    return StoredRecord(offset, stored_us // 1_000, b"key", frame, headers)


def records(*contents: UsageEvent | Sequence[UsageEvent] | bytes | None) -> list[StoredRecord]:
    """Return records at offsets 0, 1, 2, ..."""
    return [record(content, offset) for offset, content in enumerate(contents)]


def folded(*batches: Sequence[Record], specs: Mapping[str, Pool] = SPECS) -> States:
    """Return the states after folding and applying the batches in turn."""
    states = States()
    for batch in batches:
        apply(states, fold(states, batch, specs=specs, place=PLACE))
    return states


def once(*contents: UsageEvent | Sequence[UsageEvent] | bytes | None) -> Outcome:
    """Return the outcome of folding records into an empty ledger."""
    return fold(States(), records(*contents), specs=SPECS, place=PLACE)


def total(states: States) -> TokenCounts:
    """Return all tokens in the totals."""
    counted = TokenCounts()
    for entry in states.totals.values():
        counted += entry.totals.tokens
    return counted
