"""Mapping tenants to entitlements, and percentiles by nearest rank."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import SpecError
from simulation.arrivals import Arrival
from simulation.mapping import Mapper, MappingRule, TenantMapping, check_mapping, sentence
from simulation.percentiles import P99_PPM, percentile

ENTITLEMENTS = (("chat", "acme"), ("search", "globex"), ("batch", "acme"))


def arrival(tenant: str = "") -> Arrival:
    return Arrival(offset_us=0, tenant=tenant, input_tokens=1, output_tokens=1)


def mapped(mapping: TenantMapping, *tenants: str) -> list[str | None]:
    mapper = Mapper(mapping, ENTITLEMENTS)
    return [mapper.entitlement_of(arrival(tenant)) for tenant in tenants]


def test_by_name_prefers_the_table_then_the_entitlement_then_its_tenant() -> None:
    mapping = TenantMapping(names={"c012": "search"}, default="batch")

    assert mapped(mapping, "c012", "chat", "globex", "acme", "nobody") == [
        "search",
        "chat",
        "search",
        "chat",
        "batch",
    ]


def test_by_name_leaves_out_whom_it_does_not_know() -> None:
    assert mapped(TenantMapping(), "nobody", "") == [None, None]


def test_round_robin_deals_out_tenants_and_requests_without_one() -> None:
    mapping = TenantMapping(rule=MappingRule.ROUND_ROBIN)

    assert mapped(mapping, "x", "y", "x", "", "") == ["chat", "search", "chat", "batch", "chat"]


@given(st.lists(st.integers(1, 20), min_size=1, max_size=6), st.integers(0, 300))
def test_by_share_is_close_to_the_weights_at_every_moment(weights: list[int], count: int) -> None:
    named = {f"e{number}": weight for number, weight in enumerate(weights)}
    mapper = Mapper(
        TenantMapping(rule=MappingRule.BY_SHARE, weights=named), [(uid, uid) for uid in named]
    )

    dealt = Counter(mapper.entitlement_of(arrival()) for _ in range(count))

    for uid, weight in named.items():
        assert abs(dealt[uid] - count * weight / sum(weights)) < len(weights)


@pytest.mark.parametrize(
    ("mapping", "path"),
    [
        (TenantMapping(names={"c": "none"}), "replay.mapping.names.c"),
        (TenantMapping(default="none"), "replay.mapping.default"),
        (TenantMapping(rule=MappingRule.BY_SHARE), "replay.mapping.weights"),
        (
            TenantMapping(rule=MappingRule.BY_SHARE, weights={"chat": 0}),
            "replay.mapping.weights.chat",
        ),
    ],
)
def test_a_rule_that_names_nobody_is_refused(mapping: TenantMapping, path: str) -> None:
    with pytest.raises(SpecError) as caught:
        check_mapping(mapping, entitlements=["chat"])

    assert caught.value.field == path


def test_every_rule_can_be_said_in_words() -> None:
    weights = {"chat": 3, "batch": 1}
    said = sentence(TenantMapping(rule=MappingRule.BY_SHARE, weights=weights))

    assert said == "requests are dealt out by share, whoever sent them: chat 3, batch 1"
    assert "are left out" in sentence(TenantMapping())
    assert "in turn" in sentence(TenantMapping(rule=MappingRule.ROUND_ROBIN))


@given(st.lists(st.integers(), min_size=1), st.integers(1, 1_000_000))
def test_a_percentile_is_the_least_value_that_enough_others_do_not_exceed(
    values: list[int], quantile_ppm: int
) -> None:
    found = percentile(values, quantile_ppm)

    assert found in values
    assert sum(value <= found for value in values) * 1_000_000 >= quantile_ppm * len(values)
    assert sum(value < found for value in values) * 1_000_000 < quantile_ppm * len(values)


def test_of_nothing_there_is_no_percentile() -> None:
    assert percentile([], P99_PPM) is None
