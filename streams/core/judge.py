"""The judge: what becomes of one usage event.

Streams alone judges, by a rule that depends only on the record (the broker's timestamp is its only
"now"), on earlier records of its partition and on the specs; the first event with an id wins, in
the order of the partition.  What an earlier owner published before it died binds its successor.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from schemas.errors import MalformedEventError
from schemas.partitioning import partition_of
from schemas.pools import Pool
from schemas.positions import Position
from schemas.units import US_PER_S
from schemas.usage import FORWARDED_HEADER, REPLAYED_HEADER, Decoded, Headers, UsageEvent
from schemas.verdicts import DeadReason, JudgedThrough, Verdict, VerdictKind, VerdictsMessage
from streams.core.marks import Known, body_of, identity_of

ERROR_CHARS_MAX: Final = 500
NAME_CHARS_MAX: Final = 256
FORWARD_BYTES_MAX: Final = 1_048_576 - 4_096
"""A forwarded record grows by a header and must still fit the topic."""

Specs = Mapping[str, Pool]


class Record(NamedTuple):
    """One record of ``usage``; ``stored_us`` is the broker's timestamp."""

    offset: int
    stored_us: int
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


@dataclass(frozen=True)
class Ruling:
    """One event judged; ``identity`` is set when it was looked up among the marks."""

    kind: VerdictKind
    reason: str = ""
    error: str = ""
    identity: str = ""
    first: Position | None = None
    replays: Position | None = None
    bound: bool = False


def judge(
    decoded: Decoded,
    record: Record,
    *,
    index: int,
    bench: Bench,
    known: Mapping[str, Known],
    fresh: Mapping[str, Known],
) -> Ruling:
    """Return the ruling; ``known`` and ``fresh`` are the ids accepted before and in this fold."""
    replays = _replayed(record.headers)
    position = Position(bench.epoch, bench.partition, record.offset, index)
    published = bench.bound.verdicts.get(position)
    if published is not None or record.offset <= bench.bound.offset:
        return _bound(decoded, published, replays=replays)
    if isinstance(decoded, MalformedEventError):
        return _malformed(decoded)
    refused = _placed(decoded, record, bench=bench) or _specified(decoded, bench=bench)
    if refused is None and replays is None:
        refused = _timely(decoded, record, bench=bench)
    if refused is not None:
        return refused
    return _unique(decoded, known=known, fresh=fresh, replays=replays)


def _bound(decoded: Decoded, verdict: Verdict | None, *, replays: Position | None) -> Ruling:
    """Return what was published, with the identity that an accepted event must leave behind."""
    if verdict is not None:
        return Ruling(
            verdict.verdict, verdict.reason, verdict.error, first=verdict.first, bound=True
        )
    if isinstance(decoded, MalformedEventError):  # a decoder that has become stricter since
        return Ruling(VerdictKind.ACCEPTED, bound=True)
    identity = identity_of(decoded, replays=replays)
    return Ruling(VerdictKind.ACCEPTED, identity=identity, replays=replays, bound=True)


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


def _timely(event: UsageEvent, record: Record, *, bench: Bench) -> Ruling | None:
    metering = bench.specs[event.data.pool].metering
    latest_us = record.stored_us + metering.future_seconds_max * US_PER_S
    if event.event_us > latest_us:
        ahead_us = event.event_us - record.stored_us
        return _dead(DeadReason.FUTURE, f"{ahead_us} us after the broker's time")
    horizon_us = record.stored_us - metering.acceptance_horizon_seconds * US_PER_S
    if event.event_us < max(horizon_us, bench.floor_us):
        reason = "horizon" if event.event_us < horizon_us else "floor"
        return Ruling(VerdictKind.LATE, reason)
    return None


def _unique(
    event: UsageEvent,
    *,
    known: Mapping[str, Known],
    fresh: Mapping[str, Known],
    replays: Position | None,
) -> Ruling:
    identity = identity_of(event, replays=replays)
    earlier = fresh.get(identity) or known.get(identity)
    if earlier is None:
        return Ruling(VerdictKind.ACCEPTED, identity=identity, replays=replays)
    body, first = earlier
    if replays is not None or body == body_of(event):
        return Ruling(VerdictKind.DUPLICATE, "id", first=first, replays=replays)
    return Ruling(VerdictKind.DEAD, DeadReason.CONFLICT, f"the id was used at {first}", first=first)


def _dead(reason: DeadReason, error: str) -> Ruling:
    return Ruling(VerdictKind.DEAD, reason, error[:ERROR_CHARS_MAX])


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
