"""What did a run come to?  The closing tables: counts that must agree, latency, refusals, money."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from rich.console import Console
from rich.table import Table

from console.live.render import p99_ms, reasons_text
from console.live.view import LoopView, Overshoot
from console.reconcile import Reconciliation
from console.replay.replayer import ReplayResult
from schemas.pools import Pool
from schemas.scaling import ScaleDecision
from schemas.specs import ServiceClass
from schemas.units import BYTES_PER_GIB, US_PER_S
from streams.core.chargeback import Line, Statement, TokenClass

LatencyMs = Mapping[ServiceClass, int]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A finished run and what was read back of it."""

    result: ReplayResult
    reconciliation: Reconciliation
    statement: Statement | None
    """None: ClickHouse did not answer."""
    view: LoopView


def print_summary(console: Console, outcome: Outcome, pools: Sequence[Pool]) -> None:
    """Print everything about one run."""
    result = outcome.result
    console.rule("summary")
    console.print(traffic_line(result))
    console.print(latency_table(result, pools))
    console.print(refusal_table(result))
    for line in room_lines(result):
        console.print(line)
    for line in scale_lines(outcome.view.scale_decisions, started_us=result.started_us):
        console.print(line)
    if outcome.statement is not None:
        console.print(money_table(outcome.statement))
    for line in overshoot_lines(outcome.view.overshoots()):
        console.print(line)
    for line in reconciliation_lines(outcome.reconciliation, settled=settled_tokens(outcome.view)):
        console.print(line, soft_wrap=True, highlight=False)


def traffic_line(result: ReplayResult) -> str:
    """Return what was sent, in one line."""
    snapshot = result.snapshot
    took_s = (result.ended_us - result.started_us) / US_PER_S
    arrived = sum(row.arrived for row in snapshot.entitlements)
    admitted = sum(row.admitted for row in snapshot.entitlements)
    lost = sum(sum(row.lost.values()) for row in snapshot.entitlements)
    extra = "".join(
        f", {count} {name}"
        for name, count in (
            ("bad rows skipped", snapshot.bad_rows),
            ("without an entitlement", snapshot.unmapped),
            ("not sent (inFlightMax)", snapshot.not_sent),
            ("events undelivered", snapshot.events_undelivered),
            ("settlements failed", snapshot.settlements_failed),
        )
        if count
    )
    stopped = " (stopped early)" if result.stopped else ""
    return (
        f"{arrived} requests in {took_s:.1f} s{stopped}: {admitted} admitted, "
        f"{lost} gave up{extra}; replayer at worst {snapshot.late_us_max / 1_000:.0f} ms late"
    )


def latency_by_class(result: ReplayResult, pools: Sequence[Pool]) -> LatencyMs:
    """Return the P99 time to first token of every class that had any, in milliseconds."""
    samples: dict[ServiceClass, list[int]] = {}
    for pool in pools:
        for uid, entitlement in pool.entitlements.items():
            samples.setdefault(entitlement.service_class, []).extend(result.ttft_us.get(uid, ()))
    return {kind: p99_ms(values) for kind, values in samples.items() if values}


def latency_table(result: ReplayResult, pools: Sequence[Pool]) -> Table:
    """Return the times to first token by entitlement."""
    table = Table("entitlement", "class", title="time to first token", title_justify="left")
    for name in ("requests", "admitted", "P99 ms", "SLO ms"):
        table.add_column(name, justify="right")
    by_uid = {row.entitlement: row for row in result.snapshot.entitlements}
    for pool in pools:
        for uid, entitlement in pool.entitlements.items():
            samples = result.ttft_us.get(uid, ())
            row = by_uid.get(uid)
            table.add_row(
                uid,
                entitlement.service_class,
                str(row.arrived if row else 0),
                str(row.admitted if row else 0),
                f"{p99_ms(samples):,}" if samples else "-",
                f"{entitlement.slo_ms:,}",
            )
    return table


def refusal_table(result: ReplayResult) -> Table:
    """Return refusals by class and reason: unique requests, attempts, requests that gave up."""
    table = Table("class", "requests refused", title="refusals", title_justify="left")
    table.add_column("gave up")
    table.add_column("attempts by reason")
    unique: Counter[ServiceClass] = Counter()
    lost: Counter[ServiceClass] = Counter()
    reasons: dict[ServiceClass, Counter[str]] = {}
    for row in result.snapshot.entitlements:
        unique[row.service_class] += row.refused_requests
        lost[row.service_class] += sum(row.lost.values())
        reasons.setdefault(row.service_class, Counter()).update(row.refused)
    for kind in sorted(reasons, key=lambda one: one.rank):
        table.add_row(
            kind, str(unique[kind]), str(lost[kind]), reasons_text(reasons[kind]) or "none"
        )
    return table


