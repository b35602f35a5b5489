"""Ticks: versions, takeovers, what is published and that it replays (laws 2, 8 and 9)."""

from __future__ import annotations

import msgspec
import pytest

from schemas.ledger import TickRecord
from schemas.pools import Pool
from schemas.positions import Version
from schemas.reports import AdmitterReport, EntitlementReport
from schemas.specs import ServiceClass
from schemas.state import AdmissionState, EntitlementState
from schemas.ticks import Tick
from schemas.units import NOTHING, Held, Resources
from schemas.wire import decode, encode
from streams.core.homes import home_of
from streams.core.tick import Reported, TickOutcome, TickSources, advance, replay
from tests.unit.streams_core.pools import (
    GIB,
    SECOND_US,
    START_US,
    entitlement,
    pool_of,
    reported,
    sources,
    vector,
)

POOL = pool_of(
    entitlement("g", ServiceClass.GUARANTEED, 6),
    entitlement("e", ServiceClass.ELASTIC, 4),
    entitlement("s", ServiceClass.SPOT),
)
LEASE_US = 5 * SECOND_US


def holding(uid: str, slots: int, *, refused: int = 0) -> EntitlementReport:
    """Return an entitlement that holds and was refused so many slots, 8 s each."""
    return EntitlementReport(
        entitlement=uid,
        held=Held(tokens=120 * slots, kv_bytes=slots * GIB, slots=slots),
        pending=vector(refused),
        expected_duration_ms=8_000,
    )


class Loop:
    """Ticks of one owner, a second apart, with admitters that acknowledge at once."""

    def __init__(self, pool: Pool = POOL, *, generation: int = 1) -> None:
        self.pool = pool
        self.generation = generation
        self.now_us = START_US
        self.sequence = 0
        self.outcome: TickOutcome | None = None
        self.takeover = True

    @property
    def record(self) -> TickRecord | None:
        return None if self.outcome is None else self.outcome.record

    def tick(self, **entries: tuple[EntitlementReport, ...]) -> TickOutcome:
        """Run one tick with the reports of the named admitters."""
        self.sequence += 1
        last = self.record
        applied = last.version if last else Version()
        reports = [
            reported(
                name,
                received_us=self.now_us,
                report=AdmitterReport(
                    pool="chat",
                    incarnation=name,
                    url=f"http://{name}",
                    sequence=self.sequence,
                    applied=applied,
                    entitlements=items,
                ),
            )
            for name, items in entries.items()
        ]
        self.outcome = advance(self.record, self._sources(reports))
        self.now_us += SECOND_US
        self.takeover = False
        return self.outcome

    def _sources(self, reports: list[Reported]) -> TickSources:
        return sources(
            self.pool,
            reports,
            now_us=self.now_us,
            generation=self.generation,
            takeover=self.takeover,
        )


def state_of(outcome: TickOutcome) -> AdmissionState:
    """Return the published state, which is one part."""
    (state,) = outcome.publish
    return state


def entry(state: AdmissionState, uid: str) -> EntitlementState:
    """Return one entitlement of a state."""
    return next(item for item in state.entitlements if item.entitlement == uid)


def usable(state: AdmissionState, uid: str) -> dict[str, int]:
    """Return the usable slots by admitter."""
    return {share.admitter: share.usable.slots for share in entry(state, uid).shares}


def common(state: AdmissionState) -> dict[str, int]:
    """Return the common slots by admitter."""
    return {view.incarnation: view.common.slots for view in state.admitters}


def test_where_nothing_was_stored_everything_is_raised_at_once() -> None:
    state = state_of(Loop().tick(a=(), b=()))

    assert common(state) == {"a": 8, "b": 8}
    assert usable(state, "g") == {entry(state, "g").home: 6}
    assert (usable(state, "e"), usable(state, "s")) == ({}, {})


def test_with_nobody_alive_everything_waits() -> None:
    state = state_of(Loop().tick())

    assert (state.admitters, usable(state, "g")) == ((), {})


