"""The judge: what becomes of one usage event.

Streams alone judges, by a rule that depends only on the record (the broker's timestamp is its only
"now"), on earlier records of its partition and on the specs; the first event with an id wins, in
the order of the partition.  What an earlier owner published before it died binds its successor.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from schemas.errors import MalformedEventError
from schemas.partitioning import partition_of
from schemas.pools import Pool
from schemas.positions import Position
from schemas.units import US_PER_MS, US_PER_S
from schemas.usage import FORWARDED_HEADER, REPLAYED_HEADER, Decoded, Headers, UsageEvent
from schemas.verdicts import DeadReason, JudgedThrough, Verdict, VerdictKind, VerdictsMessage
from streams.core.marks import UNKNOWN_BODY, Seen, body_of

ERROR_CHARS_MAX: Final = 500
NAME_CHARS_MAX: Final = 256
FORWARD_BYTES_MAX: Final = 1_048_576 - 4_096
"""A forwarded record grows by a header and must still fit the topic."""

Specs = Mapping[str, Pool]


class Record(Protocol):
    """One record of ``usage`` as aiokafka has it."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int:
        """The broker's time in milliseconds."""

    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Headers: ...


class StoredRecord(NamedTuple):
    """A record as plain data."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


@dataclass(frozen=True)
class Bound:
    """What an earlier owner published: through ``offset`` silence means accepted."""

    offset: int = -1
    verdicts: Mapping[Position, Verdict] = field(default_factory=dict)


NOTHING_BOUND: Final = Bound()


def bound_of(published: Iterable[VerdictsMessage], *, epoch: int) -> Bound:
    """Return what one partition's part of ``verdicts`` binds a new owner to, in its order."""
    judged = -1
    verdicts: dict[Position, Verdict] = {}
    for message in published:
        if isinstance(message, JudgedThrough):
            if message.epoch == epoch:
                judged = max(judged, message.offset)
        elif message.position.epoch == epoch and message.position.offset > judged:
            verdicts.setdefault(message.position, message)
    return Bound(judged, verdicts)


@dataclass(frozen=True)
class Bench:
    """What the judgement of one fold rests on besides the event."""

    specs: Specs
    epoch: int
    partition: int
    partitions: int
    floor_us: int
    bound: Bound = NOTHING_BOUND


class Remembered(Protocol):
    """What was accepted before, as the judge asks for it."""

    def seen(self, event: UsageEvent) -> Seen | None:
        """Return what accepted the event's number or id."""

    def is_closed(self, event: UsageEvent) -> bool:
        """Say whether nobody knows any more if its number was accepted."""

    def replay(self, replays: Position) -> Seen | None:
        """Return what counted the dead letter at this position."""


@dataclass(frozen=True)
class Ruling:
    """One event judged."""

    kind: VerdictKind
    reason: str = ""
    error: str = ""
    first: Position | None = None
    replays: Position | None = None


def judge(
    decoded: Decoded,
    record: Record,
    *,
    body: bytes,
    index: int,
    bench: Bench,
    memory: Remembered,
) -> Ruling:
    """Return the ruling on an event and its bytes."""
    replays = _replayed(record.headers)
    position = Position(bench.epoch, bench.partition, record.offset, index)
    published = bench.bound.verdicts.get(position)
    if published is not None or record.offset <= bench.bound.offset:
        return _bound(published, replays=replays)
    if isinstance(decoded, MalformedEventError):
        return _malformed(decoded)
    refused = _placed(decoded, record, bench=bench) or _specified(decoded, bench=bench)
    if refused is None and replays is None:
        refused = _timely(decoded, stored_us=record.timestamp * US_PER_MS, bench=bench)
    if refused is not None:
        return refused
    if replays is not None:
        return _replay(replays, memory=memory)
    return _unique(decoded, body=body, memory=memory)


def _bound(verdict: Verdict | None, *, replays: Position | None) -> Ruling:
    """Return what was published.

    Silence binds as well: what is malformed by a decoder that has become stricter stays accepted.
    """
    if verdict is None:
        return Ruling(VerdictKind.ACCEPTED, replays=replays)
    return Ruling(
        verdict.verdict, verdict.reason, verdict.error, first=verdict.first, replays=verdict.replays
    )


