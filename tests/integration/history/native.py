"""The rows of a block, whether it is kept by column or encoded already."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from clickhouse_connect.driver.ctypes import RespBuffCls
from clickhouse_connect.driver.query import QueryContext
from clickhouse_connect.driver.transform import NativeTransform

from streams.history.batch import Block, NativeBlocks


class Source:
    """What the client's reader takes for an answer of ClickHouse."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self.gen = iter(blocks)

    def close(self) -> None:
        """There is no connection."""


def rows_in(block: Block | NativeBlocks) -> list[tuple[Any, ...]]:
    """Return the rows in their order; of encoded ones the values are the client's."""
    if isinstance(block, Block):
        return [*zip(*block.columns, strict=True)]
    reader: Any = RespBuffCls
    answer: Any = NativeTransform.parse_response(reader(Source(block.blocks)), QueryContext())
    return [tuple(row) for row in answer.result_rows]
