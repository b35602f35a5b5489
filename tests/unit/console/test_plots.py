"""Plots are PNG or SVG, the same numbers are the same bytes, and errors name the option."""

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from console.plots.curves import Bars, Curve, Panel, Span
from console.plots.pictures import against_capacity, distribution, gaps, growth, over_time, rates
from schemas.errors import SettingsError

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
SVG_TAG = "{http://www.w3.org/2000/svg}svg"
TIMES = (0.0, 1.0, 2.0, 3.0)
SPANS = [Span(name="overload", start=1, end=2)]
RISING = Curve(name="token-pools", xs=TIMES, ys=(0, 1, None, 3))
FLAT = Curve(name="capacity", xs=TIMES, ys=(2, 2, 2, 2))
PANEL = Panel(title="a panel", curves=[RISING, FLAT], y_label="requests")
EMPTY = Panel(title="nothing", curves=[], y_label="requests")
BARS = Bars(title="token-pools", parts={"guaranteed": {}, "spot": {"contended": 0.4, "limit": 0.1}})
NO_BARS = Bars(title="none", parts={})

Draw = Callable[[Path], None]
DRAWINGS: dict[str, Draw] = {
    "over_time": lambda path: over_time(path, [PANEL, EMPTY], title="t", note="n", spans=SPANS),
    "points": lambda path: over_time(
        path, [Panel(title="", curves=[RISING], y_label="s", y_max=9, is_held=False)], title="t"
    ),
    "against_capacity": lambda path: against_capacity(
        path, [PANEL, EMPTY], capacity="capacity", title="t", note="n", spans=SPANS
    ),
    "distribution": lambda path: distribution(path, [PANEL, EMPTY], title="t"),
    "distribution of nothing": lambda path: distribution(path, [EMPTY], title="t"),
    "rates": lambda path: rates(path, [BARS, NO_BARS], title="t", x_label="x"),
    "rates of nothing": lambda path: rates(path, [NO_BARS], title="t", x_label="x"),
    "growth": lambda path: growth(
        path,
        [Curve(name="tick", xs=(10, 100, 1_000), ys=(0.1, 1.0, 12.0))],
        title="t",
        x_label="entitlements",
        y_label="ms",
        limit=50,
        limit_name="target",
    ),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_every_kind_of_picture_is_an_svg_that_parses(name: str, tmp_path: Path) -> None:
    DRAWINGS[name](tmp_path / "new" / "a.svg")

    assert ElementTree.fromstring((tmp_path / "new" / "a.svg").read_text()).tag == SVG_TAG


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_same_numbers_are_the_same_bytes(ending: str, tmp_path: Path) -> None:
    first, second = tmp_path / f"a.{ending}", tmp_path / f"b.{ending}"

    DRAWINGS["over_time"](first)
    DRAWINGS["over_time"](second)

    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes().startswith(PNG_MAGIC if ending == "png" else b"<?xml")


def test_a_picture_names_no_date_and_no_tool(tmp_path: Path) -> None:
    for ending in ("svg", "png"):
        DRAWINGS["over_time"](tmp_path / f"a.{ending}")
    text = (tmp_path / "a.svg").read_text() + (tmp_path / "a.png").read_bytes().decode("latin-1")

    assert "dc:date" not in text
    assert "Matplotlib" not in text


def test_a_gap_is_drawn_as_a_gap() -> None:
    first, second = gaps([1, None])

    assert first == 1
    assert second != second  # noqa: PLR0124 # only not-a-number differs from itself


def test_another_ending_names_the_option(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--format 'pdf'"):
        DRAWINGS["over_time"](tmp_path / "a.pdf")


def test_a_folder_that_is_a_file_names_the_option(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(SettingsError, match=r"--out: .* cannot be written"):
        DRAWINGS["over_time"](tmp_path / "file" / "a.png")
