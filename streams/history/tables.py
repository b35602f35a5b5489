"""Tables: which row type fills which table, and the order in which a batch is written.

The order matters to a reader in between: a verdict stands before the mark that judges past it, and
``read_through`` comes last, when the rows that it speaks of are there.
"""

from __future__ import annotations

from typing import Any, Final

from streams.history.settled_rows import SettledRow
from streams.history.tick_rows import (
    DecisionRow,
    EntitlementRow,
    ScaleDecisionRow,
    TickEntitlementRow,
    TickRow,
)
from streams.history.usage_rows import (
    JudgedRow,
    ReadRow,
    RollupOrderRow,
    RollupRow,
    UsageRow,
    VerdictRow,
)

Row = tuple[Any, ...]

TABLES: Final[dict[str, type[Row]]] = {
    "entitlements": EntitlementRow,
    "usage_raw": UsageRow,
    "verdicts": VerdictRow,
    "judged_through": JudgedRow,
    "rollup_orders": RollupOrderRow,
    "rollups": RollupRow,
    "tick_entitlements": TickEntitlementRow,
    "ticks": TickRow,
    "decisions": DecisionRow,
    "scale_decisions": ScaleDecisionRow,
    "settled": SettledRow,
    "read_through": ReadRow,
}
"""In the order of insertion."""

TABLE_OF: Final[dict[type[Row], str]] = {row: table for table, row in TABLES.items()}


def columns_of(table: str) -> tuple[str, ...]:
    """Return the columns that a row of the table fills, in the row's order."""
    fields: tuple[str, ...] = TABLES[table]._fields  # type: ignore[attr-defined]  # NamedTuples
    return fields
