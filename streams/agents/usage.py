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

    @app.agent(topic, name="usage")
    async def usage(stream: StreamT[Batch]) -> None:
        async for batch in stream:
            with guard:
                await fold_batch(app, batch, meter=meter)


async def fold_batch(app: AppT, batch: Batch, *, meter: Meter) -> None:
    """Fold one batch and let its offset be committed once it is written."""
    through = await meter.fold(
        batch.partition, batch.records, before=batch.before, generation=batch.generation
    )
    if through is None:
        return
    consumer = app.consumer
    assert isinstance(consumer, Consumer)
    tp = TP(batch.topic, batch.partition)
    consumer.acknowledge(tp, through)
    metrics.LAG.labels(batch.partition).set(max(0, consumer.highwater(tp) - through - 1))
