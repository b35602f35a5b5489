"""Records as Kafka gives them, and batches made of them, for the tests of history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from schemas.positions import Position, Version
from schemas.specs import ServiceClass
from schemas.state import EntitlementStatus
from schemas.ticks import EntitlementInput, EntitlementOutput, Tick, TickInputs
from schemas.topics import POOLS, ROLLUPS, TICKS, USAGE, VERDICTS
from schemas.units import Resources
from schemas.usage import Headers, UsageData, UsageEvent, encode_structured
from schemas.verdicts import JudgedThrough, Verdict, VerdictCounts, VerdictKind
from schemas.wire import encode
from streams.history.batch import Batch

STORED_MS: Final = 1_790_000_000_000
"""2026-09-21T13:33:20Z."""
EPOCH: Final = 1
PARTITION: Final = 0


@dataclass(frozen=True)
class Stored:
    """A record on the broker."""

    offset: int
    value: bytes | None
    timestamp: int = STORED_MS
    headers: Headers = ()
    key: bytes | None = None


def event(number: int, *, end_us: int = STORED_MS * 1_000, **data: object) -> UsageEvent:
    """A usage event whose id is its number: 10 input tokens, 1 output token."""
    fields: dict[str, object] = {
        "pool": "chat",
        "entitlement": "gold",
        "tenant": "acme",
        "model": "llama",
        "input_tokens": 10,
        "output_tokens": 1,
        "end_us": end_us,
        **data,
    }
    return UsageEvent(
        source="test", id=str(number), sequence=number, data=msgspec.convert(fields, UsageData)
    )


def usage_record(offset: int, sent: UsageEvent) -> Stored:
    value, headers = encode_structured(sent)
    return Stored(offset, value, headers=headers)


def usage_frame(offset: int, sent: Sequence[UsageEvent]) -> Stored:
    values = b",".join(encode_structured(each)[0] for each in sent)
    return Stored(offset, b"[" + values + b"]")


def refused(offset: int, index: int = 0, *, kind: VerdictKind = VerdictKind.DUPLICATE) -> Stored:
    verdict = Verdict(
        position=Position(EPOCH, PARTITION, offset, index),
        verdict=kind,
        stored_us=STORED_MS * 1_000,
        original=b"\xff\x00 no text",
        original_headers=(("h", b"\xfe"),),
    )
    return Stored(0, encode(verdict))


def judged_mark(offset: int, **counts: int) -> Stored:
    mark = JudgedThrough(
        epoch=EPOCH, partition=PARTITION, offset=offset, counts=VerdictCounts(**counts)
    )
    return Stored(0, encode(mark))


def batch(**records: Sequence[Stored]) -> Batch:
    """A batch of the records by topic (``scale_decisions`` for ``scale-decisions``)."""
    made = Batch(epoch=EPOCH)
    for topic in (POOLS, USAGE, VERDICTS, ROLLUPS, TICKS, "decisions", "scale-decisions"):
        made.add(topic, PARTITION, records.get(topic.replace("-", "_"), ()))
    return made


def tick(number: int, *, at_us: int, demand: int = 0, floor: int = 0, served: int = 0) -> Tick:
    """A tick of one second of pool ``chat`` with the guaranteed entitlement ``gold``."""
    return Tick(
        pool="chat",
        model="llama",
        version=Version(1, 1, number),
        capacity=Resources(1_000, 1 << 30, 16),
        inputs=TickInputs(
            at_us=at_us,
            elapsed_us=1_000_000,
            spec_version=0,
            replicas_ready=1,
            per_replica=Resources(1_000, 1 << 30, 16),
            entitlements=(
                EntitlementInput(
                    entitlement="gold",
                    served_tokens_per_s=served,
                    demand=Resources(demand, demand * 10, demand // 10),
                ),
            ),
        ),
        outputs=(
            EntitlementOutput(
                entitlement="gold",
                tenant="acme",
                service_class=ServiceClass.GUARANTEED,
                status=EntitlementStatus.BOUND,
                floor=Resources(floor, floor, 4),
            ),
        ),
    )
