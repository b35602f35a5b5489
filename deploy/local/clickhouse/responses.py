"""How are the engine's answers and errors sent as ClickHouse sends them?

An answer that ends within ``HELD_BACK_BYTES`` has its status and whole summary in the head; a
longer one is streamed, and an error on the way ends it as a server ends it: a tagged block with
the error's text, then a connection closed before its last chunk, so that nobody takes it for whole.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import string
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass
from typing import Final

from starlette.types import Send

from deploy.local.clickhouse import errors
from deploy.local.clickhouse.compression import Encoder
from deploy.local.clickhouse.engine import Summary

HELD_BACK_BYTES: Final = 1_048_576
SEND_TIMEOUT_S: Final = 30.0  # ClickHouse's http_send_timeout: a client that takes nothing
TAG_LETTERS: Final = 16

_CONTENT_TYPES: Final = (
    ("TSV", "text/tab-separated-values; charset=UTF-8"),
    ("TabSeparated", "text/tab-separated-values; charset=UTF-8"),
    ("CSVWithNames", "text/csv; charset=UTF-8; header=present"),
    ("CSV", "text/csv; charset=UTF-8; header=absent"),
    ("XML", "application/xml; charset=UTF-8"),
    ("Markdown", "text/markdown; charset=UTF-8"),
)
_BINARY: Final = ("Native", "RowBinary", "Parquet", "Arrow", "ORC", "Avro", "MsgPack", "BSON")


@dataclass(frozen=True, slots=True)
class Server:
    """What every answer says about the server."""

    version: str
    timezone: str
    host: str


@dataclass(frozen=True, slots=True)
class Envelope:
    """What one answer's head says; ``answer_format`` is None where no answer is due."""

    server: Server
    query_id: str
    answer_format: str | None
    tag: str

    def headers(self, summary: Summary, *, encoding: str | None = None) -> dict[str, str]:
        head = {**self._common(), "X-ClickHouse-Summary": summary_json(summary)}
        if self.answer_format is not None:
            head["Content-Type"] = content_type(self.answer_format)
            head["X-ClickHouse-Format"] = self.answer_format
        if encoding is not None:
            head["Content-Encoding"] = encoding
        return head

    def error_headers(self, error: errors.ClickHouseError) -> dict[str, str]:
        return {
            **self._common(),
            "Content-Type": "text/plain; charset=UTF-8",
            "X-ClickHouse-Exception-Code": str(error.code),
            "X-ClickHouse-Summary": summary_json(Summary()),
        }

    def _common(self) -> dict[str, str]:
        return {
            "X-ClickHouse-Server-Display-Name": self.server.host,
            "X-ClickHouse-Query-Id": self.query_id,
            "X-ClickHouse-Timezone": self.server.timezone,
            "X-ClickHouse-Exception-Tag": self.tag,
            "Cache-Control": "no-store",
        }


def new_tag() -> str:
    """Return the letters that mark an error in the middle of this answer."""
    return "".join(secrets.choice(string.ascii_lowercase) for _ in range(TAG_LETTERS))


def content_type(answer_format: str) -> str:
    for beginning, named in _CONTENT_TYPES:
        if answer_format.startswith(beginning):
            return named
    if answer_format.startswith(_BINARY):
        return "application/octet-stream"
    if answer_format.startswith("JSON"):
        lines = "EachRow" in answer_format or answer_format.startswith("JSONL")
        return f"application/{'x-ndjson' if lines else 'json'}; charset=UTF-8"
    return "text/plain; charset=UTF-8"


def summary_json(summary: Summary) -> str:
    """Return the summary as the server writes it: every number as a string."""
    counted = {name: str(value) for name, value in asdict(summary).items()}
    return json.dumps({**counted, "total_rows_to_read": "0"}, separators=(",", ":"))


def error_block(error: errors.ClickHouseError, *, version: str, tag: str) -> bytes:
    """Return the block that ends an answer which failed after its head was sent."""
    text = errors.body_of(error, version)
    marked = f"\r\n__exception__\r\n{tag}\r\n".encode()
    return marked + text + f"{len(text)} {tag}\r\n__exception__\r\n".encode()


class Outgoing:
    """Sends one streamed answer.  A client that takes nothing for too long is given up."""

    def __init__(self, send: Send, encoder: Encoder) -> None:
        self._send = send
        self._encoder = encoder

    async def begin(self, headers: Mapping[str, str]) -> None:
        named = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": 200, "headers": named})

    async def piece(self, data: bytes) -> None:
        await self._body(self._encoder.encode(data), more=True)

    async def end(self) -> None:
        await self._body(self._encoder.finish(), more=False)

    async def broken(self, block: bytes) -> None:
        """Send the error's block and leave the answer without its end: the connection closes."""
        await self._body(self._encoder.encode(block) + self._encoder.finish(), more=True)

    async def abandoned(self) -> None:
        """Leave the answer without its end: nobody takes it."""

    async def _body(self, data: bytes, *, more: bool) -> None:
        if not data and more:
            return
        async with asyncio.timeout(SEND_TIMEOUT_S):
            await self._send({"type": "http.response.body", "body": data, "more_body": more})


async def held_back(answer: AsyncIterator[bytes], bytes_max: int) -> tuple[bytes, bool]:
    """Return the first bytes of ``answer``, and whether that is all of it."""
    first = bytearray()
    async for piece in answer:
        first += piece
        if len(first) >= bytes_max:
            return bytes(first), False
    return bytes(first), True