def test_a_spot_tenant_is_granted_what_is_free_and_cut_when_elastic_comes() -> None:
    loop = Loop()
    for _ in range(3):
        loop.tick(a=(holding("s", 4, refused=20),), b=())
    assert usable(state_of(loop.tick(a=(holding("s", 16, refused=20),), b=())), "s") == {"a": 16}

    state = state_of(loop.tick(a=(holding("s", 16, refused=20),), b=(holding("e", 0, refused=4),)))
    assert usable(state, "s") == {"a": 12}
    assert usable(state, "e") == {}, "not before the cut is acknowledged and the slots are free"

    for _ in range(2):
        last = loop.tick(a=(holding("s", 12, refused=20),), b=(holding("e", 0, refused=4),))
    assert usable(last.record.state[0], "e") == {"b": 4}


def test_an_idle_floor_is_usable_at_its_home_while_it_is_lent() -> None:
    loop = Loop()
    for _ in range(4):
        last = loop.tick(a=(holding("s", 16, refused=9),), b=())
    state = last.record.state[0]

    assert sum(usable(state, "g").values()) == 6
    assert usable(state, "s") == {"a": 16}
    assert last.tick.overshoot_bound.slots == 6


def test_a_state_is_published_again_after_half_its_lease() -> None:
    loop = Loop()
    published = [bool(loop.tick(a=(), b=()).publish) for _ in range(7)]

    assert published == [True, False, False, True, False, False, True]


def test_the_state_echoes_the_last_report_and_what_it_followed() -> None:
    loop = Loop()
    for _ in range(4):
        last = loop.tick(a=(), b=())

    assert [(view.sequence, view.alive) for view in last.publish[0].admitters] == [(4, True)] * 2


def test_every_tick_has_a_version_of_its_own() -> None:
    loop = Loop(generation=3)

    versions = [loop.tick(a=()).record.version for _ in range(3)]

    assert versions == [Version(3, 3, 1), Version(3, 3, 2), Version(3, 3, 3)]


@pytest.mark.parametrize(
    ("generation", "expected"),
    [
        pytest.param(9, Version(9, 9, 2), id="the group's generation"),
        pytest.param(3, Version(4, 3, 2), id="or one more than was stored"),
    ],
)
def test_a_new_owner_begins_an_epoch(generation: int, expected: Version) -> None:
    loop = Loop(generation=3)
    loop.tick(a=())
    loop.generation, loop.takeover = generation, True

    assert loop.tick(a=()).record.version == expected


def test_a_new_owner_repeats_the_state_until_it_has_heard_everybody_and_raises_nothing() -> None:
    loop = Loop()
    for _ in range(4):
        last = loop.tick(a=(holding("s", 4, refused=4),), b=())
    before = last.record.state[0]
    loop.generation, loop.takeover = 2, True

    unheard = loop.tick()
    heard = loop.tick(a=(holding("s", 4, refused=12),), b=())

    assert state_of(unheard).entitlements == before.entitlements
    assert usable(heard.record.state[0], "s") == usable(before, "s") == {"a": 8}

    for _ in range(6):
        last = loop.tick(a=(holding("s", 4, refused=12),), b=())
    assert usable(last.record.state[0], "s") == {"a": 16}


def test_a_repeated_state_names_the_homes_that_live_now() -> None:
    """A newcomer is home of ``s`` from its first report, before everybody was heard."""
    loop = Loop()
    for _ in range(4):
        before = loop.tick(a=(holding("s", 4),), b=())
    living = {"a": "http://a", "b": "http://b"}
    newcomer = next(
        name for name in "cdefghij" if home_of("s", living | {name: f"http://{name}"}) == name
    )
    loop.generation, loop.takeover = 2, True

    repeated = state_of(loop.tick(**{newcomer: ()}))

    assert entry(repeated, "s").shares == entry(before.record.state[0], "s").shares
    assert entry(repeated, "s").home == newcomer


