"""How is a verification printed?  Differences first; one line that a script may look for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from console.letters.naming import instant_text, printable
from console.verification.comparison import VERDICTS, Line, PartitionLine, Report

LINES_MAX: Final = 200
"""Lines of a table; --json prints all."""


def tables(report: Report) -> Iterator[Table | str]:
    """Yield what to print, the line for scripts last."""
    shown = sorted(report.lines, key=lambda line: line.drift == 0)[:LINES_MAX]
    if shown:
        yield _counts_table(shown)
    if len(report.lines) > len(shown):
        yield f"and {len(report.lines) - len(shown):,} more numbers that agree (--json: all)"
    if report.partitions:
        yield _partition_table(report.partitions)
    yield from report.notes
    yield from _missing(report)
    yield report.line()


def as_json(report: Report) -> dict[str, Any]:
    """Return everything as plain values."""
    return {
        "drift": report.drift,
        "line": report.line(),
        "notes": list(report.notes),
        "counts": [
            {
                "pool": line.pool,
                "entitlement": line.entitlement,
                "class": line.token_class,
                "kafka": line.kafka,
                "ledger": line.ledger,
                "clickhouse": line.clickhouse,
                "clickhouse_in_kafka_range": line.clickhouse_in_range,
                "kafka_is_complete": line.complete,
                "drift": line.drift,
            }
            for line in report.lines
        ],
        "partitions": [_partition_fields(line) for line in report.partitions],
        "settled_before": instant_text(report.settled_before_us),
        "settled_not_emitted": [
            {
                "pool": each.pool,
                "entitlement": each.entitlement,
                "source": each.source,
                "settled": each.settled,
                "emitted": each.emitted,
                "tokens": each.tokens,
            }
            for each in report.missing
        ],
    }


def _counts_table(lines: Sequence[Line]) -> Table:
    table = _table("pool", "entitlement", "class")
    partial = any(not line.complete for line in lines)
    names = ["kafka", *(["same offsets"] if partial else []), "ledger", "clickhouse", "drift"]
    for name in names:
        table.add_column(name, justify="right")
    for line in lines:
        same = [f"{line.clickhouse_in_range:,}"] if partial else []
        table.add_row(
            Text(printable(line.pool)),
            Text(printable(line.entitlement)),
            line.token_class.removesuffix("_tokens").replace("_", " "),
            f"{line.kafka:,}",
            *same,
            f"{line.ledger:,}",
            f"{line.clickhouse:,}",
            f"{line.drift:,}",
        )
    return table


def _partition_table(lines: Sequence[PartitionLine]) -> Table:
    table = _table()
    for name in ("partition", "from", "through", "read", *VERDICTS, "drift"):
        table.add_column(name, justify="right")
    for line in lines:
        kinds = [f"{getattr(line.kafka, name):,}" for name in VERDICTS]
        table.add_row(
            str(line.partition),
            f"{line.start:,}",
            f"{line.cut:,}",
            f"{line.events:,}",
            *kinds,
            "not known" if line.ledger is None else f"{line.drift:,}",
        )
    return table


def _partition_fields(line: PartitionLine) -> dict[str, Any]:
    return {
        "partition": line.partition,
        "from": line.start,
        "through": line.cut,
        "read": line.events,
        "kafka": {name: getattr(line.kafka, name) for name in VERDICTS},
        "ledger": None
        if line.ledger is None
        else {name: getattr(line.ledger, name) for name in VERDICTS},
        "drift": line.drift,
    }


def _missing(report: Report) -> Iterator[Table | str]:
    if not report.settled_before_us:
        return
    before = instant_text(report.settled_before_us)
    if not report.missing:
        yield f"settled but never emitted: nothing, of what was settled before {before}"
        return
    yield f"settled but never emitted, of what was settled before {before}:"
    table = _table("gateway (source)", "pool", "entitlement")
    for name in ("settled", "emitted", "missing"):
        table.add_column(name, justify="right")
    for each in report.missing[:LINES_MAX]:
        table.add_row(
            Text(printable(each.source)),
            Text(printable(each.pool)),
            Text(printable(each.entitlement)),
            f"{each.settled:,}",
            f"{each.emitted:,}",
            f"{each.tokens:,}",
        )
    yield table
    yield f"settled_not_emitted={sum(each.tokens for each in report.missing)}"


def _table(*names: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in names:
        table.add_column(name, overflow="fold")
    return table