def room_lines(result: ReplayResult) -> list[str]:
    """Return who was served as spot beyond their limit, and who had to make room."""
    rows = result.snapshot.entitlements
    demoted = ", ".join(f"{row.entitlement} {row.demoted}" for row in rows if row.demoted)
    evicted = ", ".join(f"{row.entitlement} {row.evicted}" for row in rows if row.evicted)
    lines = [f"demoted (served as spot beyond their own limit): {demoted}"] if demoted else []
    if evicted:
        lines.append(f"evicted (stopped to make room, charged what they produced): {evicted}")
    return lines


def scale_lines(decisions: Sequence[ScaleDecision], *, started_us: int) -> list[str]:
    """Return the scale decisions with the second they were taken in."""
    if not decisions:
        return ["scale decisions: none"]
    return [
        f"scale decision at {(one.at_us - started_us) / US_PER_S:.1f} s: {one.pool} "
        f"{one.current} -> {one.desired} ({one.reason}; demand from {one.source})"
        for one in decisions
    ]


def money_table(statement: Statement) -> Table:
    """Return chargeback by tenant: used, and reserved but idle beside it."""
    table = Table("tenant", "pool", "class", title="chargeback", title_justify="left")
    for name in ("tokens used", "amount", "reserved idle", "idle amount"):
        table.add_column(name, justify="right")
    groups = sorted({_group(row) for row in statement.lines})
    for group in groups:
        lines = [row for row in statement.lines if _group(row) == group]
        used = [row for row in lines if row.token_class is not TokenClass.RESERVED_IDLE]
        idle = [row for row in lines if row.token_class is TokenClass.RESERVED_IDLE]
        table.add_row(
            *group,
            f"{sum(row.tokens for row in used):,}",
            amounts_text([(row.currency, row.amount) for row in used]),
            f"{sum(row.tokens for row in idle):,}",
            amounts_text([(row.currency, row.amount) for row in idle]),
        )
    return table


def _group(line: Line) -> tuple[str, str, str]:
    return line.tenant, line.pool, line.service_class


def amounts_text(amounts: Sequence[tuple[str, Decimal | None]]) -> str:
    """Return sums by currency; what has no price is named and never 0."""
    sums: dict[str, Decimal] = {}
    unpriced = False
    for currency, amount in amounts:
        if amount is None:
            unpriced = True
        else:
            sums[currency] = sums.get(currency, Decimal(0)) + amount
    parts = [f"{amount} {currency}" for currency, amount in sorted(sums.items())]
    return " + ".join(parts + ["unpriced"] * unpriced) or "-"


def overshoot_lines(overshoots: Mapping[str, Overshoot]) -> list[str]:
    """Return the worst excess over capacity of each pool beside the largest bound exported."""
    return [
        f"worst excess over capacity in {name}: {one.excess_max.slots} slots (largest bound "
        f"exported: {one.bound_max.slots}), {one.excess_max.kv_bytes / BYTES_PER_GIB:.2f} GiB of "
        f"KV ({one.bound_max.kv_bytes / BYTES_PER_GIB:.2f}); beyond the bound of the moment in "
        f"{one.beyond} of {one.ticks} ticks"
        for name, one in sorted(overshoots.items())
        if one.ticks
    ]


def settled_tokens(view: LoopView) -> int:
    """Return what the admitters say was settled: beside the three counts, never in them."""
    return sum(report.settled_tokens.total for report in view.counters().values())


def reconciliation_lines(reconciliation: Reconciliation, *, settled: int) -> list[str]:
    """Return the closing lines, one per pool and one for all."""
    lines = [f"could not be read: {problem}" for problem in reconciliation.problems]
    for pool in reconciliation.pools():
        emitted, ledger, clickhouse, drift = reconciliation.of_pool(pool)
        lines.append(
            f"  {pool}: emitted={emitted} ledger={ledger} clickhouse={clickhouse} drift={drift}"
        )
    return [*lines, f"admitters settled={settled}", reconciliation.line()]


def print_comparison(
    console: Console, with_pools: LatencyMs, without: LatencyMs, *, title: str
) -> None:
    """Print both runs side by side; the guaranteed tenants' P99 is the headline."""
    table = Table("class", title=title, title_justify="left")
    table.add_column("token pools: P99 ms", justify="right")
    table.add_column("no admission control: P99 ms", justify="right")
    for kind in sorted({*with_pools, *without}, key=lambda one: one.rank):
        table.add_row(kind, _ms(with_pools.get(kind)), _ms(without.get(kind)))
    console.print(table)
    ours = with_pools.get(ServiceClass.GUARANTEED)
    theirs = without.get(ServiceClass.GUARANTEED)
    if ours is not None and theirs is not None:
        console.print(
            f"[bold]guaranteed tenants' P99 time to first token: {ours:,} ms with token pools, "
            f"{theirs:,} ms without admission control[/]"
        )


def _ms(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