def test_the_former_owners_debts_are_kept() -> None:
    loop = Loop()
    loop.tick(a=(holding("e", 0, refused=4),))
    owed = loop.tick(a=(holding("e", 0, refused=4),)).record.debts
    loop.generation, loop.takeover = 2, True

    inputs = loop.tick(a=()).tick.inputs.entitlements

    assert {item.entitlement: (item.debt_ppm, item.debt_rest) for item in inputs} == {
        item.entitlement: (item.debt_ppm, item.debt_rest) for item in owed
    }
    assert max(item.debt_ppm for item in inputs) > 0
    assert max(item.debt_rest for item in inputs) > 0


def test_a_change_of_class_forgets_the_debt() -> None:
    loop = Loop()
    loop.tick(a=(holding("e", 0, refused=4),))
    loop.pool = pool_of(entitlement("e", ServiceClass.GUARANTEED, 4))

    assert loop.tick(a=()).tick.inputs.entitlements[0].debt_ppm == 0


def test_what_the_dead_hold_is_kept_from_others_until_it_expires() -> None:
    loop = Loop()
    loop.tick(a=(holding("s", 10),), b=())
    leaving = AdmitterReport(
        pool="chat",
        incarnation="a",
        url="http://a",
        sequence=99,
        leaving=True,
        expires_in_ms=10_000,
        entitlements=(holding("s", 10),),
    )
    assert loop.outcome is not None
    record = loop.outcome.record
    rest = reported("b", holding("e", 0, refused=16), received_us=loop.now_us)

    def grants(at_us: int) -> int:
        """Return the slots that b may use in all by then, ten ticks on."""
        last = record
        for number in range(10):
            applied = msgspec.structs.replace(
                rest.report, sequence=2 + number, applied=last.version
            )
            reports = [reported("", report=leaving), Reported(applied, at_us)]
            outcome = advance(last, sources(POOL, reports, now_us=at_us + number))
            last = outcome.record
        assert outcome is not None
        state = last.state[0]
        return sum(usable(state, "e").values()) + common(state).get("b", 0)

    assert grants(START_US + SECOND_US) == 6
    assert grants(START_US + 12 * SECOND_US) == 16


def test_demoted_requests_are_counted_in_the_common_share_and_fill_no_share() -> None:
    """``e`` has a share of 6 and holds 6 demoted ones: 4 of 16 slots are left for spot."""
    loop = Loop()
    for _ in range(4):
        loop.tick(a=(holding("e", 6),), b=())
    demoted = msgspec.structs.replace(
        holding("e", 6),
        held_above_share=Held(kv_bytes=6 * GIB, slots=6),
        held_demoted=Held(kv_bytes=6 * GIB, slots=6),
    )
    for _ in range(4):
        last = loop.tick(a=(demoted,), b=(holding("s", 0, refused=16),))
    state = last.record.state[0]

    assert usable(state, "e") == {"a": 6}
    assert usable(state, "s") == {"b": 4}


def test_demoted_requests_beyond_a_share_are_all_counted_in_the_common_share() -> None:
    """``e`` has a share of 6, runs 4 in it and 3 demoted ones: 10 may be held, one above it."""
    loop = Loop()
    for _ in range(4):
        loop.tick(a=(holding("e", 6),), b=())
    demoted = msgspec.structs.replace(
        holding("e", 7),
        held_above_share=Held(kv_bytes=3 * GIB, slots=3),
        held_demoted=Held(kv_bytes=3 * GIB, slots=3),
    )
    for _ in range(4):
        last = loop.tick(a=(demoted,), b=(holding("s", 0, refused=16),))
    state = last.record.state[0]

    assert usable(state, "e")["a"] + 3 + usable(state, "s").get("b", 0) <= 16


