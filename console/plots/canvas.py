"""Canvas: how every picture looks and how it is written.

The same numbers give the same bytes: no date, no random ids, nobody's matplotlibrc.  Colours are
those of Okabe and Ito, which the colour-blind tell apart; curves differ in their dashes as well.
Nothing global is used, so no window, display or backend of the user's matters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from console.plots.curves import Span
from schemas.errors import SettingsError

FORMATS: Final = ("png", "svg")
WIDTH_IN: Final = 9.0
DOTS_PER_IN: Final = 120
_ANONYMOUS: Final[dict[str, dict[str, str | None]]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
}
_SHADE: Final = "#B8B8B8"
_INK: Final = "#222222"
_STYLE: Final[dict[str, Any]] = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#666666",
    "axes.grid": True,
    "axes.labelcolor": _INK,
    "axes.labelsize": 10,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "figure.titlesize": 13,
    "figure.titleweight": "bold",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "grid.color": "#E4E4E4",
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "svg.fonttype": "path",
    "svg.hashsalt": "tokenpools",
    "text.color": _INK,
}

_CYCLE: Final = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000")
_DASHES: Final = (
    "-",
    (0, (5, 1.5)),
    (0, (1.5, 1)),
    (0, (5, 1, 1, 1)),
    "-",
    (0, (3, 3)),
    (0, (7, 2)),
)
_KNOWN: Final = {
    "dedicated": 6,
    "guaranteed": 0,
    "elastic": 2,
    "spot": 1,
    "preemptible": 4,
    "token-pools": 0,
    "none": 6,
    "windowed": 1,
    "paper-rule": 3,
}
"""Names that always look alike, in every picture."""


def look(name: str, number: int) -> dict[str, Any]:
    """Return colour and dashes for a curve: its own where it is known, else by its place."""
    at = _KNOWN.get(name, number % len(_CYCLE))
    return {"color": _CYCLE[at], "linestyle": _DASHES[at]}


def colour(number: int) -> str:
    """Return the colour of the n-th part of a stack."""
    return _CYCLE[number % len(_CYCLE)]


@contextmanager
def picture(
    path: Path, *, title: str, note: str, heights_in: Sequence[float], columns: int = 1
) -> Iterator[list[Axes]]:
    """Give axes below each other (or in columns) to draw on, then write the file.

    PNG or SVG, as the name ends.
    """
    with style.context(["default", _STYLE]):
        figure = Figure(figsize=(WIDTH_IN, sum(heights_in) + 0.9), layout="constrained")
        grid = figure.subplots(
            len(heights_in),
            columns,
            squeeze=False,
            sharex="col",
            gridspec_kw={"height_ratios": list(heights_in)},
        )
        yield [axes for row in grid for axes in row]
        figure.suptitle(title, x=0.012, ha="left")
        if note:
            figure.supxlabel(note, x=0.012, ha="left", fontsize=8, color="#666666")
        _write(figure, path)


def shade(axes: Axes, spans: Sequence[Span]) -> None:
    """Shade parts of the x axis and name them at the top."""
    for span in spans:
        axes.axvspan(span.start, span.end, color=_SHADE, alpha=0.3, linewidth=0, zorder=0)
        axes.annotate(
            span.name,
            xy=((span.start + span.end) / 2, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, -3),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=8,
            color="#555555",
            bbox={"facecolor": "white", "alpha": 0.65, "linewidth": 0, "pad": 1.5},
            zorder=5,
        )


def legend_beside(axes: Axes) -> None:
    """Put the legend to the right of the axes, where it hides nothing."""
    handles, names = axes.get_legend_handles_labels()
    if names:
        axes.legend(handles, names, loc="upper left", bbox_to_anchor=(1.005, 1.0), borderaxespad=0)


def _write(figure: Figure, path: Path) -> None:
    ending = path.suffix.removeprefix(".")
    if ending not in FORMATS:
        raise SettingsError(f"--format {ending!r}: known are {', '.join(FORMATS)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format=ending, dpi=DOTS_PER_IN, metadata=_ANONYMOUS[ending])
    except OSError as error:
        raise SettingsError(f"--out: {path} cannot be written: {error.strerror}") from error
