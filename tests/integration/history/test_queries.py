"""Usage by period, group and label, and chargeback, from rows in ClickHouse."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from schemas.connections import ClickHouseOptions
from schemas.errors import SettingsError, UnavailableError
from schemas.prices import Price, PriceBook, PricesPerMillion
from schemas.specs import (
    Amounts,
    EntitlementSpec,
    PoolRecord,
    PoolRef,
    PoolSpec,
    Qos,
    Replicas,
    ServiceClass,
)
from schemas.units import Resources
from schemas.wire import encode
from streams.core.chargeback import TokenClass
from streams.core.scaling import quantiles
from streams.history.billing import chargeback, reserved
from streams.history.demand import DemandReader
from streams.history.queries import By, Step, UsageQuery, usage
from streams.history.writer import Writer
from tests.integration.history.records import (
    STORED_MS,
    Stored,
    batch,
    event,
    judged_mark,
    tick,
    usage_record,
)

BERLIN = "Europe/Berlin"
NOW_US = STORED_MS * 1_000
FAR_US = 2 * NOW_US


def entitlement(uid: str, tenant: str, **labels: str) -> EntitlementSpec:
    amounts = Amounts(tokens_per_second=Decimal(100), kv_cache_gib=Decimal(1), concurrency=4)
    return EntitlementSpec(
        uid=uid,
        tenant_id=tenant,
        pool_ref=PoolRef(name="chat"),
        qos=Qos(service_class=ServiceClass.GUARANTEED),
        resources=amounts,
        labels=labels,
    )


POOL = PoolRecord(
    pool=PoolSpec(
        name="chat",
        model="llama",
        replicas=Replicas(min=1, max=4),
        per_replica=Amounts(
            tokens_per_second=Decimal(1_000), kv_cache_gib=Decimal(4), concurrency=16
        ),
        kv_bytes_per_token=1_000,
        price_list="gold-list",
    ),
    entitlements=(
        entitlement("gold", "acme", team="search"),
        entitlement("silver", "acme", team="ads"),
    ),
)


@pytest.fixture
def writer(clickhouse: ClickHouseOptions) -> Iterator[Writer]:
    writer = Writer(clickhouse)
    yield writer
    writer.close()


def at_us(zone: str, *fields: int, fold: int = 0) -> int:
    moment = datetime(*fields, tzinfo=ZoneInfo(zone), fold=fold)  # type: ignore[arg-type,misc]  # year, month, …
    return int(moment.timestamp()) * 1_000_000


def store(
    writer: Writer, *instants_us: int, pools: tuple[Stored, ...] = (), **data: object
) -> None:
    """Store one accepted event for each instant."""
    records = [
        usage_record(offset, event(offset, end_us=instant, **data))
        for offset, instant in enumerate(instants_us)
    ]
    writer.write(batch(pools=pools, usage=records, verdicts=[judged_mark(len(records))]))


def test_a_day_begins_when_the_time_zone_says_so(
    clickhouse: ClickHouseOptions, writer: Writer
) -> None:
    late, early = at_us(BERLIN, 2026, 9, 1, 23, 59), at_us(BERLIN, 2026, 9, 2, 0, 1)
    store(writer, late, early)

    query = UsageQuery(start_us=0, end_us=FAR_US, step=Step.DAY, tz=BERLIN, by=())
    rows = usage(clickhouse, query)

    assert [(row.start_us, row.events) for row in rows] == [
        (at_us(BERLIN, 2026, 9, 1), 1),
        (at_us(BERLIN, 2026, 9, 2), 1),
    ]


def test_the_hour_that_comes_twice_is_two_hours(
    clickhouse: ClickHouseOptions, writer: Writer
) -> None:
    first = at_us(BERLIN, 2025, 10, 26, 2, 30)
    second = at_us(BERLIN, 2025, 10, 26, 2, 30, fold=1)
    store(writer, first, second)

    query = UsageQuery(start_us=0, end_us=FAR_US, step=Step.HOUR, tz=BERLIN, by=())
    rows = usage(clickhouse, query)

    assert [row.start_us for row in rows] == [first - 1_800_000_000, second - 1_800_000_000]


def test_a_month_begins_in_its_time_zone(clickhouse: ClickHouseOptions, writer: Writer) -> None:
    store(writer, at_us(BERLIN, 2026, 8, 31, 23, 59), at_us(BERLIN, 2026, 9, 1))

    query = UsageQuery(start_us=0, end_us=FAR_US, step=Step.MONTH, tz=BERLIN, by=(By.POOL,))
    rows = usage(clickhouse, query)

    assert [row.start_us for row in rows] == [
        at_us(BERLIN, 2026, 8, 1),
        at_us(BERLIN, 2026, 9, 1),
    ]


def test_an_interval_holds_its_start_and_not_its_end(
    clickhouse: ClickHouseOptions, writer: Writer
) -> None:
    store(writer, NOW_US, NOW_US + 1, NOW_US + 2)

    rows = usage(clickhouse, UsageQuery(start_us=NOW_US, end_us=NOW_US + 2, by=()))

    assert [(row.start_us, row.events) for row in rows] == [(NOW_US, 2)]


def test_usage_is_grouped_by_tenant_class_and_label_of_the_entitlement(
    clickhouse: ClickHouseOptions, writer: Writer
) -> None:
    records = [
        usage_record(0, event(0, tenant="an impostor")),
        usage_record(1, event(1, entitlement="silver", demoted=True, served_class="spot")),
        usage_record(2, event(2, entitlement="silver", final=False)),
    ]
    writer.write(batch(pools=[Stored(3, encode(POOL))], usage=records, verdicts=[judged_mark(2)]))

    query = UsageQuery(start_us=0, end_us=FAR_US, by=(By.TENANT, By.CLASS), labels=("team",))
    rows = usage(clickhouse, query)

    assert [(dict(row.group), row.events, row.requests, row.demoted_tokens) for row in rows] == [
        ({"tenant": "acme", "class": "guaranteed", "team": "ads"}, 1, 0, 0),
        ({"tenant": "acme", "class": "guaranteed", "team": "search"}, 1, 1, 0),
        ({"tenant": "acme", "class": "spot", "team": "ads"}, 1, 1, 11),
    ]


@pytest.mark.parametrize(
    ("where", "where_labels", "events"),
    [
        pytest.param({By.POOL: "chat"}, None, 3, id="its pool"),
        pytest.param({By.POOL: "chat", By.TENANT: "other"}, None, 0, id="another tenant"),
        pytest.param({By.MODEL: "llama"}, {"team": "search"}, 3, id="a label"),
        pytest.param({By.TENANT: "' OR 1=1 --"}, None, 0, id="a value is never SQL"),
    ],
)
def test_usage_is_filtered(
    clickhouse: ClickHouseOptions,
    writer: Writer,
    where: dict[By, str],
    where_labels: dict[str, str] | None,
    events: int,
) -> None:
    store(writer, NOW_US, NOW_US, NOW_US, pools=(Stored(3, encode(POOL)),))

    query = UsageQuery(start_us=0, end_us=FAR_US, by=(), where=where, where_labels=where_labels)

    assert sum(row.events for row in usage(clickhouse, query)) == events


def test_a_time_zone_that_is_none_is_named(clickhouse: ClickHouseOptions) -> None:
    with pytest.raises(SettingsError, match="Mars/Olympus"):
        usage(clickhouse, UsageQuery(start_us=0, end_us=1, tz="Mars/Olympus"))


def test_an_absent_clickhouse_is_named_with_its_setting() -> None:
    nowhere = ClickHouseOptions("127.0.0.1", 1, "d", password="hush")

    with pytest.raises(UnavailableError, match="CLICKHOUSE_DSN") as raised:
        usage(nowhere, UsageQuery(start_us=0, end_us=1))

    assert "hush" not in str(raised.value)


def test_chargeback_splits_where_a_price_changes_and_sums_to_what_counted(
    clickhouse: ClickHouseOptions, writer: Writer
) -> None:
    store(
        writer,
        *[NOW_US + second * 1_000_000 for second in range(10)],
        pools=(Stored(3, encode(POOL)),),
    )
    book = PriceBook(
        prices=tuple(
            Price(
                price_list="gold-list",
                currency="EUR",
                effective_from=since,
                per_million=PricesPerMillion(input=Decimal(price), output=Decimal(50_000)),
            )
            for since, price in (("2026-01-01", 10_000), ("2026-09-21T14:13:25Z", 20_000))
        )
    )

    statement = chargeback(clickhouse, book, start_us=0, end_us=FAR_US)

    inputs = [
        (line.tokens, line.amount)
        for line in statement.lines
        if line.token_class is TokenClass.INPUT
    ]
    assert inputs == [(50, Decimal("0.50")), (50, Decimal("1.00"))]
    assert statement.tokens == 110
    assert [total.amount for total in statement.totals] == [Decimal("2.00")]


def test_reserved_and_idle_is_counted_tick_by_tick(
    clickhouse: ClickHouseOptions, writer: Writer
) -> None:
    served = (0, 40, 100, 150)
    ticks = [
        encode(tick(number, at_us=NOW_US + number, floor=100, served=amount))
        for number, amount in enumerate(served)
    ]
    records = [Stored(offset, value) for offset, value in enumerate(ticks)]
    writer.write(batch(pools=[Stored(3, encode(POOL))], ticks=records))
    writer.write(batch(ticks=records[2:]))

    rows = reserved(clickhouse, start_us=NOW_US, end_us=NOW_US + 10)

    assert [(row.tenant, row.reserved_tokens, row.idle_tokens) for row in rows] == [
        ("acme", 400, 160)
    ]


@pytest.mark.parametrize("quantile_ppm", [1, 500_000, 900_000, 1_000_000])
def test_clickhouse_takes_the_same_quantile_as_the_core(
    clickhouse: ClickHouseOptions, writer: Writer, quantile_ppm: int
) -> None:
    demands = random.Random(quantile_ppm).choices(range(1_000), k=37)
    writer.write(
        batch(
            ticks=[
                Stored(number, encode(tick(number, at_us=NOW_US + number, demand=demand)))
                for number, demand in enumerate(demands)
            ]
        )
    )
    reader = DemandReader(clickhouse)

    demand = reader.read("chat", start_us=0, end_us=FAR_US, quantile_ppm=quantile_ppm)
    reader.close()

    vectors = [Resources(amount, amount * 10, amount // 10) for amount in demands]
    assert demand.by_entitlement == {"gold": quantiles(vectors, quantile_ppm=quantile_ppm)}
    assert (demand.ticks_seen, demand.newest_us) == (37, NOW_US + 36)
