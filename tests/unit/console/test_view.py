"""Does the live view fold messages into the right rows?"""

from __future__ import annotations

import io

import msgspec
from rich.console import Console

from console.live.display import pool_line
from console.live.render import p99_ms, reasons_text, screen
from console.live.view import NOTES_MAX, LoopView
from schemas.pools import compile_pool
from schemas.positions import Version
from schemas.reports import AdmitterReport, EntitlementReport
from schemas.scaling import ScaleDecision, ScaleDirection
from schemas.specs import PoolRecord
from schemas.state import AdmissionState
from schemas.ticks import Tick
from schemas.units import Resources
from tests.contract.schemas.samples import EVENT, MESSAGES


def sample(name: str, kind: type) -> object:
    (message,) = [each for each in MESSAGES[name] if isinstance(each, kind)]
    return message


TICK = msgspec.convert(sample("ticks", Tick), Tick, from_attributes=True)
STATE = msgspec.convert(sample("admission-state", AdmissionState), AdmissionState)
DECISION = msgspec.convert(sample("scale-decisions", ScaleDecision), ScaleDecision)


def report(incarnation: str, **counters: object) -> AdmitterReport:
    row = msgspec.structs.replace(EntitlementReport(entitlement="acme-chat"), **counters)
    return AdmitterReport(
        pool="chat", incarnation=incarnation, url="u", sequence=1, entitlements=(row,)
    )


def test_counters_of_every_incarnation_add_up() -> None:
    view = LoopView()
    view.see(TICK)
    view.see(report("a-1", admitted=3, refused={"contended": 1}))
    view.see(report("a-2", admitted=4, refused={"contended": 2, "limit_reached": 1}))

    ((row,),) = [pool.entitlements for pool in view.pools()]

    assert row.admitted == 7
    assert row.refused == {"contended": 3, "limit_reached": 1}


def test_a_later_report_replaces_the_earlier_one_of_its_incarnation() -> None:
    view = LoopView()
    view.see(TICK)
    view.see(report("a-1", admitted=3))
    view.see(report("a-1", admitted=5))

    ((row,),) = [pool.entitlements for pool in view.pools()]

    assert row.admitted == 5


def test_evictions_are_told_as_they_happen_and_demotions_are_counted() -> None:
    view = LoopView()
    view.see(TICK)
    for incarnation, evicted in (("a-1", 0), ("a-1", 1), ("a-2", 2), ("a-1", 1)):
        view.see(report(incarnation, evicted=evicted, demoted=2))
    ((row,),) = [pool.entitlements for pool in view.pools()]

    assert view.notes(9) == [
        "chat: 1 request was evicted of acme-chat",
        "chat: 2 requests were evicted of acme-chat",
    ]
    assert (row.evicted, row.demoted) == (3, 4)


def test_an_admitters_shares_come_from_the_newest_state() -> None:
    view = LoopView()
    view.see(TICK)
    view.see(report("admitter-1-0a1b2c3d"))
    view.see(STATE)
    newer = msgspec.structs.replace(STATE, version=Version(9, 9, 9), entitlements=())
    view.see(newer)

    ((admitter,),) = [pool.admitters for pool in view.pools()]

    assert admitter.share_slots == 0
    assert admitter.common_slots == 2


def test_the_worst_excess_stands_beside_the_bound_and_ticks_beyond_it_are_counted() -> None:
    view = LoopView()
    for excess, bound in ((0, 0), (3, 4), (2, 1)):
        view.see(
            msgspec.structs.replace(
                TICK, excess=Resources(slots=excess), overshoot_bound=Resources(slots=bound)
            )
        )

    overshoot = view.overshoots()["chat"]

    assert (overshoot.excess_max.slots, overshoot.bound_max.slots) == (3, 4)
    assert (overshoot.beyond, overshoot.ticks) == (1, 3)


def test_scale_decisions_are_told_once_and_only_new_ones() -> None:
    view = LoopView(since_us=DECISION.at_us)
    old = msgspec.structs.replace(DECISION, at_us=DECISION.at_us - 1, desired=9)
    hold = msgspec.structs.replace(DECISION, direction=ScaleDirection.HOLD, desired=1)
    for decision in (old, hold, DECISION, DECISION):
        view.see(decision)

    assert view.scale_decisions == [DECISION]


def test_a_usage_event_gives_its_class_a_time_to_first_token() -> None:
    view = LoopView()
    view.see(EVENT)

    assert {kind.value: times for kind, times in view.ttft_us().items()} == {
        "guaranteed": [200_000]
    }


def test_notes_are_bounded_and_counted() -> None:
    view = LoopView()
    for number in range(NOTES_MAX + 5):
        view.note(str(number))

    assert view.notes_total == NOTES_MAX + 5
    assert view.notes(2) == [str(NOTES_MAX + 3), str(NOTES_MAX + 4)]


def test_p99_is_the_nearest_rank_in_whole_milliseconds_rounded_up() -> None:
    assert p99_ms([1_001]) == 2
    assert p99_ms([number * 1_000 for number in range(1, 201)]) == 198


def test_reasons_stand_most_frequent_first() -> None:
    assert reasons_text({"a": 1, "b": 3, "c": 0}) == "b 3, a 1"


def test_a_whole_screen_can_be_drawn() -> None:
    view = LoopView()
    view.learn(compile_pool(msgspec.convert(sample("pools", PoolRecord), PoolRecord)))
    for message in (TICK, STATE, report("admitter-1-0a1b2c3d", admitted=2), DECISION, EVENT):
        view.see(message)
    drawn = Console(file=io.StringIO(), width=150, record=True)
    drawn.print(screen(view))

    text = drawn.export_text()

    for expected in ("pool chat", "acme-chat", "guaranteed", "1 ready", "P99", "autoscaler"):
        assert expected in text


def test_without_a_terminal_a_pool_is_one_line() -> None:
    view = LoopView()
    view.see(TICK)
    view.see(report("a-1", admitted=2, refused={"contended": 1}))

    line = pool_line(view.pools()[0])

    assert line.startswith("chat: slots 1/6, ")
    assert "acme-chat held 1 debt -0.05 admitted 2 refused 1 (contended 1)" in line