def test_a_removed_entitlement_loses_its_share_and_its_holdings_still_count() -> None:
    loop = Loop()
    for _ in range(4):
        loop.tick(a=(holding("s", 10),), b=())
    loop.pool = pool_of(entitlement("e", ServiceClass.ELASTIC, 4))

    for _ in range(3):
        last = loop.tick(a=(holding("s", 10),), b=(holding("e", 0, refused=16),))
    state = last.record.state[0]

    assert {item.entitlement for item in state.entitlements} == {"e"}
    assert usable(state, "e") == {"b": 6}
    assert last.tick.held.slots == 10


def test_less_capacity_cuts_at_once_and_the_bound_says_what_is_still_held() -> None:
    loop = Loop(pool_of(entitlement("s", ServiceClass.SPOT), replicas=2))
    for _ in range(4):
        outcome = advance(
            loop.record,
            sources(
                loop.pool,
                [
                    reported(
                        "a",
                        report=AdmitterReport(
                            pool="chat",
                            incarnation="a",
                            url="http://a",
                            sequence=loop.sequence + 1,
                            applied=loop.record.version if loop.record else Version(),
                            entitlements=(holding("s", 30),),
                        ),
                        received_us=loop.now_us,
                    )
                ],
                now_us=loop.now_us,
                replicas=2 if loop.sequence < 3 else 1,
            ),
        )
        loop.outcome, loop.now_us, loop.sequence = (
            outcome,
            loop.now_us + SECOND_US,
            loop.sequence + 1,
        )

    assert entry(state_of(outcome), "s").grant.slots == 16
    assert outcome.tick.excess.slots == 14
    assert outcome.tick.overshoot_bound.slots >= 14


def test_served_tokens_become_a_rate_over_the_tick() -> None:
    outcome = advance(
        None, sources(POOL, elapsed_us=250_000, served_tokens={"e": 20}, takeover=True)
    )
    served = {
        item.entitlement: item.served_tokens_per_s for item in outcome.tick.inputs.entitlements
    }

    assert served == {"e": 80, "g": 0, "s": 0}


def test_a_tick_replays_from_its_bytes_to_the_same_outputs() -> None:
    loop = Loop()
    for number in range(5):
        outcome = loop.tick(
            a=(holding("s", number, refused=9),), b=(holding("e", number, refused=number),)
        )
        read_back = decode(encode(outcome.tick), Tick)

        assert replay(POOL, read_back) == outcome.tick.outputs


def test_the_same_record_and_sources_give_the_same_bytes() -> None:
    reports = [
        reported("b", holding("e", 2, refused=5)),
        reported("a", holding("s", 9, refused=5)),
    ]
    first = advance(None, sources(POOL, reports, takeover=True))
    again = advance(None, sources(POOL, reports[::-1], takeover=True))

    assert encode(first.record) == encode(again.record)
    assert encode(first.tick) == encode(again.tick)

    stored = decode(encode(first.record), TickRecord)
    later = sources(POOL, reports, now_us=START_US + SECOND_US)
    assert encode(advance(stored, later).tick) == encode(advance(first.record, later).tick)


def test_a_silent_admitter_may_still_serve_its_static_safe_share() -> None:
    loop = Loop()
    homes = loop.tick(a=(), b=()).record.homes
    home = homes["g"]
    other = "b" if home == "a" else "a"
    for _ in range(2):
        loop.now_us += 30 * SECOND_US
        last = loop.tick(**{other: ()})
    views = {view.incarnation: view for view in last.record.state[0].admitters}

    assert not views[home].alive
    assert views[home].last_home == tuple(sorted(uid for uid in homes if homes[uid] == home))
    assert last.tick.overshoot_bound.slots >= 6


def test_kv_and_throughput_are_split_like_slots() -> None:
    loop = Loop()
    for _ in range(5):
        last = loop.tick(a=(holding("e", 2, refused=4),), b=(holding("e", 2),))
    shares = entry(last.record.state[0], "e").shares
    total = NOTHING
    for share in shares:
        total += share.usable

    assert total == entry(last.record.state[0], "e").grant == Resources(120, 8 * GIB, 8)
