"""How does the loop look on a terminal?  Rows of ``LoopView`` as tables; nothing decided here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from console.live.view import AdmitterRow, EntitlementRow, LoopView, PoolRow
from schemas.specs import ServiceClass
from schemas.units import BYTES_PER_GIB, PPM, US_PER_MS, ceil_div
from simulation.percentiles import p99

EVENT_LINES = 6
BAR_CELLS = 24

CLASS_STYLE: Mapping[ServiceClass, str] = {
    ServiceClass.DEDICATED: "bold cyan",
    ServiceClass.GUARANTEED: "green",
    ServiceClass.ELASTIC: "yellow",
    ServiceClass.SPOT: "magenta",
    ServiceClass.PREEMPTIBLE: "red",
}


def screen(view: LoopView, *, head: Sequence[RenderableType] = ()) -> RenderableType:
    """Return the whole screen: progress, pools, latency by class, latest events."""
    pools = view.pools()
    body: list[RenderableType] = list(head)
    body += [pool_panel(pool) for pool in pools] or [Text("waiting for the first tick ...")]
    body.append(latency_line(view))
    body.append(events_panel(view.notes(EVENT_LINES)))
    return Group(*body)


def pool_panel(pool: PoolRow) -> RenderableType:
    """Return one pool: capacity and use, entitlements, admitters."""
    return Panel(
        Group(
            _capacity(pool), entitlement_table(pool.entitlements), admitter_table(pool.admitters)
        ),
        title=f"pool [bold]{pool.name}[/] · {pool.model} · state {pool.version}",
        subtitle=replicas_text(pool),
        border_style="red" if pool.contended else "blue",
    )


def replicas_text(pool: PoolRow) -> str:
    """Return replicas wanted and ready in words."""
    wanted = "-" if pool.desired is None else str(pool.desired)
    extra = f", {pool.draining} draining" if pool.draining else ""
    return f"replicas: {pool.ready} ready, {pool.starting} starting{extra}, {wanted} wanted"


def _capacity(pool: PoolRow) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    rows = (
        ("slots", pool.held_slots, pool.capacity.slots, "{:,}"),
        ("tokens/s", pool.served_tokens_per_s, pool.capacity.tokens_per_s, "{:,}"),
    )
    for name, used, capacity, shape in rows:
        grid.add_row(
            name, _bar(used, capacity), f"{shape.format(used)} of {shape.format(capacity)}"
        )
    grid.add_row(
        "KV cache",
        _bar(pool.held_kv_bytes, pool.capacity.kv_bytes),
        f"{_gib(pool.held_kv_bytes)} of {_gib(pool.capacity.kv_bytes)} GiB",
    )
    return grid


def _bar(used: int, capacity: int) -> ProgressBar:
    return ProgressBar(total=max(capacity, 1), completed=min(used, capacity), width=BAR_CELLS)


def _gib(amount_bytes: int) -> str:
    return f"{amount_bytes / BYTES_PER_GIB:.2f}"


def entitlement_table(rows: Iterable[EntitlementRow]) -> Table:
    """Return the entitlements in class order."""
    table = Table(expand=True, box=None, pad_edge=False)
    for name in ("entitlement", "class"):
        table.add_column(name, no_wrap=True)
    for name in ("floor", "grant", "held", "tokens/s", "debt", "admitted", "refused"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("why", ratio=1, no_wrap=True)
    for row in rows:
        table.add_row(
            row.entitlement,
            Text(row.service_class, style=CLASS_STYLE[row.service_class]),
            str(row.floor.slots),
            str(row.grant.slots),
            str(row.held_slots),
            f"{row.served_tokens_per_s:,}",
            debt_text(row.debt_ppm),
            _admitted(row),
            str(sum(row.refused.values())),
            reasons_text(row.refused),
        )
    return table


def _admitted(row: EntitlementRow) -> str:
    counts = (("demoted", row.demoted), ("evicted", row.evicted))
    extra = ", ".join(f"{count} {name}" for name, count in counts if count)
    return f"{row.admitted} ({extra})" if extra else str(row.admitted)


def debt_text(debt_ppm: int) -> Text:
    """Return a debt as a signed share of the baseline, coloured by who owes."""
    style = "bold red" if debt_ppm > PPM // 20 else "blue" if debt_ppm < 0 else "dim"
    return Text(f"{debt_ppm / PPM:+.2f}", style=style)


def reasons_text(refused: Mapping[str, int]) -> str:
    """Return the reasons of refusals, most frequent first."""
    ordered = sorted(refused.items(), key=lambda item: -item[1])
    return ", ".join(f"{reason} {count}" for reason, count in ordered if count)


def admitter_table(rows: Iterable[AdmitterRow]) -> Table:
    """Return the admitters with the age of their state and their shares."""
    table = Table(expand=True, box=None, pad_edge=False, header_style="dim")
    table.add_column("admitter", no_wrap=True, ratio=1)
    for name in ("state age", "state", "share slots", "common slots", "held slots"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        name = f"{row.incarnation} (left)" if row.leaving else row.incarnation
        table.add_row(
            name,
            f"{row.state_age_ms} ms",
            str(row.applied),
            str(row.share_slots),
            str(row.common_slots),
            str(row.held_slots),
            style="dim" if row.leaving else "",
        )
    return table


def latency_line(view: LoopView) -> RenderableType:
    """Return the P99 time to first token by class."""
    parts = [
        f"[{CLASS_STYLE[kind]}]{kind}[/] {p99_ms(samples):,} ms ({len(samples)})"
        for kind, samples in sorted(view.ttft_us().items(), key=lambda item: item[0].rank)
        if samples
    ]
    return Text.from_markup("P99 time to first token: " + (" · ".join(parts) or "nothing yet"))


def p99_ms(samples_us: Sequence[int]) -> int:
    """Return the 99th percentile of at least one sample in milliseconds, rounded up."""
    worst_us = p99(samples_us)
    assert worst_us is not None
    return ceil_div(worst_us, US_PER_MS)


def events_panel(events: Sequence[str]) -> RenderableType:
    """Return the latest events."""
    return Panel(Text("\n".join(events) or "nothing yet"), title="events", border_style="dim")
