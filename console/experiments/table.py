"""Table: every policy's figures side by side, the paper's below ours where it has any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from schemas.units import PPM
from simulation.experiments.keys import ENTITLEMENT_KEYS, KEYS, Key
from simulation.experiments.results import ExperimentResult, PaperFigure
from simulation.experiments.statistics import Figure, coverage_ppm, interval_rank


def print_result(console: Console, result: ExperimentResult) -> None:
    """Print what was found, in words and two tables."""
    console.print(f"{result.experiment}: {result.about}", highlight=False)
    console.print(conditions(result), highlight=False)
    if result.work.left_out:
        console.print(left_out(result), style="yellow", highlight=False)
    for each in result.policies:
        console.print(f"  {each.policy}: {each.about}", highlight=False)
    console.print()
    console.print(policy_table(result))
    console.print(entitlement_table(result))
    if result.literal:
        console.print(literal_table(result))


def conditions(result: ExperimentResult) -> str:
    """Return under which conditions the figures hold."""
    admitters = f"{result.admitters} admitter" + ("" if result.admitters == 1 else "s")
    return (
        f"{seeds_text(result.seeds)}; {admitters}; headroom {result.headroom_slots}; "
        f"{interval_text(len(result.seeds))}"
    )


def left_out(result: ExperimentResult) -> str:
    """Return how many requests nobody was charged for, over all policies and seeds."""
    total = result.work.requests + result.work.left_out
    return (
        f"{result.work.left_out:,} of {total:,} requests were left out: the mapping gives them to "
        "no entitlement of the pool"
    )


def seeds_text(seeds: Sequence[int]) -> str:
    """Return which seeds were used."""
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    return f"seeds {seeds[0]} to {seeds[-1]}"


def interval_text(runs: int) -> str:
    """Return what the figures in parentheses are."""
    if runs == 1:
        return "one run, so no interval"
    coverage = 100 * coverage_ppm(runs, interval_rank(runs)) / PPM
    return f"medians of {runs} runs, below them {coverage:.1f} % confidence intervals"


def policy_table(result: ExperimentResult) -> Table:
    """Return the policies' figures; a row for every key that anyone has."""
    table = _table("figures by policy")
    table.add_column("figure", no_wrap=True)
    for each in result.policies:
        table.add_column(each.policy, justify="right", overflow="fold")
    for key in KEYS.values():
        if any(key.name in each.figures for each in result.policies):
            cells = [
                _cell(
                    key,
                    each.figures.get(key.name),
                    result.paper.get(each.policy, {}).get(key.name),
                )
                for each in result.policies
            ]
            table.add_row(key.name, *cells)
    return table


def entitlement_table(result: ExperimentResult) -> Table:
    """Return the medians of every entitlement under every policy."""
    uids = list(dict.fromkeys(uid for each in result.policies for uid in each.entitlements))
    used = [
        key
        for key in ENTITLEMENT_KEYS.values()
        if any(key.name in row for each in result.policies for row in each.entitlements.values())
    ]
    table = _table("medians by entitlement")
    table.add_column("entitlement", no_wrap=True)
    for key in used:
        table.add_column(key.name, justify="right", overflow="fold")
    for uid in uids:
        table.add_row(f"[bold]{uid}[/bold]")
        for each in result.policies:
            figures: Mapping[str, Figure] = each.entitlements.get(uid, {})
            table.add_row(f"  {each.policy}", *(number_text(key, figures) for key in used))
    return table


def literal_table(result: ExperimentResult) -> Table:
    """Return the weights that the paper prints, beside what its equation gives."""
    table = _table("the paper's weights, by its equation (1) letter by letter")
    for title in ("weight", "ours", "paper", "meaning"):
        table.add_column(title)
    for each in result.literal:
        table.add_row(each.name, f"{each.ours:.2f}", each.printed or "-", each.meaning)
    return table


def number_text(key: Key, figures: Mapping[str, Figure]) -> str:
    """Return a median with its unit; a dash where there is none."""
    figure = figures.get(key.name)
    return "-" if figure is None else _number(key, figure.median)


def _table(title: str) -> Table:
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )


def _cell(key: Key, figure: Figure | None, paper: PaperFigure | None) -> str:
    """Return the median, below it the interval, below that what the paper says."""
    if figure is None:
        return "-"
    lines = [_number(key, figure.median)]
    if figure.low != figure.high:
        low, high = (_number(key, each).partition(" ")[0] for each in (figure.low, figure.high))
        lines.append(f"[dim]{low}–{high}[/dim]")
    if paper is not None:
        lines.append(f"[cyan]paper: {escape(paper.text)}[/cyan]")
    return "\n".join(lines)


def _number(key: Key, value: float) -> str:
    if key.name in {"jain_index", "debt_peak"}:
        return f"{value:.3f}"
    if key.unit == "ratio":
        return f"{100 * value:.1f} %"
    if key.unit == "s":
        return f"{value:.2f} s"
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"
