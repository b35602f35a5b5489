"""Every value of a message stands in the column that is named after it."""

from __future__ import annotations

from schemas.decisions import Decision, DecisionKind
from schemas.positions import Position, Version
from schemas.scaling import ScaleDecision, ScaleDirection
from schemas.specs import ServiceClass
from schemas.state import EntitlementStatus
from schemas.ticks import EntitlementInput, EntitlementOutput, ReportPosition, Tick, TickInputs
from schemas.units import Dimension, Held, Resources
from streams.history.tick_rows import (
    decision_row,
    scale_decision_row,
    tick_entitlement_rows,
    tick_row,
)
from streams.history.usage_rows import version_number

TICK = Tick(
    pool="chat",
    model="llama",
    version=Version(1, 2, 3),
    inputs=TickInputs(
        at_us=10,
        elapsed_us=11,
        spec_version=12,
        spec_digest="13",
        capacity_writer="up",
        replicas_ready=14,
        replicas_starting=15,
        replicas_draining=16,
        per_replica=Resources(17, 18, 19),
        ledger=Position(1, 2, 3, 4),
        reports=(
            ReportPosition(incarnation="a", sequence=1),
            ReportPosition(incarnation="b", sequence=1, alive=False),
        ),
        entitlements=(
            EntitlementInput(
                entitlement="gold",
                served_tokens_per_s=40,
                held=Held(41, 42, 43),
                pending=Resources(44, 45, 46),
                expected_duration_ms=47,
                demand=Resources(48, 49, 50),
                debt_ppm=-51,
                burst_ppm=52,
            ),
        ),
    ),
    capacity=Resources(20, 21, 22),
    common=Resources(23, 24, 25),
    headroom_slots=26,
    contended=True,
    overshoot_bound=Resources(27, 28, 29),
    held=Held(30, 31, 32),
    excess=Resources(33, 34, 35),
    outputs=(
        EntitlementOutput(
            entitlement="gold",
            tenant="acme",
            service_class=ServiceClass.ELASTIC,
            status=EntitlementStatus.BOUND,
            floor=Resources(53, 54, 55),
            grant=Resources(56, 57, 58),
            gap_ppm=59,
            debt_ppm=60,
            burst_ppm=61,
            weight_ppm=62,
        ),
        EntitlementOutput(
            entitlement="new",
            service_class=ServiceClass.SPOT,
            status=EntitlementStatus.BOUND,
        ),
    ),
)


def test_a_tick_keeps_every_value_under_its_name() -> None:
    row = tick_row(TICK)._asdict()

    assert {name: value for name, value in row.items() if not isinstance(value, str)} == {
        "at": 10,
        "epoch": 1,
        "generation": 2,
        "tick": 3,
        "elapsed_us": 11,
        "spec_version": 12,
        "replicas_ready": 14,
        "replicas_starting": 15,
        "replicas_draining": 16,
        "per_replica_tokens_per_s": 17,
        "per_replica_kv_bytes": 18,
        "per_replica_slots": 19,
        "admitters": 1,
        "capacity_tokens_per_s": 20,
        "capacity_kv_bytes": 21,
        "capacity_slots": 22,
        "common_tokens_per_s": 23,
        "common_kv_bytes": 24,
        "common_slots": 25,
        "headroom_slots": 26,
        "contended": True,
        "overshoot_bound_tokens_per_s": 27,
        "overshoot_bound_kv_bytes": 28,
        "overshoot_bound_slots": 29,
        "held_tokens": 30,
        "held_kv_bytes": 31,
        "held_slots": 32,
        "excess_tokens_per_s": 33,
        "excess_kv_bytes": 34,
        "excess_slots": 35,
    }
    assert {name: value for name, value in row.items() if isinstance(value, str)} == {
        "pool": "chat",
        "model": "llama",
        "spec_digest": "13",
        "capacity_writer": "up",
        "ledger_position": "1/2/3/4",
    }


