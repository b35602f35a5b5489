"""Pools and price files: read exactly, and every mistake named by its path."""

from decimal import Decimal
from pathlib import Path

import pytest

from console.poolsfile import parse_pools, parse_prices, read_pools, read_prices
from schemas.errors import SpecError
from schemas.pools import compile_pool
from simulation.catalog import SCENE, WORKLOADS
from simulation.mapping import Mapper, MappingRule

SCENES = Path(__file__).parents[3] / "console" / "scenes"
POOL = """
pools:
  - name: chat
    model: m
    replicas: {min: 1, max: 2}
    perReplica: {tokensPerSecond: 240, kvCacheGiB: 1.1, concurrency: 16}
    kvBytesPerToken: 1000
"""
ENTITLEMENT = """
entitlements:
  - uid: a
    tenantId: acme
    poolRef: {name: chat}
    qos: {serviceClass: guaranteed}
    resources: {tokensPerSecond: 90, kvCacheGiB: 0.1, concurrency: 6}
    expiresAt: 2030-01-01T00:00:00Z
"""
SPOT = """
entitlements:
  - {uid: s, tenantId: acme, poolRef: {name: chat}, qos: {serviceClass: spot}}
"""


def test_a_pool_is_read_with_its_entitlements_and_digest() -> None:
    (record,) = parse_pools(POOL + ENTITLEMENT).records

    assert record.pool.per_replica.kv_cache_gib == Decimal("1.1")
    assert [each.uid for each in record.entitlements] == ["a"]
    assert record.entitlements[0].expires_at == "2030-01-01T00:00:00Z"
    assert len(record.digest) == 64


@pytest.mark.parametrize(
    ("text", "path"),
    [
        pytest.param("", "yaml", id="empty"),
        pytest.param("- pools", "yaml", id="a list"),
        pytest.param("pools: [", "yaml", id="no YAML"),
        pytest.param("pools: []\npools: []", "yaml", id="a key twice"),
        pytest.param("? [1, 2]\n: 3", "yaml", id="a key that is a list"),
        pytest.param("pools: []", "pools", id="no pool"),
        pytest.param("pools: 3", "pools", id="pools is a number"),
        pytest.param(POOL + "extra: 1", "extra", id="unknown section"),
        pytest.param(POOL + "    kvBytes: 1", "pools[0].kvBytes", id="unknown field"),
        pytest.param(
            POOL.replace("concurrency", "slots"), "pools[0].perReplica.slots", id="unknown inside"
        ),
        pytest.param(
            POOL.replace("1000", "many"), "pools[0].kvBytesPerToken", id="text for a number"
        ),
        pytest.param(POOL.replace("1.1", ".inf"), "yaml", id="infinite"),
        pytest.param(
            POOL + POOL.replace("pools:\n", "").replace("\n\n", "\n"),
            "pools[1].name",
            id="a pool twice",
        ),
        pytest.param(
            POOL + ENTITLEMENT.replace("name: chat", "name: none"),
            "entitlements[0].poolRef.name",
            id="an entitlement of no pool",
        ),
        pytest.param(
            POOL + ENTITLEMENT.replace("concurrency: 6", "concurrency: 60"),
            "entitlements",
            id="floors above the pool",
        ),
        pytest.param(
            POOL + "replay: {mapping: {rule: by_luck}}", "replay.mapping.rule", id="no such rule"
        ),
        pytest.param(
            POOL + "replay: {mapping: {default: b}}", "replay.mapping.default", id="no entitlement"
        ),
        pytest.param(POOL + "replay: {speed: 3}", "replay.speed", id="no such replay field"),
        pytest.param(
            POOL + ENTITLEMENT + "replay: {clients: {demotion: [a, b]}}",
            "replay.clients.demotion[1]",
            id="nobody to demote",
        ),
        pytest.param(
            POOL + SPOT + "replay: {clients: {demotion: [s]}}",
            "replay.clients.demotion[0]",
            id="nothing to demote from",
        ),
    ],
)
def test_a_mistake_is_named_by_its_path(text: str, path: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_pools(text)

    assert caught.value.field == path


def test_floors_above_the_pool_are_refused_with_the_numbers() -> None:
    text = POOL + ENTITLEMENT.replace("concurrency: 6", "concurrency: 33")

    with pytest.raises(SpecError, match=r"sum to 33 in concurrency, but .* gives 32"):
        parse_pools(text)


def test_a_price_needs_a_real_date() -> None:
    text = "prices: [{currency: USD, effectiveFrom: 2026-02-31, perMillion: {input: 1.5}}]"

    with pytest.raises(SpecError) as caught:
        parse_prices(text)

    assert caught.value.field == "prices[0].effectiveFrom"


def test_prices_are_exact() -> None:
    book = parse_prices(
        "prices: [{currency: USD, effectiveFrom: 2026-02-01, perMillion: {input: 0.10}}]"
    )

    assert book.prices[0].per_million.input == Decimal("0.10")
    assert book.prices[0].per_million.output is None


@pytest.mark.parametrize("name", ["default", "trace"])
def test_the_scenes_that_come_with_it_compile(name: str) -> None:
    pools = read_pools(SCENES / f"{name}.yaml")

    assert [compile_pool(record).digest for record in pools.records] == [
        record.digest for record in pools.records
    ]
    assert pools.replay.workload in ("", *WORKLOADS)


def test_the_prices_that_come_with_it_cover_every_class() -> None:
    assert {price.service_class for price in read_prices(SCENES / "prices.yaml").prices} >= {"*"}


def test_every_tenant_of_the_scene_has_an_entitlement() -> None:
    pools = read_pools(SCENES / "default.yaml")
    (record,) = pools.records
    mapper = Mapper(
        pools.replay.mapping.tenants, [(each.uid, each.tenant_id) for each in record.entitlements]
    )

    from simulation.workloads import generate

    for arrival in generate(SCENE, seed=1):
        assert mapper.entitlement_of(arrival) == arrival.tenant
    assert pools.replay.mapping.rule is MappingRule.BY_NAME
