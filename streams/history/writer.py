"""The writer: a batch's rows into ClickHouse, table by table, column by column.

An insert that fails half-way may have stored a part: it is repeated as a whole, which is harmless,
because a row is the same row at its position.  Nothing here retries; the caller does.
"""

from __future__ import annotations

from clickhouse_connect.driver.client import Client

from schemas.connections import ClickHouseOptions
from streams.history.batch import Batch
from streams.history.client import connect, reaching
from streams.history.orders import recount
from streams.history.tables import columns_of


class Writer:
    """One client that is connected when it is first needed, and again after a failure."""

    def __init__(self, options: ClickHouseOptions) -> None:
        self._options = options
        self._client: Client | None = None
        self._orders = True
        """Whether windows may still be waiting to be counted again."""

    def write(self, batch: Batch) -> None:
        """Insert every row and return when all are acknowledged; blocks, so run it in a thread.

        Raises ``UnavailableError`` when nobody answers.
        """
        client, self._client = self._client or connect(self._options), None
        with reaching(self._options):
            insert(client, batch)
            if self._orders or batch.has_orders:
                self._orders = recount(client) > 0
        self._client = client

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()


def insert(client: Client, batch: Batch) -> None:
    """Insert the rows of a batch in the order of the tables."""
    for table, rows in batch.complete().items():
        if rows:
            client.insert(
                table,
                list(zip(*rows, strict=True)),
                column_names=columns_of(table),
                column_oriented=True,
            )