def test_an_entitlement_of_a_tick_keeps_every_value_under_its_name() -> None:
    row = tick_entitlement_rows(TICK)[0]._asdict()

    assert {name: value for name, value in row.items() if not isinstance(value, str)} == {
        "at": 10,
        "epoch": 1,
        "generation": 2,
        "tick": 3,
        "elapsed_us": 11,
        "served_tokens_per_s": 40,
        "held_tokens": 41,
        "held_kv_bytes": 42,
        "held_slots": 43,
        "pending_tokens_per_s": 44,
        "pending_kv_bytes": 45,
        "pending_slots": 46,
        "expected_duration_ms": 47,
        "demand_tokens_per_s": 48,
        "demand_kv_bytes": 49,
        "demand_slots": 50,
        "debt_before_ppm": -51,
        "burst_before_ppm": 52,
        "floor_tokens_per_s": 53,
        "floor_kv_bytes": 54,
        "floor_slots": 55,
        "grant_tokens_per_s": 56,
        "grant_kv_bytes": 57,
        "grant_slots": 58,
        "gap_ppm": 59,
        "debt_ppm": 60,
        "burst_ppm": 61,
        "weight_ppm": 62,
    }
    assert (row["entitlement"], row["tenant"], row["service_class"]) == ("gold", "acme", "elastic")


def test_an_entitlement_of_which_nothing_was_known_has_a_row_of_zeros() -> None:
    row = tick_entitlement_rows(TICK)[1]

    assert (row.entitlement, row.demand_slots, row.served_tokens_per_s) == ("new", 0, 0)


def test_a_decision_keeps_every_value_under_its_name() -> None:
    decision = Decision(
        id="a/1",
        at_us=1,
        incarnation="a",
        pool="chat",
        entitlement="gold",
        tenant="acme",
        kind=DecisionKind.REFUSED,
        reason="contended",
        dimension=Dimension.CONCURRENCY,
        served_class=ServiceClass.SPOT,
        count=2,
        unique=False,
        request_id="r",
        reservation_id="v",
        tokens=3,
        kv_bytes=4,
        slots=5,
        retry_after_ms=6,
        shadow=True,
        state_version=Version(7, 8, 9),
        state_age_ms=10,
        dropped=11,
    )

    row = decision_row(decision)._asdict()

    assert list(row.values()) == [
        "a/1", 1, "a", "chat", "gold", "acme", "refused", "contended", "concurrency", "spot",
        2, False, "r", "v", 3, 4, 5, 6, True, 7, 8, 9, 10, 11,
    ]  # fmt: skip
    assert [name for name in row if name.startswith("state_")] == [
        "state_epoch",
        "state_generation",
        "state_tick",
        "state_age_ms",
    ]


def test_a_scale_decision_keeps_every_value_under_its_name() -> None:
    decision = ScaleDecision(
        id="a/1",
        pool="chat",
        at_us=1,
        direction=ScaleDirection.UP,
        current=2,
        ready=3,
        starting=4,
        desired=5,
        raw_desired=6,
        reason="why",
        dimension="concurrency",
        demand=Resources(7, 8, 9),
        floors=Resources(10, 11, 12),
        per_replica=Resources(13, 14, 15),
        window_start_us=16,
        window_end_us=17,
        quantile_ppm=18,
        ticks_seen=19,
        spec_version=20,
    )

    row = scale_decision_row(decision)
    numbers = [value for value in row if isinstance(value, int)]

    assert numbers == list(range(1, 21))
    assert (row.demand_slots, row.floors_slots, row.per_replica_slots) == (9, 12, 15)
    assert (row.window_start, row.window_end, row.source) == (16, 17, "clickhouse")


def test_version_numbers_order_positions_by_epoch_then_offset_then_index() -> None:
    positions = [
        Position(1, 7, 0, 4_095),
        Position(1, 7, 1, 0),
        Position(1, 7, (1 << 63) - 1, 0),
        Position(2, 3, 0, 0),
    ]

    numbers = [version_number(position) for position in positions]

    assert numbers == sorted(set(numbers))
    assert numbers[-1] < 1 << 128
