"""Curves: what is drawn, as plain numbers, before any drawing library is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One line: ``ys[i]`` at ``xs[i]``; None is a gap."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float | None]


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One of the pictures that stand above each other in a file and share their x axis."""

    title: str
    curves: Sequence[Curve]
    y_label: str
    y_max: float | None = None
    """The axis reaches at least so far."""
    is_held: bool = True
    """Each value holds until the next; else points are joined by straight lines."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """A part of the x axis to shade, and its name."""

    name: str
    start: float
    end: float


@dataclass(frozen=True, kw_only=True)
class Bars:
    """One group of stacked bars: for each bar its parts, which add up to its length."""

    title: str
    parts: Mapping[str, Mapping[str, float]]
    """Bar -> part -> a ratio from 0 to 1."""
