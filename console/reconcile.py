"""Do the three counts agree?  What was emitted, what the ledger holds, what ClickHouse sums.

Three readers that share no code: the replayer's own file, the ledger's changelog read from Kafka,
SQL over the raw rows.  The ledger counts for ever, so a run compares what was added since its
``Baseline``; ClickHouse is asked for the run's source.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from schemas.connections import ClickHouseOptions, KafkaOptions
from schemas.errors import UnavailableError
from streams.changelog import read_totals as read_ledger
from streams.history.queries import accepted_totals

SETTLE_S_MAX: Final = 45.0
"""How long ledger and history may take to catch up with what was emitted."""

POLL_S: Final = 0.5

Tokens = Mapping[tuple[str, str], int]
"""(pool, entitlement) -> tokens of all classes."""


@dataclass(frozen=True, kw_only=True)
class Reconciliation:
    """The three counts, by (pool, entitlement)."""

    emitted: Tokens
    ledger: Tokens
    clickhouse: Tokens
    problems: tuple[str, ...] = field(default_factory=tuple)
    """Readers that did not answer, in words."""

    @property
    def drift(self) -> int:
        """The sum over entitlements of the largest difference between any two counts."""
        return sum(spread for spread in self.spreads().values())

    @property
    def agrees(self) -> bool:
        """Whether all three readers answered and say the same."""
        return not self.problems and self.drift == 0

    def spreads(self) -> dict[tuple[str, str], int]:
        """Return the largest difference between any two counts of each entitlement."""
        keys = {*self.emitted, *self.ledger, *self.clickhouse}
        return {key: _spread([one.get(key, 0) for one in self._three()]) for key in sorted(keys)}

    def of_pool(self, pool: str) -> tuple[int, int, int, int]:
        """Return emitted, ledger, clickhouse and drift of one pool."""
        emitted, ledger, clickhouse = (
            sum(tokens for (name, _), tokens in counts.items() if name == pool)
            for counts in self._three()
        )
        drift = sum(spread for (name, _), spread in self.spreads().items() if name == pool)
        return emitted, ledger, clickhouse, drift

    def pools(self) -> list[str]:
        """Return the names of the pools that anybody counted in."""
        return sorted({pool for counts in self._three() for pool, _ in counts})

    def line(self) -> str:
        """Return the line that a script may look for."""
        emitted, ledger, clickhouse = (sum(counts.values()) for counts in self._three())
        return (
            f"reconciliation: emitted={emitted} ledger={ledger} "
            f"clickhouse={clickhouse} drift={self.drift}"
        )

    def _three(self) -> tuple[Tokens, Tokens, Tokens]:
        return self.emitted, self.ledger, self.clickhouse


def _spread(counts: list[int]) -> int:
    return max(counts) - min(counts)


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What both had counted before the run."""

    ledger: Tokens
    clickhouse: Tokens


async def baseline_of(kafka: KafkaOptions, clickhouse: ClickHouseOptions) -> Baseline:
    """Return what the ledger and ClickHouse hold now."""
    ledger, history = await asyncio.gather(
        ledger_tokens(kafka), asyncio.to_thread(history_tokens, clickhouse)
    )
    return Baseline(ledger=ledger, clickhouse=history)


async def ledger_tokens(kafka: KafkaOptions) -> dict[tuple[str, str], int]:
    """Return what the ledger holds, read from its changelog."""
    totals = await read_ledger(kafka)
    return {key: window.tokens.total for key, window in totals.items()}


def history_tokens(
    clickhouse: ClickHouseOptions, *, source: str | None = None
) -> dict[tuple[str, str], int]:
    """Return what ClickHouse sums over accepted raw rows, of one source or of all."""
    pattern = None if source is None else f"{source}%"
    counted = accepted_totals(clickhouse, sources_like=pattern)
    return {key: row.tokens.total for key, row in counted.items()}


async def reconcile(
    emitted: Tokens,
    *,
    baseline: Baseline,
    source: str,
    kafka: KafkaOptions,
    clickhouse: ClickHouseOptions,
) -> Reconciliation:
    """Compare until the three agree or ``SETTLE_S_MAX`` has passed; return the last comparison.

    What other gateways sent meanwhile is taken out of the ledger's increase; ClickHouse, which
    knows each event's source, says how much that was.
    """

    async def counts() -> tuple[Tokens, Tokens]:
        ledger = await ledger_tokens(kafka)
        ours = await asyncio.to_thread(history_tokens, clickhouse, source=source)
        every = await asyncio.to_thread(history_tokens, clickhouse)
        others = _less(_less(every, baseline.clickhouse), ours)
        return _less(_less(ledger, baseline.ledger), others), ours

    return await _until_agreed(emitted, counts)


async def _until_agreed(
    emitted: Tokens, counts: Callable[[], Awaitable[tuple[Tokens, Tokens]]]
) -> Reconciliation:
    deadline_s = time.monotonic() + SETTLE_S_MAX
    while True:
        compared = await _compare(emitted, counts)
        if compared.agrees or time.monotonic() > deadline_s:
            return compared
        await asyncio.sleep(POLL_S)


async def _compare(
    emitted: Tokens, counts: Callable[[], Awaitable[tuple[Tokens, Tokens]]]
) -> Reconciliation:
    try:
        ledger, clickhouse = await counts()
    except UnavailableError as error:
        return Reconciliation(emitted=emitted, ledger={}, clickhouse={}, problems=(str(error),))
    return Reconciliation(emitted=emitted, ledger=ledger, clickhouse=clickhouse)


def _less(now: Tokens, before: Tokens) -> dict[tuple[str, str], int]:
    """Return the differences that are not zero."""
    keys = {*now, *before}
    added = {key: now.get(key, 0) - before.get(key, 0) for key in keys}
    return {key: tokens for key, tokens in added.items() if tokens}
