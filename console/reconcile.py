"""Do the three counts agree?  What was emitted, what the ledger holds, what ClickHouse sums.

Three readers that share no code: the replayer's own file, the ledger's changelog read from Kafka,
SQL over the raw rows.  The ledger counts for ever, so a run compares what was added since its
``Baseline``; ClickHouse is asked for the run's source alone.
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


async def ledger_tokens(kafka: KafkaOptions) -> dict[tuple[str, str], int]:
    """Return what the ledger holds, read from its changelog."""
    totals = await read_ledger(kafka)
    return {key: window.tokens.total for key, window in totals.items()}


async def reconcile(
    emitted: Tokens,
    *,
    baseline: Tokens,
    source: str,
    kafka: KafkaOptions,
    clickhouse: ClickHouseOptions,
) -> Reconciliation:
    """Compare until the three agree or ``SETTLE_S_MAX`` has passed; return the last comparison."""

    async def ledger() -> dict[tuple[str, str], int]:
        return _added(await ledger_tokens(kafka), baseline)

    async def history() -> dict[tuple[str, str], int]:
        counted = await asyncio.to_thread(accepted_totals, clickhouse, sources_like=f"{source}%")
        return {key: row.tokens.total for key, row in counted.items()}

    return await _until_agreed(emitted, ledger=ledger, history=history)


async def _until_agreed(
    emitted: Tokens,
    *,
    ledger: Callable[[], Awaitable[Tokens]],
    history: Callable[[], Awaitable[Tokens]],
) -> Reconciliation:
    deadline_s = time.monotonic() + SETTLE_S_MAX
    while True:
        compared = await _compare(emitted, ledger=ledger, history=history)
        if compared.agrees or time.monotonic() > deadline_s:
            return compared
        await asyncio.sleep(POLL_S)


async def _compare(
    emitted: Tokens,
    *,
    ledger: Callable[[], Awaitable[Tokens]],
    history: Callable[[], Awaitable[Tokens]],
) -> Reconciliation:
    problems: list[str] = []

    async def asked(reader: Callable[[], Awaitable[Tokens]]) -> Tokens:
        try:
            return await reader()
        except UnavailableError as error:
            problems.append(str(error))
            return {}

    in_ledger, in_history = await asked(ledger), await asked(history)
    return Reconciliation(
        emitted=emitted, ledger=in_ledger, clickhouse=in_history, problems=tuple(problems)
    )


def _added(now: Tokens, before: Tokens) -> dict[tuple[str, str], int]:
    added = {key: tokens - before.get(key, 0) for key, tokens in now.items()}
    return {key: tokens for key, tokens in added.items() if tokens}
