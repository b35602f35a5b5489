"""What gateways settled is kept by the source that emits its usage events, and reported."""

from __future__ import annotations

from admission.core.reporting import SOURCES_EVERY
from schemas.reports import OTHER_SOURCES, SOURCES_MAX, UNNAMED_SOURCE, AdmitterReport
from schemas.reservations import SettleBody
from tests.unit.admission.pools import FLOOR, World


def world() -> World:
    here = World()
    here.share({"guaranteed": FLOOR})
    return here


def settle(here: World, source: str, *, output_tokens: int = 4) -> None:
    reservation = here.admitted("guaranteed")
    body = SettleBody(input_tokens=10, output_tokens=output_tokens, source=source)
    here.gate.settle(reservation.reservation_id, body, now=here.now)
    here.pass_s(5)


def told(report: AdmitterReport) -> dict[str, int]:
    (line,) = report.entitlements
    return line.settled_by_source


def test_settled_tokens_add_up_by_the_source_that_emits_them() -> None:
    here = world()
    for source in ("one", "two", "one"):
        settle(here, source)

    assert told(here.report(leaving=True)) == {"one": 28, "two": 14}


def test_usage_that_arrives_after_expiry_counts_for_its_source_too() -> None:
    here = world()
    reservation = here.admitted("guaranteed")
    here.pass_s(3_600)
    body = SettleBody(input_tokens=10, source="slow")
    here.gate.settle(reservation.reservation_id, body, now=here.now)

    assert told(here.report(leaving=True)) == {"slow": 10}


def test_a_settlement_without_a_source_is_counted_as_unnamed() -> None:
    here = world()
    settle(here, "")

    assert told(here.report(leaving=True)) == {UNNAMED_SOURCE: 14}


def test_sources_beyond_the_bound_are_summed_up_and_nothing_is_lost() -> None:
    here = world()
    for number in range(SOURCES_MAX + 3):
        settle(here, f"gateway-{number}")
    sources = told(here.report(leaving=True))

    assert len(sources) == SOURCES_MAX + 1
    assert sources[OTHER_SOURCES] == 3 * 14
    assert sum(sources.values()) == (SOURCES_MAX + 3) * 14


def test_every_tenth_tick_tells_the_sources() -> None:
    here = world()
    settle(here, "one")
    ticks = [told(here.report()) for _ in range(2 * SOURCES_EVERY)]

    assert [tick for tick in ticks if tick] == [{"one": 14}, {"one": 14}]
