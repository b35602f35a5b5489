"""How is a request's body read: decoded as it arrives, split into statement and data?

At most ``QUERY_BYTES_MAX`` and one decoded piece are held while the statement is looked for; an
INSERT's data then passes through in pieces.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request

from deploy.local.clickhouse import errors
from deploy.local.clickhouse.compression import Decoder
from deploy.local.clickhouse.request import FORM_BYTES_MAX
from deploy.local.clickhouse.statement import QUERY_BYTES_MAX

RECEIVE_TIMEOUT_S: Final = 30.0  # ClickHouse's http_receive_timeout
APPEND_BYTES: Final = 1_048_576  # data given to the engine at a time


@dataclass(frozen=True, slots=True)
class Head:
    """The beginning of the request's text; ``complete`` when nothing follows in the body."""

    text: bytes
    complete: bool


async def pieces(request: Request, encoding: str | None) -> AsyncIterator[bytes]:
    """Yield the decoded body; raises when it is cut short or not so encoded."""
    decoder = Decoder(encoding) if encoding else None
    async for data in _arriving(request):
        if decoder is None:
            yield data
        else:
            for piece in decoder.feed(data):
                yield piece
    if decoder is not None:
        decoder.finish()


async def head_of(query: str, body: AsyncIterator[bytes]) -> Head:
    """Return the text that begins with the URL's ``query`` and goes on in ``body``."""
    in_url = query.encode("utf-8", "surrogateescape")
    text = bytearray(in_url)
    async for piece in body:
        if in_url and len(text) == len(in_url):
            text += b"\n"
        text += piece
        if len(text) > QUERY_BYTES_MAX:
            return Head(bytes(text), complete=False)
    return Head(bytes(text), complete=True)


async def joined(first: bytes, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield ``first`` and ``body`` in pieces of at least ``APPEND_BYTES``, but for the last."""
    waiting = bytearray(first)
    async for piece in body:
        waiting += piece
        if len(waiting) >= APPEND_BYTES:
            yield bytes(waiting)
            waiting.clear()
    if waiting:
        yield bytes(waiting)


async def form_of(body: AsyncIterator[bytes]) -> bytes:
    """Return a whole multipart body, which is bounded."""
    form = bytearray()
    async for piece in body:
        form += piece
        if len(form) > FORM_BYTES_MAX:
            raise errors.refusal(
                errors.BAD_REQUEST_PARAMETER, f"The form is longer than {FORM_BYTES_MAX} bytes."
            )
    return bytes(form)


async def _arriving(request: Request) -> AsyncIterator[bytes]:
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(RECEIVE_TIMEOUT_S):
                data = await anext(stream, None)
        except TimeoutError as failure:
            raise errors.refusal(
                errors.SOCKET_TIMEOUT, f"No data for {RECEIVE_TIMEOUT_S:.0f} s while reading."
            ) from failure
        if data is None:
            return
        if data:
            yield data
