"""Usage records as a gateway writes them, and a feed that holds them in memory."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Final

from aiokafka.structs import ConsumerRecord

from schemas.specs import ServiceClass
from schemas.topics import USAGE
from schemas.usage import UsageData, UsageEvent, encode_structured
from streams.history.feed import Feed, Polled

STORED_MS: Final = 1_790_000_000_000
POLL_RECORDS: Final = 10_000
SEED: Final = 6


def usage(number: int, chance: random.Random) -> UsageEvent:
    """An event of one of 20 pools with 400 entitlements, about 500 bytes as a record."""
    end_us = STORED_MS * 1_000 + number * 1_000
    return UsageEvent(
        source=f"gateway-{number % 8}",
        id=f"{number:032x}",
        sequence=number,
        data=UsageData(
            pool=f"pool-{number % 20}",
            entitlement=f"entitlement-{number % 400}",
            tenant=f"tenant-{number % 50}",
            model="llama-3-70b",
            reservation_id=f"{number * 7:024x}",
            served_class=ServiceClass.GUARANTEED,
            input_tokens=chance.randrange(3_000),
            cache_read_tokens=chance.randrange(1_000),
            output_tokens=chance.randrange(800),
            start_us=end_us - 2_000_000,
            end_us=end_us,
            requested_us=end_us - 2_100_000,
            first_token_us=end_us - 1_900_000,
            attributes={"application": "chat", "region": "eu"},
        ),
    )


def consumer_records(count: int) -> list[ConsumerRecord]:
    """Return records as aiokafka's consumer gives them."""
    chance = random.Random(SEED)
    made = []
    for offset in range(count):
        value, headers = encode_structured(usage(offset, chance))
        made.append(
            ConsumerRecord(
                topic=USAGE,
                partition=0,
                offset=offset,
                timestamp=STORED_MS + offset,
                timestamp_type=1,
                key=b"pool",
                value=value,
                checksum=None,
                serialized_key_size=4,
                serialized_value_size=len(value),
                headers=headers,
            )
        )
    return made


class MemoryFeed(Feed):
    """Records that were fetched already, in polls of ``POLL_RECORDS``."""

    def __init__(self, records: Sequence[ConsumerRecord]) -> None:
        self.generation = 0
        self.committed = -1
        self._records = records
        self._at = 0

    @property
    def is_read(self) -> bool:
        """Whether every record was polled."""
        return self._at >= len(self._records)

    async def poll(self, *, timeout_ms: int) -> Polled:
        """Return the next records."""
        records = self._records[self._at : self._at + POLL_RECORDS]
        self._at += POLL_RECORDS
        return {(USAGE, 0): records} if records else {}

    async def stay(self) -> None:
        """There is no group."""

    async def commit(self, reaches: Mapping[tuple[str, int], int], *, generation: int) -> bool:
        """Remember how far the rows reach."""
        self.committed = reaches[USAGE, 0]
        return True
