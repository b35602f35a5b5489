"""What an evaluation looks at: ClickHouse, or the topic ticks in its place, and says which."""

from __future__ import annotations

import pytest

from schemas.errors import SettingsError
from schemas.positions import Version
from schemas.scaling import DemandSource, ScaleDirection
from schemas.ticks import EntitlementInput, Tick, TickInputs
from schemas.units import Resources
from streams.autoscaler.evaluate import Span, evaluate, look, span_of
from streams.autoscaler.settings import Settings
from streams.autoscaler.window import Window
from streams.core.scaling import Memory
from streams.history.demand import Demand
from tests.unit.autoscaler.pools import PER_REPLICA, entitlement, pool

S = 1_000_000
POOL = pool(entitlement("e", "elastic", tokensPerSecond=500))
ENVIRON = {"KAFKA_BOOTSTRAP_SERVERS": "kafka:9092", "CLICKHOUSE_DSN": "clickhouse://ch/db"}


def tick(number: int, *, demand: int, at_us: int | None = None) -> Tick:
    return Tick(
        pool="chat",
        version=Version(1, 1, number),
        capacity=PER_REPLICA,
        inputs=TickInputs(
            at_us=number * S if at_us is None else at_us,
            elapsed_us=S,
            spec_version=7,
            replicas_ready=1,
            replicas_starting=1,
            per_replica=PER_REPLICA,
            entitlements=(
                EntitlementInput(entitlement="e", demand=Resources(tokens_per_s=demand)),
            ),
        ),
    )


def window(*ticks: Tick, window_us: int = 60 * S, ticks_max: int = 100) -> Window:
    kept = Window(ticks_max=ticks_max)
    for each in ticks:
        kept.add(each, window_us=window_us, received_us=1)
    return kept


def demands(kept: Window) -> list[int]:
    """What the window holds, by its quantiles."""
    found = []
    for quantile_ppm in (0, 1_000_000):
        demand, _ = kept.demand(start_us=0, end_us=1 << 60, quantile_ppm=quantile_ppm)
        found.append(demand["e"].tokens_per_s)
    return found


def test_a_window_forgets_what_is_older_than_the_pool_looks_at() -> None:
    kept = window(*[tick(number, demand=number) for number in range(100)], window_us=10 * S)

    assert demands(kept) == [89, 99]


def test_a_window_is_bounded_in_ticks_however_long_it_is() -> None:
    kept = window(*[tick(number, demand=number) for number in range(100)], ticks_max=5)

    assert demands(kept) == [95, 99]


def test_a_tick_that_comes_again_or_late_changes_nothing() -> None:
    kept = window(tick(1, demand=1), tick(3, demand=3), tick(3, demand=9), tick(2, demand=9))

    assert demands(kept) == [1, 3]


def test_an_empty_window_has_no_newest_tick() -> None:
    assert Window(ticks_max=1).newest is None


def answered(newest_us: int, tokens_per_s: int = 250) -> Demand:
    return Demand(
        by_entitlement={"e": Resources(tokens_per_s=tokens_per_s)},
        ticks_seen=60,
        newest_us=newest_us,
    )


KEPT = window(*[tick(number, demand=100 + number) for number in range(50)])
SPAN = Span(start_us=0, end_us=49 * S + 1, quantile_ppm=900_000)


def test_clickhouse_is_believed_while_it_keeps_up() -> None:
    looked = look(SPAN, KEPT, answered(45 * S), stale_ms=5_000)

    assert (looked.source, looked.demand["e"].tokens_per_s) == (DemandSource.CLICKHOUSE, 250)
    assert looked.ticks_seen == 60


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        pytest.param("ClickHouse does not answer", "does not answer", id="it is away"),
        pytest.param(answered(43 * S), "lags", id="history lags behind the topic"),
        pytest.param(answered(0), "lags", id="it holds no tick at all"),
    ],
)
def test_the_topic_stands_in_and_says_why(answer: Demand | str, problem: str) -> None:
    looked = look(SPAN, KEPT, answer, stale_ms=5_000)

    assert (looked.source, looked.demand["e"].tokens_per_s) == (DemandSource.TICKS, 145)
    assert looked.ticks_seen == 50
    assert problem in looked.problem


def test_the_window_ends_with_the_newest_tick_by_its_writers_clock() -> None:
    newest = KEPT.newest
    assert newest is not None

    span = span_of(POOL, newest)

    assert (span.start_us, span.end_us) == (49 * S + 1 - 60 * S, 49 * S + 1)
    assert span.quantile_ppm == 900_000


def test_a_decision_says_what_it_looked_at() -> None:
    newest = KEPT.newest
    assert newest is not None
    looked = look(SPAN, KEPT, answered(49 * S), stale_ms=5_000)

    decision, memory = evaluate(POOL, newest, looked, Memory(started_us=0), now_us=60 * S, id="a/1")

    assert (decision.direction, decision.desired, decision.raw_desired) == (
        ScaleDirection.UP,
        3,
        3,
    )
    assert (decision.current, decision.ready, decision.starting) == (2, 1, 1)
    assert (decision.window_start_us, decision.window_end_us) == (0, 49 * S + 1)
    assert (decision.source, decision.quantile_ppm, decision.ticks_seen) == (
        DemandSource.CLICKHOUSE,
        900_000,
        60,
    )
    assert (decision.spec_version, decision.dimension) == (7, "throughput")
    assert (memory.ordered, memory.changed_us) == (3, 60 * S)


def test_the_interval_is_a_setting() -> None:
    environ = ENVIRON | {"TOKENPOOLS_AUTOSCALER_INTERVAL_MS": "1000"}

    assert Settings.from_env(environ, read_text=str).interval_ms == 1_000


def test_an_interval_longer_than_what_counts_as_stale_names_both() -> None:
    environ = ENVIRON | {
        "TOKENPOOLS_AUTOSCALER_INTERVAL_MS": "20000",
        "TOKENPOOLS_AUTOSCALER_STALE_MS": "1000",
    }

    with pytest.raises(SettingsError, match=r"STALE_MS=1000.*INTERVAL_MS=20000"):
        Settings.from_env(environ, read_text=str)
