"""Serving: the admission process from its start to its end.

Start: bind the port, follow the topics, report, serve.  It serves at once, answering 503 until it
has a state.  A host that others can reach is bound only when the specs have keys.  End (SIGTERM or
SIGINT): say that this incarnation is leaving, drain, close; within ``STOP_S_MAX``.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

import uvicorn

from admission import settings as names
from admission.admitter import Admitter
from admission.app import build_app
from admission.core.gate import Gate
from admission.core.moment import Moment
from admission.core.tokens import Signer
from admission.feed import Feed
from admission.log import log
from admission.reports import Reporter
from admission.settings import Settings
from schemas.errors import SettingsError

STOP_S_MAX: Final = 10
DRAIN_S_MAX: Final = 4
BACKLOG: Final = 2_048
EXIT_SETTINGS: Final = 2


class Server(uvicorn.Server):
    """A server that leaves signals to us."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none: leaving is reported before the server stops."""
        yield


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # we name what is wrong, once
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(serve(settings))
    except SettingsError as error:
        log("cannot_start", error=str(error))
        return EXIT_SETTINGS


async def serve(settings: Settings) -> int:
    """Serve until a signal comes or a part fails; a failure is raised."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with bind(settings.host, settings.port) as bound:
        settings = replace(settings, port=bound.getsockname()[1])
        admitter = admitter_of(settings)
        feed, reporter = Feed(settings.kafka, admitter), Reporter(settings.kafka, admitter)
        parts = [_task(feed.run()), _task(reporter.run())]
        try:
            if await _may_serve(settings, admitter, feed, stop):
                await _serve_until(stop, settings, admitter, reporter, bound, parts)
        finally:
            await _end(parts)
            await reporter.close()
    log("stopped", incarnation=admitter.gate.incarnation)
    return 0


def admitter_of(settings: Settings) -> Admitter:
    """Return the admitter of these settings, as a new incarnation that knows nothing yet."""
    url = settings.url or f"http://{_in_url(settings.host)}:{settings.port}"

    def new_incarnation() -> str:
        return f"{settings.name}-{secrets.token_hex(4)}"

    return Admitter(
        gate=Gate(
            new_incarnation(),
            url,
            Signer(settings.reservation_key),
            settings.limits,
            shadow=settings.shadow,
        ),
        clock=clock,
        new_incarnation=new_incarnation,
        log=log,
        keys_required=not settings.is_loopback,
    )


def clock() -> Moment:
    """Return now, on the monotonic and the wall clock."""
    return Moment(time.monotonic_ns() // 1_000, time.time_ns() // 1_000)


def bind(host: str, port: int) -> socket.socket:
    """Return a bound socket; a port that is taken is named with its setting."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind)
    except OSError as error:
        raise SettingsError(f"{names.HOST}={host}: {error.strerror}") from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        taken = error.errno == errno.EADDRINUSE
        setting = f"{names.PORT}={port}" if taken else f"{names.HOST}={host}"
        reason = "the port is taken by another process" if taken else error.strerror
        raise SettingsError(f"{setting}: {reason}") from error
    bound.listen(BACKLOG)
    return bound


async def _may_serve(
    settings: Settings, admitter: Admitter, feed: Feed, stop: asyncio.Event
) -> bool:
    """Say whether to serve: a host that others can reach only when the specs have keys."""
    if settings.is_loopback:
        return True
    await _first_of(feed.pools_read(), stop.wait())
    if not stop.is_set() and not admitter.keyring.holders:
        raise SettingsError(
            f"{names.HOST}={settings.host} can be reached by others, but no entitlement has keys: "
            f"add keys to the spec, or set {names.HOST}=127.0.0.1"
        )
    return not stop.is_set()


async def _serve_until(
    stop: asyncio.Event,
    settings: Settings,
    admitter: Admitter,
    reporter: Reporter,
    bound: socket.socket,
    parts: list[asyncio.Task[None]],
) -> None:
    server = Server(
        uvicorn.Config(
            build_app(admitter, body_bytes_max=settings.body_bytes_max),
            http="httptools",
            lifespan="off",
            access_log=False,
            log_level="warning",
            timeout_graceful_shutdown=DRAIN_S_MAX,
        )
    )
    gc.collect()
    gc.freeze()  # what lives for ever is looked at no more: a full collection stops every decision
    serving = _task(server.serve(sockets=[bound]))
    log(
        "serving",
        url=admitter.gate.url,
        incarnation=admitter.gate.incarnation,
        shadow=admitter.gate.shadow,
        keys="required" if admitter.keys_required else "only if the specs have any; loopback only",
    )
    stopping = _task(_wait(stop))
    await asyncio.wait([stopping, serving, *parts], return_when=asyncio.FIRST_COMPLETED)
    if stop.is_set():
        log("leaving", open_reservations=len(admitter.gate.reservations))
        await reporter.leave()
    server.should_exit = True
    await serving
    await reporter.leave()
    stopping.cancel()


async def _end(parts: list[asyncio.Task[None]]) -> None:
    """Stop the parts; what one of them failed with is raised."""
    failed = [part for part in parts if part.done() and not part.cancelled()]
    for part in parts:
        part.cancel()
    await asyncio.wait(parts, timeout=STOP_S_MAX - DRAIN_S_MAX)
    for part in failed:
        part.result()


async def _first_of(*waits: Coroutine[Any, Any, Any]) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


def _task(part: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    return asyncio.create_task(part)


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop  # noqa: PLC0415 - there is none for Windows

    return uvloop.new_event_loop