def _malformed(error: MalformedEventError) -> Ruling:
    reason = DeadReason.TOMBSTONE if error.reason == "tombstone" else DeadReason.MALFORMED
    return _dead(reason, f"{error.reason}: {error}")


def _placed(event: UsageEvent, record: Record, *, bench: Bench) -> Ruling | None:
    home = partition_of(event.data.pool, bench.partitions)
    if home == bench.partition:
        return None
    if any(name == FORWARDED_HEADER for name, _ in record.headers):
        return _dead(DeadReason.MISPLACED, f"forwarded once already; partition {home} is its own")
    if len(record.value or b"") > FORWARD_BYTES_MAX:
        return _dead(DeadReason.MISPLACED, f"too large to forward to partition {home}")
    return Ruling(VerdictKind.FORWARDED, error=f"to partition {home}")


def _specified(event: UsageEvent, *, bench: Bench) -> Ruling | None:
    pool = bench.specs.get(event.data.pool)
    if pool is None:
        return _dead(DeadReason.UNKNOWN_POOL, f"no pool {event.data.pool[:NAME_CHARS_MAX]!r}")
    if event.data.entitlement not in pool.entitlements:
        name = event.data.entitlement[:NAME_CHARS_MAX]
        return _dead(DeadReason.UNKNOWN_ENTITLEMENT, f"no {name!r} in pool {pool.name!r}")
    return None


def _timely(event: UsageEvent, *, stored_us: int, bench: Bench) -> Ruling | None:
    metering = bench.specs[event.data.pool].metering
    if event.event_us > stored_us + metering.future_seconds_max * US_PER_S:
        return _dead(DeadReason.FUTURE, f"{event.event_us - stored_us} us after the broker's time")
    horizon_us = stored_us - metering.acceptance_horizon_seconds * US_PER_S
    if event.event_us < max(horizon_us, bench.floor_us):
        reason = "horizon" if event.event_us < horizon_us else "floor"
        return Ruling(VerdictKind.LATE, reason)
    return None


def _replay(replays: Position, *, memory: Remembered) -> Ruling:
    earlier = memory.replay(replays)
    if earlier is None:
        return Ruling(VerdictKind.ACCEPTED, replays=replays)
    return Ruling(VerdictKind.DUPLICATE, "replay", first=earlier.first, replays=replays)


def _unique(event: UsageEvent, *, body: bytes, memory: Remembered) -> Ruling:
    """Return whether it is new; the same id with other bytes is a conflict."""
    if memory.is_closed(event):
        error = f"number {event.sequence} stands in a gap that was closed for want of room"
        return Ruling(VerdictKind.LATE, "sequence", error)
    earlier = memory.seen(event)
    if earlier is None:
        return Ruling(VerdictKind.ACCEPTED)
    if earlier.body in (UNKNOWN_BODY, body_of(body)):
        reason = "id" if event.sequence is None else "sequence"
        return Ruling(VerdictKind.DUPLICATE, reason, first=earlier.first)
    name = "id" if event.sequence is None else f"number {event.sequence}"
    where = "" if earlier.first is None else f" at {earlier.first}"
    return _dead(DeadReason.CONFLICT, f"the {name} was used with other bytes{where}", earlier.first)


def _dead(reason: DeadReason, error: str, first: Position | None = None) -> Ruling:
    return Ruling(VerdictKind.DEAD, reason, error[:ERROR_CHARS_MAX], first=first)


def _replayed(headers: Headers) -> Position | None:
    """Return the position that a replayed dead letter names; None for any other event."""
    for name, value in headers:
        if name == REPLAYED_HEADER:
            return position_of(value)
    return None


def position_of(text: bytes) -> Position | None:
    """Return the position that ``epoch/partition/offset/index`` names, if it names one."""
    parts = text.split(b"/")
    if len(parts) != 4 or not all(part.isdigit() and len(part) <= 18 for part in parts):
        return None
    return Position(*(int(part) for part in parts))
