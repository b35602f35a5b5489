"""Which specs are accepted, and does a refusal name the value that must change?"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from schemas.errors import SpecError
from schemas.pools import Pool, compile_pool
from schemas.specs import EntitlementSpec, PoolRecord, PoolSpec, ServiceClass, unknown_fields
from schemas.units import BYTES_PER_GIB, NOTHING, Resources, TokenCounts

POOL: dict[str, Any] = {
    "name": "chat",
    "model": "example/model-8b",
    "replicas": {"min": 1, "max": 2},
    "perReplica": {"tokensPerSecond": 240, "kvCacheGiB": 2, "concurrency": 16},
    "kvBytesPerToken": 1_000,
}
GUARANTEED: dict[str, Any] = {
    "uid": "acme",
    "tenantId": "acme",
    "poolRef": {"name": "chat"},
    "qos": {"serviceClass": "guaranteed", "sloTargetMs": 200},
    "resources": {"tokensPerSecond": 90, "kvCacheGiB": 0.5, "concurrency": 6},
}
SPOT: dict[str, Any] = GUARANTEED | {"uid": "batch", "qos": {"serviceClass": "spot"}}
del SPOT["resources"]


def compiled(*entitlements: dict[str, Any], **pool: Any) -> Pool:
    spec = msgspec.convert(POOL | pool, PoolSpec)
    specs = tuple(msgspec.convert(one, EntitlementSpec) for one in entitlements)
    return compile_pool(PoolRecord(pool=spec, entitlements=specs))


def test_amounts_become_integers_and_fractions_are_rounded_down() -> None:
    pool = compiled(GUARANTEED, perReplica=POOL["perReplica"] | {"tokensPerSecond": 240.9})

    assert pool.per_replica == Resources(240, 2 * BYTES_PER_GIB, 16)
    assert pool.entitlements["acme"].floor == Resources(90, BYTES_PER_GIB // 2, 6)


@pytest.mark.parametrize(
    ("bytes_per_value", "expected"),
    [
        pytest.param(2, 147_456, id="16-bit values"),
        pytest.param(1, 73_728, id="8-bit values"),
        pytest.param("0.5", 36_864, id="4-bit values"),
        pytest.param("0.5625", 41_472, id="4-bit values with a scale of 16 bits for every 32"),
        pytest.param("0.00001", 1, id="a fraction of a byte is a byte"),
    ],
)
def test_kv_bytes_per_token_follow_from_the_shape_of_the_model(
    bytes_per_value: int | str, expected: int
) -> None:
    shape = {"layers": 36, "kvHeads": 8, "headDim": 128, "bytesPerValue": bytes_per_value}

    pool = compiled(kvBytesPerToken=None, modelShape=shape)

    assert pool.kv_bytes_per_token == expected


@pytest.mark.parametrize(
    ("change", "given"),
    [
        pytest.param({"kvBytesPerToken": None}, "neither is", id="neither"),
        pytest.param(
            {"modelShape": {"layers": 36, "kvHeads": 8, "headDim": 128}}, "both are", id="both"
        ),
    ],
)
def test_a_pool_names_its_kv_bytes_per_token_or_its_shape_and_not_both(
    change: dict[str, Any], given: str
) -> None:
    with pytest.raises(SpecError, match=f"kvBytesPerToken and pool.modelShape; {given} given"):
        compiled(**change)


def test_a_typing_error_in_the_shape_is_found() -> None:
    shape = {"layers": 36, "kv_heads": 8, "headDim": 128}

    assert unknown_fields(POOL | {"modelShape": shape}, PoolSpec) == ["modelShape.kv_heads"]


def test_a_guaranteed_entitlement_may_not_burst_and_lends_its_idle_floor() -> None:
    acme = compiled(GUARANTEED).entitlements["acme"]

    assert acme.ceiling == acme.baseline
    assert acme.lendable == acme.baseline


def test_a_dedicated_floor_is_never_lent() -> None:
    dedicated = GUARANTEED | {"qos": {"serviceClass": "dedicated"}}

    assert compiled(dedicated).entitlements["acme"].lendable == NOTHING


def test_an_elastic_baseline_is_no_floor() -> None:
    elastic = GUARANTEED | {"qos": {"serviceClass": "elastic"}}

    acme = compiled(elastic).entitlements["acme"]

    assert acme.floor == NOTHING
    assert acme.baseline.slots == 6


def test_floors_above_what_the_pool_can_ever_have_are_refused_with_the_numbers() -> None:
    greedy = GUARANTEED | {
        "resources": {"tokensPerSecond": 90, "kvCacheGiB": 0.5, "concurrency": 33}
    }

    with pytest.raises(SpecError, match=r"sum to 33 in concurrency.*replicas.max 2.*gives 32"):
        compiled(greedy)


@pytest.mark.parametrize(
    ("entitlement", "field"),
    [
        pytest.param(GUARANTEED | {"uid": "Acme"}, "entitlements[0].uid", id="a bad name"),
        pytest.param(GUARANTEED | {"poolRef": {"name": "x"}}, "poolRef", id="another pool"),
        pytest.param(GUARANTEED | {"resources": {}}, "resources", id="a class without baseline"),
        pytest.param(
            GUARANTEED | {"burst": {"concurrency": 9}}, "burst", id="a burst for a class without"
        ),
        pytest.param(
            SPOT | {"resources": GUARANTEED["resources"]}, "resources", id="a baseline for spot"
        ),
        pytest.param(GUARANTEED | {"keys": ["secret"]}, "keys", id="a key that is no digest"),
        pytest.param(
            GUARANTEED | {"qos": {"serviceClass": "elastic"}, "burst": {"concurrency": 2}},
            "burst",
            id="a burst below the baseline",
        ),
        pytest.param(
            GUARANTEED | {"expiresAt": "2026-12-31T23:59:59"}, "expiresAt", id="no time zone"
        ),
    ],
)
def test_a_bad_entitlement_names_its_field(entitlement: dict[str, Any], field: str) -> None:
    with pytest.raises(SpecError) as refused:
        compiled(entitlement)

    assert field in refused.value.field


@pytest.mark.parametrize(
    ("change", "field"),
    [
        pytest.param({"replicas": {"min": 3, "max": 2}}, "replicas.max", id="max below min"),
        pytest.param({"kvBytesPerToken": 0}, "kvBytesPerToken", id="weightless tokens"),
        pytest.param(
            {"kvBytesPerToken": None, "modelShape": {"layers": 0, "kvHeads": 8, "headDim": 128}},
            "modelShape.layers",
            id="a model without layers",
        ),
        pytest.param(
            {
                "kvBytesPerToken": None,
                "modelShape": {"layers": 1, "kvHeads": 1, "headDim": 1, "bytesPerValue": 0},
            },
            "modelShape.bytesPerValue",
            id="values without bytes",
        ),
        pytest.param(
            {"leases": {"leaseMs": 1500}}, "leases.leaseMs", id="a lease shorter than two ticks"
        ),
        pytest.param({"scaling": {"quantile": 0}}, "scaling.quantile", id="no quantile"),
        pytest.param(
            {"policy": {"debtHalfLifeSeconds": 0}}, "debtHalfLifeSeconds", id="instant debt"
        ),
        pytest.param(
            {"policy": {"burstHalfLifeSeconds": "1e9"}}, "burstHalfLifeSeconds", id="endless burst"
        ),
        pytest.param({"policy": {"alphaSlo": -1}}, "policy.alphaSlo", id="a weight below 0"),
    ],
)
def test_a_bad_pool_names_its_field(change: dict[str, Any], field: str) -> None:
    with pytest.raises(SpecError) as refused:
        compiled(**change)

    assert field in refused.value.field


def test_two_entitlements_may_not_share_a_uid() -> None:
    with pytest.raises(SpecError, match="used twice"):
        compiled(GUARANTEED, GUARANTEED)


def test_a_key_belongs_to_one_entitlement() -> None:
    key = {"keys": ["sha256:" + "a" * 64]}

    with pytest.raises(SpecError, match="also belongs to 'acme'"):
        compiled(GUARANTEED | key, SPOT | key)


def test_a_misspelt_field_is_named_with_its_path() -> None:
    raw = POOL | {"replicas": {"min": 1, "mux": 2}, "kvBytePerToken": 1}

    assert unknown_fields(raw, PoolSpec) == ["replicas.mux", "kvBytePerToken"]


def test_the_cost_of_tokens_is_rounded_up_to_a_whole_token() -> None:
    weights = compiled(costWeights={"input": 0.3, "output": 1}).weights

    assert weights.cost_tokens(TokenCounts(input_tokens=1)) == 1
    assert weights.cost_tokens(TokenCounts(input_tokens=10, output_tokens=2)) == 5


def test_the_digest_does_not_depend_on_who_applied_it_when() -> None:
    record = PoolRecord(pool=msgspec.convert(POOL, PoolSpec))
    later = msgspec.structs.replace(record, applied_us=5)

    assert compile_pool(record).digest == compile_pool(later).digest


def test_ranks_follow_the_order_of_the_classes() -> None:
    assert [kind.rank for kind in ServiceClass] == [0, 1, 2, 3, 4]


def test_a_price_is_a_decimal_on_the_way_in() -> None:
    pool = compiled(scaling={"quantile": 0.95})

    assert pool.scaling.quantile == Decimal("0.95")
