"""What does the server answer?  ClickHouse's HTTP interface over the embedded engine.

``create_app`` gives the ASGI application: ``/`` takes statements, ``/ping`` and
``/replicas_status`` say that it is up.  Whoever is connected to the client decides nothing: what a
request means is ``request`` and ``statement``, what it may hold is ``handles``, how its answer
looks is ``responses``.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from tempfile import SpooledTemporaryFile
from typing import Final

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from deploy.local.clickhouse import body, compression, errors, responses, rows
from deploy.local.clickhouse import request as requests
from deploy.local.clickhouse.engine import Engine, Handle, Insertion, Scope, Summary
from deploy.local.clickhouse.handles import Handles
from deploy.local.clickhouse.request import Credentials, QueryRequest
from deploy.local.clickhouse.responses import Envelope, Outgoing
from deploy.local.clickhouse.statement import Kind, Statement, parse

SPOOL_BYTES_MAX: Final = 33_554_432  # an answer that is waited for lies in memory up to this
READ_BYTES: Final = 262_144

# Sends what is left of an answer.
_End = Callable[[], Awaitable[None]]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Exchange:
    """One request on its way: what came in, and where the answer goes."""

    http: Request
    send: Send
    asked: QueryRequest
    statement: Statement
    envelope: Envelope
    data: AsyncIterator[bytes]


class QueryEndpoint:
    """The ASGI application behind ``/``."""

    def __init__(self, engine: Engine, credentials: Credentials) -> None:
        self._engine = engine
        self._credentials = credentials
        self._handles = Handles(engine)
        self._server = responses.Server(engine.version, engine.timezone, engine.host)

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        http = Request(scope, receive)
        query_id = http.query_params.get("query_id") or str(uuid.uuid4())
        envelope = Envelope(self._server, query_id, None, responses.new_tag())
        try:
            await self._answer(http, send, envelope)
        except errors.ClickHouseError as error:
            text = errors.body_of(error, self._server.version)
            headers = envelope.error_headers(error)
            refused = Response(text, error.http_status, headers)
            await refused(scope, receive, send)
        except ClientDisconnect:
            _log.info("query %s: the client went away", query_id)

    def close(self) -> None:
        self._handles.close()

    async def _answer(self, http: Request, send: Send, envelope: Envelope) -> None:
        params = dict(http.query_params)
        if not self._credentials.allow(requests.credentials_of(params, http.headers)):
            raise errors.refusal(
                errors.AUTHENTICATION_FAILED,
                "Authentication failed: password is incorrect, or there is no user with such name.",
            )
        asked = requests.parse(params, http.headers)
        data = body.pieces(http, asked.content_encoding)
        if http.headers.get("content-type", "").startswith("multipart/form-data"):
            form = requests.form_fields(http.headers["content-type"], await body.form_of(data))
            asked = requests.parse(params, http.headers, form=form)
        head = await body.head_of(asked.query, data)
        if http.method in ("GET", "HEAD") and not head.text:
            await PlainTextResponse("Ok.\n")(http.scope, http.receive, send)
            return
        statement = parse(head.text, complete=head.complete)
        _check_method(http, statement)
        exchange = _Exchange(
            http,
            send,
            asked,
            statement,
            replace(envelope, answer_format=_answer_format(statement, asked)),
            body.joined(head.text[statement.data_at :], data),
        )
        await self._run(exchange)

    async def _run(self, exchange: _Exchange) -> None:
        """Run the statement; the last byte is sent when all it held is given back.

        Otherwise a client's next request could find its own session still locked.
        """
        asked = exchange.asked
        scope = Scope(asked.database, asked.settings, asked.parameters)
        async with (
            self._handles.slot(),
            self._handles.handle(
                scope, session=asked.session, keeps_state=exchange.statement.keeps_state
            ) as handle,
        ):
            end = await self._begun(exchange, handle)
        await end()

    async def _begun(self, exchange: _Exchange, handle: Handle) -> _End:
        match exchange.statement.kind:
            case Kind.INSERT:
                return await self._insert(exchange, handle)
            case Kind.ROWS:
                return await self._rows(exchange, handle)
            case Kind.PLAIN:
                return await self._plain(exchange, handle)

    async def _plain(self, exchange: _Exchange, handle: Handle) -> _End:
        answer = await self._handles.run(
            lambda: handle.run(exchange.statement.text, exchange.asked.default_format)
        )
        return partial(_reply_whole, exchange, answer.body, answer.summary)

    async def _insert(self, exchange: _Exchange, handle: Handle) -> _End:
        statement = exchange.statement
        insertion = await self._handles.run(
            lambda: handle.insertion(statement.text, statement.format or "Values")
        )
        finished = False
        try:
            async for piece in exchange.data:
                await self._append(insertion, piece)
            summary = await self._handles.run(insertion.finish)
            finished = True
        finally:
            if not finished:
                await self._handles.run(insertion.cancel)
        return partial(_reply_whole, exchange, b"", summary)

    async def _append(self, insertion: Insertion, piece: bytes) -> None:
        await self._handles.run(lambda: insertion.append(piece))

    async def _rows(self, exchange: _Exchange, handle: Handle) -> _End:
        stream = rows.start(
            handle,
            exchange.statement,
            answer_format=exchange.envelope.answer_format or exchange.asked.default_format,
            executor=self._handles.executor,
        )
        leaving = asyncio.create_task(self._kill_when_left(exchange.http, stream))
        try:
            if exchange.asked.wait_end_of_query:
                return await self._spooled(exchange, stream)
            return await self._streamed(exchange, stream)
        finally:
            leaving.cancel()
            await stream.close(self._engine, self._handles.killers)

    async def _kill_when_left(self, http: Request, stream: rows.RowStream) -> None:
        while (await http.receive())["type"] != "http.disconnect":
            pass
        await stream.kill(self._engine, self._handles.killers)

    async def _streamed(self, exchange: _Exchange, stream: rows.RowStream) -> _End:
        pieces = stream.pieces()
        first, whole = await responses.held_back(pieces, responses.HELD_BACK_BYTES)
        if whole:
            return partial(_reply_whole, exchange, first, await stream.summary())
        outgoing = await _begin(exchange, Summary())
        try:
            await outgoing.piece(first)
            async for piece in pieces:
                await outgoing.piece(piece)
            await stream.summary()
        except errors.ClickHouseError as error:
            _log.warning("query %s broke off: %s", exchange.envelope.query_id, error.text)
            tag = exchange.envelope.tag
            block = responses.error_block(error, version=self._server.version, tag=tag)
            return partial(outgoing.broken, block)
        except TimeoutError:
            _log.warning("query %s: the client takes nothing", exchange.envelope.query_id)
            return outgoing.abandoned
        return outgoing.end

    async def _spooled(self, exchange: _Exchange, stream: rows.RowStream) -> _End:
        """Wait for all of an answer, so that its status is the query's."""
        spool = SpooledTemporaryFile(max_size=SPOOL_BYTES_MAX)  # noqa: SIM115 - sent later
        try:
            async for piece in stream.pieces():
                spool.write(piece)
            return partial(_send_spool, exchange, spool, await stream.summary())
        except BaseException:
            spool.close()
            raise


