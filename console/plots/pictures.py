"""Pictures: the kinds of plot that there are; each takes plain numbers and writes one file."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, nan
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import (
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    PercentFormatter,
)

from console.plots.canvas import colour, legend_beside, look, picture, shade
from console.plots.curves import Bars, Curve, Panel, Span

PANEL_IN = 2.1
BAR_IN = 0.34


def over_time(
    path: Path, panels: Sequence[Panel], *, title: str, note: str = "", spans: Sequence[Span] = ()
) -> None:
    """Draw curves over seconds, panels below each other."""
    with picture(path, title=title, note=note, heights_in=[PANEL_IN] * len(panels)) as all_axes:
        for axes, panel in zip(all_axes, panels, strict=True):
            shade(axes, spans)
            for number, curve in enumerate(panel.curves):
                _draw(axes, curve, number, held=panel.is_held)
            _frame(axes, panel)
        all_axes[-1].set_xlabel("time (s)")


def against_capacity(
    path: Path,
    panels: Sequence[Panel],
    *,
    capacity: str,
    title: str,
    note: str = "",
    spans: Sequence[Span] = (),
) -> None:
    """Draw the curves of each panel on top of each other, below the one named ``capacity``.

    All panels have the same scale.
    """
    top = max((_top(panel, capacity) for panel in panels), default=0.0)
    with picture(path, title=title, note=note, heights_in=[PANEL_IN] * len(panels)) as all_axes:
        for axes, panel in zip(all_axes, panels, strict=True):
            shade(axes, spans)
            _stack(axes, [curve for curve in panel.curves if curve.name != capacity])
            for curve in panel.curves:
                if curve.name == capacity:
                    axes.plot(
                        curve.xs,
                        gaps(curve.ys),
                        drawstyle="steps-post",
                        color="black",
                        label=capacity,
                    )
            _frame(axes, panel)
            axes.set_ylim(0, top * 1.08 or 1.0)
            axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        all_axes[-1].set_xlabel("time (s)")


def distribution(path: Path, panels: Sequence[Panel], *, title: str, note: str = "") -> None:
    """Draw which part of the requests (y, 0 to 1) took at most so long (x, seconds, log)."""
    times = [x for panel in panels for curve in panel.curves for x in curve.xs if x > 0]
    with picture(path, title=title, note=note, heights_in=[PANEL_IN] * len(panels)) as all_axes:
        for axes, panel in zip(all_axes, panels, strict=True):
            for number, curve in enumerate(panel.curves):
                _draw(axes, curve, number, held=True)
            axes.axhline(0.99, color="#888888", linewidth=0.8)
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(FuncFormatter(_plain))
            axes.xaxis.set_minor_formatter(NullFormatter())
            _frame(axes, panel)
            axes.set_xlim(0.8 * min(times, default=1.0), 1.25 * max(times, default=1.0))
            axes.set_ylim(0, 1.03)
            axes.yaxis.set_major_formatter(PercentFormatter(1))
        all_axes[-1].set_xlabel("seconds (logarithmic); the grey line is the 99th percentile")


def rates(path: Path, groups: Sequence[Bars], *, title: str, note: str = "", x_label: str) -> None:
    """Draw ratios as stacked horizontal bars, one group of bars per panel."""
    names = list(
        dict.fromkeys(part for bars in groups for row in bars.parts.values() for part in row)
    )
    heights = [0.55 + BAR_IN * max(len(bars.parts), 1) for bars in groups]
    longest = max((sum(row.values()) for bars in groups for row in bars.parts.values()), default=0)
    with picture(path, title=title, note=note, heights_in=heights) as all_axes:
        for axes, bars in zip(all_axes, groups, strict=True):
            _bars(axes, bars, names)
            axes.set_xlim(0, min(1.0, longest * 1.12) or 1.0)
            axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0 if longest > 0.1 else 1))
        handles = {
            name: handle
            for axes in all_axes
            for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        if handles:
            all_axes[0].legend(
                handles.values(), handles.keys(), loc="upper left", bbox_to_anchor=(1.005, 1.0)
            )
        all_axes[-1].set_xlabel(x_label)


def growth(
    path: Path,
    curves: Sequence[Curve],
    *,
    title: str,
    x_label: str,
    y_label: str,
    limit: float | None = None,
    limit_name: str = "",
    note: str = "",
) -> None:
    """Draw how something grows with a size; both axes are logarithmic."""
    with picture(path, title=title, note=note, heights_in=[4.0]) as (axes,):
        for number, curve in enumerate(curves):
            axes.plot(
                curve.xs, gaps(curve.ys), marker="o", label=curve.name, **look(curve.name, number)
            )
        if limit is not None:
            axes.axhline(limit, color="#D55E00", linewidth=1, label=limit_name or None)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(_plain))
        axes.yaxis.set_major_formatter(FuncFormatter(_plain))
        axes.xaxis.set_minor_locator(LogLocator(subs=range(2, 10)))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        legend_beside(axes)


def _plain(value: float, _: int) -> str:
    """Return a number of a logarithmic axis as people write it."""
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def gaps(values: Sequence[float | None]) -> list[float]:
    """Return the values with not-a-number where there is none."""
    return [nan if value is None else value for value in values]


def _draw(axes: Axes, curve: Curve, number: int, *, held: bool) -> None:
    axes.plot(
        curve.xs,
        gaps(curve.ys),
        drawstyle="steps-post" if held else "default",
        marker="" if held else ".",
        label=curve.name,
        **look(curve.name, number),
    )


def _top(panel: Panel, capacity: str) -> float:
    """Return how high the stack or the capacity of a panel reaches."""
    stacked = [curve.ys for curve in panel.curves if curve.name != capacity]
    limits = [curve.ys for curve in panel.curves if curve.name == capacity]
    sums = (sum(value or 0.0 for value in values) for values in zip(*stacked, strict=True))
    return max([*sums, *(value or 0.0 for ys in limits for value in ys)], default=0.0)


def _stack(axes: Axes, curves: Sequence[Curve]) -> None:
    if not curves:
        return
    heights = [[0.0 if value is None else value for value in curve.ys] for curve in curves]
    axes.stackplot(
        list(curves[0].xs),
        heights,
        step="post",
        labels=[curve.name for curve in curves],
        colors=[look(curve.name, number)["color"] for number, curve in enumerate(curves)],
        alpha=0.85,
        linewidth=0,
    )


def _frame(axes: Axes, panel: Panel) -> None:
    axes.set_title(panel.title)
    axes.set_ylabel(panel.y_label)
    values = [value for curve in panel.curves for value in gaps(curve.ys) if isfinite(value)]
    lowest, top = min(values, default=0.0), axes.get_ylim()[1]
    axes.set_ylim(min(0.0, lowest * 1.1), max(top, panel.y_max or 0.0))
    axes.margins(x=0)
    legend_beside(axes)


def _bars(axes: Axes, bars: Bars, names: Sequence[str]) -> None:
    axes.set_title(bars.title)
    rows = list(bars.parts)
    left = dict.fromkeys(rows, 0.0)
    for number, name in enumerate(names):
        lengths = [bars.parts[row].get(name, 0.0) for row in rows]
        if not any(lengths):
            continue
        axes.barh(
            range(len(rows)), lengths, left=list(left.values()), color=colour(number), label=name
        )
        left = {row: left[row] + length for row, length in zip(rows, lengths, strict=True)}
    for place, row in enumerate(rows):
        axes.annotate(f" {left[row]:.1%}", (left[row], place), va="center", fontsize=8)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(max(len(rows), 1) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
