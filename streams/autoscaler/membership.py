"""Membership: which one of the running autoscalers decides.

All join one consumer group on ``scale-decisions``; whoever is assigned partition 0 is active, and
when it falls silent the group gives the partition to another.  Nothing is read through it.
"""

from __future__ import annotations

from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.connections import KafkaOptions
from schemas.topics import SCALE_DECISIONS
from streams.kafka import client_kwargs, connected

GROUP: Final = "tokenpools-autoscaler"


class Membership:
    """This process in the group of autoscalers."""

    def __init__(self, options: KafkaOptions, *, session_timeout_ms: int) -> None:
        self._options = options
        self._topic = options.topic(SCALE_DECISIONS)
        self._consumer = AIOKafkaConsumer(
            **client_kwargs(options),
            group_id=options.group(GROUP),
            enable_auto_commit=False,
            auto_offset_reset="latest",
            session_timeout_ms=session_timeout_ms,
            heartbeat_interval_ms=session_timeout_ms // 5,
        )

    async def start(self) -> None:
        """Connect (with back-off) and join."""
        await connected(self._options, self._consumer.start)
        self._consumer.subscribe([self._topic])

    async def stop(self) -> None:
        """Leave, so that another takes over at once."""
        await self._consumer.stop()

    async def is_active(self) -> bool:
        """Say whether this process decides now; what was written meanwhile is skipped."""
        await self._consumer.getmany(timeout_ms=0)
        return TopicPartition(self._topic, 0) in self._consumer.assignment()