async def _send_spool(
    exchange: _Exchange, spool: SpooledTemporaryFile[bytes], summary: Summary
) -> None:
    with spool:
        length = spool.tell()
        spool.seek(0)
        if length <= responses.HELD_BACK_BYTES:
            await _reply_whole(exchange, spool.read(), summary)
            return
        outgoing = await _begin(exchange, summary)
        while piece := spool.read(READ_BYTES):
            await outgoing.piece(piece)
        await outgoing.end()


async def _begin(exchange: _Exchange, summary: Summary) -> Outgoing:
    encoding = compression.chosen_encoding(exchange.asked.accept_encoding)
    outgoing = Outgoing(exchange.send, compression.encoder(encoding))
    await outgoing.begin(exchange.envelope.headers(summary, encoding=encoding))
    return outgoing


async def _reply_whole(exchange: _Exchange, answer: bytes, summary: Summary) -> None:
    encoding = compression.chosen_encoding(exchange.asked.accept_encoding) if answer else None
    encoder = compression.encoder(encoding)
    encoded = encoder.encode(answer) + encoder.finish()
    headers = exchange.envelope.headers(summary, encoding=encoding)
    response = Response(encoded, 200, headers)
    await response(exchange.http.scope, exchange.http.receive, exchange.send)


def create_app(engine: Engine, credentials: Credentials) -> Starlette:
    """Return the application; closing it closes ``engine``."""
    endpoint = QueryEndpoint(engine, credentials)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        endpoint.close()
        engine.close()

    routes = [
        Route("/", endpoint, methods=["GET", "POST"]),
        Route("/ping", _ok, methods=["GET"]),
        Route("/replicas_status", _ok, methods=["GET"]),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


async def _ok(_: Request) -> Response:
    return PlainTextResponse("Ok.\n")


def _answer_format(statement: Statement, asked: QueryRequest) -> str | None:
    return (statement.format or asked.default_format) if statement.answers else None


def _check_method(http: Request, statement: Statement) -> None:
    if http.method == "POST" or statement.reads_only:
        return
    raise errors.refusal(
        errors.READONLY,
        "Cannot execute query in readonly mode. For queries over HTTP, method GET implies "
        "readonly. You should use method POST for modifying queries.",
    )
