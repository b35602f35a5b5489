"""The agent ``usage``: hands each poll's batch of one partition to the meter.

Nothing is decided here.  What the meter has written may be committed; a batch of a former
assignment changes nothing.
"""

from __future__ import annotations

from faust.types import TP, AppT, StreamT, TopicT

from streams import metrics
from streams.agents.guard import Guard
from streams.driver import Batch, Consumer
from streams.meter import Meter


def register(app: AppT, topic: TopicT, *, meter: Meter, guard: Guard) -> None:
    """Define the agent."""
    meter.tell(lambda partition, through: acknowledge(app, topic, partition, through))

    @app.agent(topic, name="usage")
    async def usage(stream: StreamT[Batch]) -> None:
        async for batch in stream:
            with guard:
                await fold_batch(batch, meter=meter)


async def fold_batch(batch: Batch, *, meter: Meter) -> None:
    """Fold one batch."""
    await meter.fold(
        batch.partition,
        batch.records,
        before=batch.before,
        generation=batch.generation,
        size_bytes=batch.size_bytes,
        fetched_s=batch.fetched_s,
    )
    batch.done()


def acknowledge(app: AppT, topic: TopicT, partition: int, through: int) -> None:
    """Let what is written be committed."""
    consumer = app.consumer
    assert isinstance(consumer, Consumer)
    tp = TP(topic.get_topic_name(), partition)
    consumer.acknowledge(tp, through)
    metrics.LAG.labels(partition).set(consumer.behind(tp, through))
