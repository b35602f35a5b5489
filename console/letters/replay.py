"""How does a dead letter get another chance?  Sent again, naming the position that it replays.

Key, value and headers are the original's; one header is added.  The judge counts a replay once per
position replayed, so a letter may be replayed any number of times.  A letter that is a replay
itself goes on naming the first of its chain.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaProducer

from console.publish import producer
from schemas.connections import KafkaOptions
from schemas.partitioning import partition_of
from schemas.positions import Position
from schemas.topics import USAGE
from schemas.usage import REPLAYED_HEADER, Headers, UsageEvent, decode_record
from streams.history.dead_letters import Letter, Original

Found = Mapping[Position, tuple[Letter, Original | None]]

_POSITION: Final = re.compile(rb"\d{1,18}(/\d{1,18}){3}")
NOT_STORED: Final = (
    "its original was not stored (a tombstone, or too large: it stands at its position in `usage`)"
)


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """What became of one letter."""

    position: Position
    replayed: bool
    text: str
    """Where it was stored, or why it was refused."""

    def line(self) -> str:
        """Return one line for a person."""
        return f"{self.position}: {'replayed' if self.replayed else 'refused'}: {self.text}"


async def replay(
    positions: Sequence[Position],
    found: Found,
    options: KafkaOptions,
    *,
    client: Mapping[str, Any],
) -> AsyncIterator[Replayed]:
    """Send the letters again in this order; yield what became of each once it is known."""
    async with producer(options, client=client) as kafka:
        for position in positions:
            yield await _replay(position, found, options, kafka=kafka)


async def _replay(
    position: Position, found: Found, options: KafkaOptions, *, kafka: AIOKafkaProducer
) -> Replayed:
    if position not in found:
        return Replayed(
            position=position, replayed=False, text="no dead letter is at this position"
        )
    _, original = found[position]
    if original is None:
        return Replayed(position=position, replayed=False, text=NOT_STORED)
    stored = await kafka.send_and_wait(
        options.topic(USAGE),
        original.value,
        key=original.key,
        headers=headers_of(original, position=position),
        partition=home_of(original, partitions=options.partitions),
    )
    text = f"partition {stored.partition} offset {stored.offset}"
    return Replayed(position=position, replayed=True, text=text)


def headers_of(original: Original, *, position: Position) -> list[tuple[str, bytes]]:
    """Return the original headers and the one that names what is replayed."""
    named = [value for name, value in original.headers if name == REPLAYED_HEADER]
    first = named[0] if named and _POSITION.fullmatch(named[0]) else str(position).encode()
    kept = [(name, value) for name, value in original.headers if name != REPLAYED_HEADER]
    return [*kept, (REPLAYED_HEADER, first)]


def home_of(original: Original, *, partitions: int) -> int | None:
    """Return the partition of the letter's pool; None, so by its key, when no pool is readable."""
    pools = pools_in(original.value, original.headers)
    return partition_of(pools[0], partitions) if pools else None


def pools_in(value: bytes, headers: Headers) -> list[str]:
    """Return the pools of the events that can be read."""
    events = decode_record(value, headers)
    return [event.data.pool for event in events if isinstance(event, UsageEvent)]
