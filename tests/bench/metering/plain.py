"""A plain Faust agent: one table write per event, as Faust's own documentation does it.

It decodes with msgspec and adds the tokens of each (pool, entitlement); no dedupe, no windows.  It
says how long it took from its first event to its last.

    python -m tests.bench.metering.plain <job as JSON>
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import faust
import msgspec

from schemas.topics import USAGE
from schemas.usage import CloudEvent
from tests.bench.metering.child import Job

DONE: Final = "drained in "
_DECODE: Final = msgspec.json.Decoder(CloudEvent).decode


def build(job: Job) -> faust.App:
    """Return the application."""
    options = job.options
    app = faust.App(
        options.group("plain"),
        broker=f"kafka://{options.bootstrap}",
        consumer_auto_offset_reset="earliest",
        store="memory://",
        datadir=Path(tempfile.gettempdir()) / "tokenpools-plain-faust",
        topic_partitions=options.partitions,
        topic_disable_leader=True,
        producer_acks=-1,
        web_enabled=False,
        autodiscover=False,
    )
    topic = app.topic(
        options.topic(USAGE), key_type=bytes, value_type=bytes, value_serializer="raw"
    )
    tokens = app.Table("tokens", default=int, key_type=str, value_type=int)
    counting = _Counting(job.traffic.events)

    @app.agent(topic, name="plain")
    async def plain(stream: faust.StreamT[bytes]) -> None:
        async for value in stream:
            data = _DECODE(value).data
            tokens[f"{data.pool}|{data.entitlement}"] += data.counts.total
            counting.one()

    return app


class _Counting:
    """Says when the last event was counted."""

    def __init__(self, events: int) -> None:
        self._left = events
        self._began_s = 0.0

    def one(self) -> None:
        self._began_s = self._began_s or time.monotonic()
        self._left -= 1
        if not self._left:
            print(f"{DONE}{time.monotonic() - self._began_s:.6f} s", flush=True)


async def main() -> None:
    """Run until the process is ended."""
    app = build(msgspec.json.decode(sys.argv[1], type=Job))
    await app.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
