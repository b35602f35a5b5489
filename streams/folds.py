"""Folds as an operator sees them: counters and gauges of what was folded and what became of it."""

from __future__ import annotations

import logging

from schemas.units import US_PER_S
from schemas.verdicts import VerdictKind
from streams import metrics
from streams.core.outcome import Outcome, States

log = logging.getLogger(__name__)


def count(partition: int, outcome: Outcome, states: States) -> None:
    """Count an outcome; ``states`` hold it already."""
    metrics.READ.labels(partition).inc(outcome.counts.read)
    for kind in VerdictKind:
        number = getattr(outcome.counts, kind.value)
        if number:
            metrics.EVENTS.labels(partition, kind.value).inc(number)
    for verdict in outcome.verdicts:
        if verdict.verdict is VerdictKind.DEAD:
            metrics.DEAD.labels(verdict.reason).inc()
    metrics.MARKS.labels(partition).set(len(states.marks))
    _time(partition, outcome)
    _shrunk(partition, outcome, states)


def _time(partition: int, outcome: Outcome) -> None:
    entry = outcome.partition
    if entry is None:
        return
    metrics.FLOOR.labels(partition).set(entry.floor_us)
    if entry.watermark_us:
        metrics.WATERMARK.labels(partition).set(entry.watermark_us / US_PER_S)
        lag_us = max(0, entry.clock_us - entry.watermark_us)
        metrics.WATERMARK_LAG.labels(partition).set(lag_us / US_PER_S)


def _shrunk(partition: int, outcome: Outcome, states: States) -> None:
    """Say that the memory for ids was too small."""
    if outcome.dropped_by_budget and outcome.partition is not None:
        metrics.HORIZON_CUTS.labels(partition).inc()
        log.warning(
            "event=horizon_cut partition=%d floor_us=%d marks=%d: the budget of marks is full "
            "(TOKENPOOLS_MARKS_MAX); events from before the floor are late",
            partition,
            outcome.partition.floor_us,
            len(states.marks),
        )
    if outcome.gaps_closed:
        metrics.GAPS_CLOSED.labels(partition).inc(outcome.gaps_closed)
        log.warning(
            "event=gaps_closed partition=%d gaps=%d: a gateway's numbers have more gaps than are "
            "remembered; events below the closed ones are late",
            partition,
            outcome.gaps_closed,
        )
