"""Usage as ClickHouse's Native blocks: what a batch holds of it, encoded as it is read.

Records become columns, and columns bytes, ``BLOCK_ROWS`` rows at a time, while all of it is still
in the processor's cache.  So a batch holds a third of what the records weigh instead of a dozen
objects for each event, a repeated insert encodes nothing again, and the thread that inserts leaves
the interpreter to the one that reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Final, NoReturn

from clickhouse_connect.datatypes.base import ClickHouseType
from clickhouse_connect.datatypes.registry import get_from_name
from clickhouse_connect.driver.insert import InsertContext
from clickhouse_connect.driver.transform import NativeTransform

from streams.history.usage_columns import KafkaRecord, UsageColumns
from streams.history.usage_rows import UsageRow

USAGE_TABLE: Final = "usage_raw"
BLOCK_ROWS: Final = 512
"""A block is closed at this many rows: fewer cost ClickHouse more, more do not fit the cache."""
NO_COLUMNS: Final = ((),)
"""With ``None`` a context would keep its columns until it gets the next ones; so they go at once,
and the objects of the next block fall into the same memory, which is in the cache."""
ROWS_MAX: Final = 1 << 30
"""The library shall never cut a block in two."""

USAGE_TYPES: Final[dict[str, str]] = {
    "epoch": "UInt64",
    "partition": "UInt32",
    "record_offset": "UInt64",
    "record_index": "UInt32",
    "stored_at": "DateTime64(3, 'UTC')",
    "event_at": "DateTime64(6, 'UTC')",
    "source": "String",
    "id": "String",
    "sequence": "Nullable(Int64)",
    "pool": "LowCardinality(String)",
    "entitlement": "LowCardinality(String)",
    "tenant": "LowCardinality(String)",
    "model": "LowCardinality(String)",
    "reservation_id": "String",
    "served_class": "LowCardinality(String)",
    "demoted": "Bool",
    "input_tokens": "Int64",
    "cache_read_tokens": "Int64",
    "cache_write_tokens": "Int64",
    "output_tokens": "Int64",
    "reasoning_tokens": "Int64",
    "started_at": "DateTime64(6, 'UTC')",
    "requested_at": "DateTime64(6, 'UTC')",
    "first_token_at": "Nullable(DateTime64(6, 'UTC'))",
    "final": "Bool",
    "outcome": "LowCardinality(String)",
    "attributes": "Map(LowCardinality(String), String)",
    "forwarded_from": "String",
    "replays": "String",
}
"""The columns of ``usage_raw`` as its migration makes them."""


class UsageBlocks:
    """The usage of one batch; ``len`` counts its rows."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch
        self._columns = UsageColumns(epoch)
        self._context = InsertContext(
            USAGE_TABLE, UsageRow._fields, _types(), column_oriented=True, block_size=ROWS_MAX
        )
        self._blocks: list[bytes] = []
        self._rows_encoded = 0

    def __len__(self) -> int:
        return self._rows_encoded + len(self._columns)

    def add(self, partition: int, records: Sequence[KafkaRecord]) -> int:
        """Take the records of one partition; return how many events could not be read."""
        malformed = 0
        for start in range(0, len(records), BLOCK_ROWS):
            malformed += self._columns.add(partition, records[start : start + BLOCK_ROWS])
            if len(self._columns) >= BLOCK_ROWS:
                self._close_block()
        return malformed

    def blocks(self) -> list[bytes]:
        """Return every row, in blocks in the order in which they were read."""
        if len(self._columns):
            self._close_block()
        return self._blocks

    def _close_block(self) -> None:
        self._rows_encoded += len(self._columns)
        context = self._context
        context.data = self._columns.columns()
        context.current_block = 1  # none is the first, which would carry a statement
        try:
            self._blocks += NativeTransform.build_insert(context, _fail)
        finally:
            context.data = NO_COLUMNS
        self._columns = UsageColumns(self._epoch)


@cache
def _types() -> list[ClickHouseType]:
    return [get_from_name(USAGE_TYPES[name]) for name in UsageRow._fields]


def _fail(error: Exception) -> NoReturn:
    raise error
