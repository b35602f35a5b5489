"""The worker: one streams process, from its settings to its exit status.

It ends with status 1 and one line that says why when a write is not acknowledged, when records were
lost on the way or when the logs are not the ledger's; the supervisor starts it again and it goes on
from the changelog.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

from schemas.connections import KafkaOptions
from schemas.errors import TokenpoolsError
from schemas.topics import LARGE_PLAIN_BYTES_MAX, LARGE_RECORD_BYTES_MAX
from streams import collector, logs, metrics
from streams.agents.guard import Guard
from streams.agents.reports import Admitters
from streams.agents.tick import Ticker
from streams.app import StreamsApp, Tables, build, connect, may_tick
from streams.book import PoolBook
from streams.core.ledger import Limits
from streams.kafka import Publisher, wait_for_broker
from streams.lifetime import CancelledUnaskedError
from streams.meter import Meter
from streams.pipeline import Pipeline
from streams.settings import Settings
from streams.startup import check_topics

log = logging.getLogger("tokenpools.streams")

STOP_S_MAX: Final = 8.0
DRAIN_S_MAX: Final = 6.0
"""How long a stop waits for what is under way; what is left is folded again by the next owner."""
WATCH_S: Final = 0.2


class FaustEndedError(TokenpoolsError):
    """Faust stopped by itself."""


def run(settings: Settings, *, publisher_type: type[Publisher] = Publisher) -> int:
    """Run until SIGTERM or SIGINT; return the exit status."""
    logs.configure()
    collector.slow_down()
    try:
        status = asyncio.run(_run(settings, publisher_type))
    except KeyboardInterrupt:
        status = 0
    _leave(status)
    return status


def _leave(status: int) -> None:
    """End at once when a thread of Faust's would keep a failed process alive."""
    logging.shutdown()
    sys.stderr.flush()
    if status:
        os._exit(status)


async def _run(settings: Settings, publisher_type: type[Publisher]) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        await _until(stop, _work(settings, publisher_type))
    except Exception as error:
        if isinstance(error, TokenpoolsError):
            log.error("event=ended error=%s", error)
        else:
            log.exception("event=crashed")
        return 1
    log.info("event=stopped")
    return 0


async def _until(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Run ``work`` until it fails or ``stop`` is set; only then may it be cancelled."""
    working = asyncio.create_task(work, name="work")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not working.done():
        working.cancel()
    await asyncio.gather(stopping, return_exceptions=True)
    try:
        await working
    except asyncio.CancelledError as error:
        if not stop.is_set():
            raise CancelledUnaskedError from error


async def _work(settings: Settings, publisher_type: type[Publisher]) -> None:
    """Start everything in order, and stay until something fails or this task is cancelled."""
    options = settings.kafka
    async with AsyncExitStack() as stack:
        if settings.metrics_port:
            stack.callback(metrics.serve(settings.metrics_host, settings.metrics_port))
        log.info("event=starting broker=%s prefix=%s", options.bootstrap, options.topic_prefix)
        await wait_for_broker(options)
        await check_topics(options)
        publisher = publisher_type(
            options,
            client_id="tokenpools-streams-writer",
            compression=settings.write_compression,
        )
        await publisher.start()
        stack.push_async_callback(publisher.stop)
        bulk = Publisher(
            options,
            client_id="tokenpools-streams-bulk-writer",
            batch_bytes_max=LARGE_PLAIN_BYTES_MAX,
            wire_bytes_max=LARGE_RECORD_BYTES_MAX,
            compression=settings.write_compression,
        )
        await bulk.start()
        stack.push_async_callback(bulk.stop)
        book = PoolBook(options)
        stack.push_async_callback(book.stop)
        await book.start()
        await stack.enter_async_context(_loop(settings, book=book, publisher=publisher, bulk=bulk))


@asynccontextmanager
async def _loop(
    settings: Settings, *, book: PoolBook, publisher: Publisher, bulk: Publisher
) -> AsyncIterator[None]:
    """Assemble the parts around Faust and run them until something fails."""
    guard = Guard()
    app, ticker, meter = _assemble(settings, book=book, publisher=publisher, bulk=bulk, guard=guard)
    tasks: list[asyncio.Future[None]] = [guard.failed, *book.tasks]
    try:
        await app.start()
        tasks.append(asyncio.create_task(ticker.run(meter, may_tick=may_tick(app)), name="tick"))
        tasks.append(asyncio.create_task(meter.tend(), name="tend"))
        tasks.append(asyncio.create_task(_watch(app), name="faust"))
        log.info("event=started group=%s", app.conf.id)
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for each in done:
            each.result()
        yield
    except asyncio.CancelledError:
        _end(tasks)
        await meter.finish(within_s=DRAIN_S_MAX)
        raise
    finally:
        _end(tasks)
        await _stop(app)


def _end(tasks: Iterable[asyncio.Future[None]]) -> None:
    for each in tasks:
        each.cancel()


def _assemble(
    settings: Settings, *, book: PoolBook, publisher: Publisher, bulk: Publisher, guard: Guard
) -> tuple[StreamsApp, Ticker, Meter]:
    options: KafkaOptions = settings.kafka
    admitters = Admitters(options.partitions, now_us=now_us)
    pipeline = Pipeline(
        writes_max=settings.writes_max,
        bytes_max=settings.writes_bytes_max,
        on_failed=guard.fail,
    )
    meter = Meter(
        options,
        book=book,
        publisher=publisher,
        pipeline=pipeline,
        limits=Limits(marks_max=settings.marks_max),
        rebuild=settings.rebuild_ledger,
    )
    app = build(settings, meter=meter)
    tables = Tables(app, options)
    ticker = Ticker(
        options,
        book=book,
        admitters=admitters,
        publisher=publisher,
        bulk=bulk,
        store=tables.store_debt,
        now_us=now_us,
    )
    meter.connect(store=tables.store_consumption, on_served=ticker.serve)
    connect(
        app, options, tables=tables, meter=meter, ticker=ticker, admitters=admitters, guard=guard
    )
    return app, ticker, meter


async def _watch(app: StreamsApp) -> None:
    """Raise when Faust has ended by itself."""
    while not app.should_stop:  # noqa: ASYNC110 - mode has no event for "stopped or crashed"
        await asyncio.sleep(WATCH_S)
    raise FaustEndedError(f"Faust ended: {app.crash_reason!r}")


async def _stop(app: StreamsApp) -> None:
    try:
        async with asyncio.timeout(STOP_S_MAX):
            await app.stop()
    except TimeoutError:
        log.warning("event=stop_timed_out after_s=%.0f", STOP_S_MAX)


def now_us() -> int:
    """Return the wall clock in microseconds since 1970."""
    return time.time_ns() // 1_000
