"""Paper: what arXiv 2603.00356 reports for each key, policy by policy.

Only what the paper says itself; where it gives words or a bound, ``value`` is None and ``text``
has them.  ``none`` is the paper's baseline (every request admitted).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from simulation.experiments.results import PaperFigure


def _said(*figures: PaperFigure) -> Mapping[str, PaperFigure]:
    return {figure.key: figure for figure in figures}


_CROSS_CLASS: Final = {
    "token-pools": _said(
        PaperFigure(key="guaranteed_p99_ttft_s", value=1.2, text="< 1.2"),
        PaperFigure(key="waiting_max", value=0, text="empty"),
        PaperFigure(key="spot_throttle_rate", value=0.47, text="47 %"),
        PaperFigure(key="guaranteed_floor_refusals", value=0, text="none"),
        PaperFigure(key="utilisation", value=None, text="about 100 %"),
    ),
    "none": _said(
        PaperFigure(key="guaranteed_p99_ttft_s", value=19, text="19+"),
        PaperFigure(key="waiting_max", value=34, text="34"),
        PaperFigure(key="spot_throttle_rate", value=0, text="0"),
        PaperFigure(key="utilisation", value=None, text="about 100 %"),
    ),
}

_FAIR_SHARE: Final = {
    "token-pools": _said(
        PaperFigure(key="debt_peak", value=0.775, text="0.775 (synth), 0.607 (copilot)"),
        PaperFigure(key="debt_recovery_s", value=50, text="about 50"),
    ),
}

PAPER: Final[Mapping[str, Mapping[str, Mapping[str, PaperFigure]]]] = {
    "paper-1": _CROSS_CLASS,
    "paper-1-retries": _CROSS_CLASS,
    "paper-2": _FAIR_SHARE,
}
"""Experiment -> policy -> key -> what the paper says."""
