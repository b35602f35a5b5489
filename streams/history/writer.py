"""The writer: a batch's rows into ClickHouse, table by table.

An insert that fails half-way may have stored a part: it is repeated as a whole, which is harmless,
because a row is the same row at its position.  Nothing here retries; the caller does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.compression import get_compressor
from clickhouse_connect.driver.insert import InsertContext

from schemas.connections import ClickHouseOptions
from streams.history import metrics
from streams.history.batch import Batch, Block, NativeBlocks
from streams.history.client import connect, reaching
from streams.history.judged import Judged
from streams.history.orders import Orders
from streams.history.usage_blocks import NO_COLUMNS

INSERT_SETTINGS: Final[Mapping[str, int]] = {"optimize_on_insert": 0}
"""Rows of one key may stand twice in a new part: every reader says FINAL, and merges are later."""

NATIVE: Final = "Native"
COMPRESSION: Final = "lz4"

JUDGED: Final = """
SELECT epoch, partition, max(record_offset) FROM judged_through GROUP BY epoch, partition
"""


class Writer:
    """One client that is connected when it is first needed, and again after a failure."""

    def __init__(self, options: ClickHouseOptions) -> None:
        self._options = options
        self._inserter: Inserter | None = None
        self._orders = Orders()
        self._judged = Judged()
        self._judged_generation = -1

    @property
    def orders(self) -> Orders:
        """The windows that are to be counted again."""
        return self._orders

    def write(self, batch: Batch) -> None:
        """Insert every row and return when all are acknowledged; blocks, so run it in a thread.

        Raises ``UnavailableError`` when nobody answers.
        """
        with self._connected() as inserter:
            batch.leave_out(self._judged_before(batch, inserter.client))
            for block in batch.blocks():
                inserter.insert(block)
            self._judged.merge(batch.judged)
            self._orders.take(batch.orders)
            if self._orders.may_wait:
                metrics.RECOUNTED.inc(self._orders.recount(inserter.client))

    def _judged_before(self, batch: Batch, client: Client) -> Judged:
        """Return the marks of everything that was read before the batch.

        After a change of the assignment others have written meanwhile: ClickHouse says what.
        """
        if self._judged_generation != batch.generation:
            rows = client.query(JUDGED).result_rows
            self._judged = Judged({(epoch, partition): offset for epoch, partition, offset in rows})
            self._judged_generation = batch.generation
        return self._judged

    def recount(self) -> None:
        """Count again what waits for nothing but judgement; blocks and raises as ``write``."""
        with self._connected() as inserter:
            metrics.RECOUNTED.inc(self._orders.recount(inserter.client))

    def close(self) -> None:
        """Close the connection."""
        if self._inserter is not None:
            self._inserter.client.close()

    @contextmanager
    def _connected(self) -> Iterator[Inserter]:
        """Yield an inserter; it is kept only when nothing failed."""
        inserter, self._inserter = self._inserter, None
        if inserter is None:
            inserter = Inserter(connect(self._options))
        with reaching(self._options):
            yield inserter
        self._inserter = inserter


class Inserter:
    """Inserts through one client; it asks for the columns of a table once."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._contexts: dict[str, InsertContext] = {}

    def insert(self, block: Block | NativeBlocks) -> None:
        """Return when ClickHouse has acknowledged the rows."""
        if isinstance(block, NativeBlocks):
            self.client.raw_insert(
                block.table,
                block.names,
                compressed(block.blocks),
                settings=dict(INSERT_SETTINGS),
                fmt=NATIVE,
                compression=COMPRESSION,
            )
            return
        context = self._context(block)
        context.data = block.columns
        try:
            self.client.data_insert(context)
        finally:
            context.data = NO_COLUMNS

    def _context(self, block: Block) -> InsertContext:
        context = self._contexts.get(block.table)
        if context is None:
            context = self._contexts[block.table] = self.client.create_insert_context(
                block.table,
                block.names,
                column_oriented=True,
                settings=dict(INSERT_SETTINGS),
            )
        return context


def compressed(blocks: Iterable[bytes]) -> bytes:
    """Return the blocks as the one body of a request.

    In one call: after each the interpreter is waited for, for up to its switch interval.
    """
    return bytes(get_compressor(COMPRESSION).compress_block(b"".join(blocks)))
