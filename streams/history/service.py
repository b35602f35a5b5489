"""History: Kafka's topics into ClickHouse, for as long as the process runs.

Migrates, reads the log's epoch, then reads every topic through one consumer group, writes rows and
commits offsets after ClickHouse has acknowledged them.  Killed at any instant it loses nothing:
what was not committed is read again, and a row at a position is one row.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from clickhouse_connect.driver.exceptions import ClickHouseError

from schemas.errors import TokenpoolsError, UnavailableError
from schemas.specs import FIRST_EPOCH, EpochRecord, decode_pools
from schemas.topics import POOLS, USAGE
from streams import collector
from streams.fetching import can_take_whole_batches
from streams.history import metrics
from streams.history.batch import TOPICS_READ
from streams.history.drift_watch import DriftWatch
from streams.history.feed import Feed
from streams.history.migrate import migrate
from streams.history.queries import read_through
from streams.history.reading import Reading
from streams.history.settings import Settings
from streams.history.sink import Sink
from streams.lifetime import run_until_signal
from streams.topic_logs import Follower, Record, log_bounds

log = logging.getLogger(__name__)

T = TypeVar("T")
LIBRARY_LEVELS: Final = {
    "aiokafka": logging.WARNING,
    "urllib3": logging.ERROR,  # an absent ClickHouse is said by us, once
    "clickhouse_connect": logging.ERROR,
}
LOG_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"

GROUP: Final = "tokenpools-history"
POLL_MS_MAX: Final = 500
"""How long a stop may wait for a poll."""
OBSERVE_S: Final = 1.0
"""How often lag, age and what is held are exported."""


class LogReplacedError(TokenpoolsError):
    """The topic ``usage`` ends before what history has read of it."""


class Epochs:
    """The newest log epoch on ``pools``."""

    def __init__(self) -> None:
        self.current = FIRST_EPOCH

    def __call__(self, record: Record) -> None:
        """Handle one record of ``pools``."""
        if record.value is None:
            return
        try:
            message = decode_pools(record.value)
        except TokenpoolsError:
            return  # the batch counts it
        if isinstance(message, EpochRecord):
            self.current = max(self.current, message.epoch)


def run(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT; return the exit status."""
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    for library, level in LIBRARY_LEVELS.items():
        logging.getLogger(library).setLevel(level)
    collector.slow_down()
    try:
        asyncio.run(_run(settings))
    except (TokenpoolsError, ClickHouseError) as error:
        log.error("history stops: %s", error)
        return 1
    return 0


async def _run(settings: Settings) -> None:
    metrics.serve(host=settings.metrics_host, port=settings.metrics_port)
    await run_until_signal(partial(serve, settings))


async def serve(
    settings: Settings, stop: asyncio.Event, working: asyncio.Event | None = None
) -> None:
    """Run until ``stop`` is set, or until something ends that must not.

    ``working`` is set when both servers have answered.
    """
    names = await _answered(
        settings, stop, partial(migrate, settings.clickhouse, retention=settings.retention)
    )
    if names:
        log.info("migrated: %s", ", ".join(names))
    epochs = Epochs()
    follower = Follower(settings.kafka, POOLS, handler=epochs)
    watch = DriftWatch(settings)
    try:
        await follower.start()
        await follower.caught_up()
        while not stop.is_set():
            await check_log(settings, stop, epoch=epochs.current)
            if working is not None:
                working.set()
            await _session(settings, epochs, stop, follower, watch=watch)
    finally:
        await follower.stop()


async def check_log(settings: Settings, stop: asyncio.Event, *, epoch: int) -> None:
    """Raise ``LogReplacedError`` when ``usage`` is not the log that was read in this epoch."""
    known = await _answered(
        settings, stop, partial(read_through, settings.clickhouse, topic=USAGE, epoch=epoch)
    )
    if not known:
        return
    topic = settings.kafka.topic(USAGE)
    bounds = await log_bounds(settings.kafka, topic, sorted(known))
    for partition, offset in sorted(known.items()):
        end = bounds[partition][1]
        if end <= offset:
            raise LogReplacedError(
                f"{topic} partition {partition} ends at {end}, but history read it through "
                f"{offset} in epoch {epoch}: the topic was replaced; run `tokenpools new-epoch`"
            )


async def _answered(settings: Settings, stop: asyncio.Event, ask: Callable[[], T]) -> T | None:
    """Return what ClickHouse answers, however long it is away; None when told to stop first."""
    said = False
    while not stop.is_set():
        try:
            answer = await asyncio.to_thread(ask)
        except UnavailableError as error:
            if not said:
                log.warning("%s; trying again", error)
            said = True
            metrics.CLICKHOUSE_UP.set(0)
            await _pause(stop, settings.backoff_ms_max)
            continue
        metrics.CLICKHOUSE_UP.set(1)
        return answer
    return None


async def _pause(stop: asyncio.Event, pause_ms: int) -> None:
    try:
        async with asyncio.timeout(pause_ms / 1_000):
            await stop.wait()
    except TimeoutError:
        return


async def _session(
    settings: Settings,
    epochs: Epochs,
    stop: asyncio.Event,
    follower: Follower,
    *,
    watch: DriftWatch,
) -> None:
    """Read and write within one epoch; what is read at the end is still written, within a bound."""
    epoch = epochs.current
    feed = Feed(
        settings.kafka,
        group=GROUP,
        topics=TOPICS_READ,
        session_timeout_ms=settings.session_timeout_ms,
        poll_interval_ms_max=settings.poll_interval_ms_max,
        whole_batches=settings.whole_batches and can_take_whole_batches(),
    )
    await feed.start()
    sink = Sink(settings, feed)
    reading = Reading(settings, feed, sink, epoch=epoch)
    watching = asyncio.create_task(watch.run(epoch=epoch), name="drift watch")
    observing = asyncio.create_task(_observe(reading), name="observe")
    try:
        while not stop.is_set() and epochs.current == epoch:
            await reading.step(poll_ms=min(settings.flush_ms, POLL_MS_MAX))
            _check(follower.task)
            _check(watching)
            _check(observing)
        if epochs.current == epoch:
            await _drain(settings, reading)
    finally:
        for task in (watching, observing):
            task.cancel()
        await asyncio.gather(watching, observing, return_exceptions=True)
        await sink.close()
        await feed.stop()


async def _observe(reading: Reading) -> None:
    """Export what is held and how far behind it is, also while a write takes long."""
    while True:
        reading.observe()
        await asyncio.sleep(OBSERVE_S)


def _check(task: asyncio.Task[None] | None) -> None:
    """Raise what ended a task that goes on as long as the session, if anything did."""
    if task is not None and task.done():
        task.result()


async def _drain(settings: Settings, reading: Reading) -> None:
    try:
        async with asyncio.timeout(settings.drain_ms / 1_000):
            await reading.finish()
    except TimeoutError:
        log.warning("the last batch was not acknowledged in time; it will be read again")
