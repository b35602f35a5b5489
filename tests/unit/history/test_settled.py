"""What was settled and never emitted is named by the gateway that should have emitted it."""

from __future__ import annotations

import pytest

from schemas.reports import OTHER_SOURCES, UNNAMED_SOURCE
from schemas.units import US_PER_MINUTE
from streams.history.settled import (
    GRACE_US,
    Missing,
    SourceUsage,
    missing_of,
    settled_before,
)


def usage(source: str, *, settled: int, emitted: int) -> SourceUsage:
    return SourceUsage("chat", "gold", source, settled, emitted)


def missing(source: str, *, settled: int, emitted: int) -> Missing:
    return Missing(pool="chat", entitlement="gold", source=source, settled=settled, emitted=emitted)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param([usage("a", settled=5, emitted=5)], (), id="all was emitted"),
        pytest.param([usage("a", settled=5, emitted=9)], (), id="requests that still run"),
        pytest.param(
            [usage("a", settled=5, emitted=2), usage("b", settled=5, emitted=9)],
            (missing("a", settled=5, emitted=2),),
            id="one gateway does not cover another",
        ),
        pytest.param(
            [usage(OTHER_SOURCES, settled=5, emitted=0), usage("", settled=0, emitted=5)],
            (),
            id="unlisted gateways emitted it",
        ),
        pytest.param(
            [usage(OTHER_SOURCES, settled=5, emitted=0), usage("a", settled=1, emitted=4)],
            (missing(OTHER_SOURCES, settled=5, emitted=3),),
            id="a listed one emitted what another admitter did not list",
        ),
        pytest.param(
            [
                usage(OTHER_SOURCES, settled=5, emitted=0),
                usage(UNNAMED_SOURCE, settled=5, emitted=0),
                usage("", settled=0, emitted=6),
            ],
            (missing(UNNAMED_SOURCE, settled=5, emitted=1),),
            id="what unlisted ones emitted is used once",
        ),
    ],
)
def test_missing(rows: list[SourceUsage], expected: tuple[Missing, ...]) -> None:
    assert missing_of(rows) == expected


def test_only_minutes_that_ended_before_the_grace_are_compared() -> None:
    now_us = 1_000 * US_PER_MINUTE + 17

    assert settled_before(now_us) % US_PER_MINUTE == 0
    assert now_us - GRACE_US - US_PER_MINUTE < settled_before(now_us) <= now_us - GRACE_US
