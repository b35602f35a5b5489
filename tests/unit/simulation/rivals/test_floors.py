"""Floors: the judge of refusals says inside only when all three dimensions have room."""

import pytest

from schemas.specs import ServiceClass
from schemas.units import US_PER_S, TokenCounts
from simulation.policy import Ask
from simulation.rivals.floors import FloorWatch
from tests.unit.simulation.worlds import entitlement, pool

POOL = pool(
    entitlement("reserved", ServiceClass.GUARANTEED, slots=2),
    entitlement("elastic", ServiceClass.ELASTIC, slots=2),
)
"""Floor: 2 slots, 2 GiB of 1 KiB a token, 30 tokens/s in a bucket of 10 s."""


def ask(number: int, *, uid: str = "reserved", tokens: int = 100, cached: int = 0) -> Ask:
    return Ask(
        request_id=f"r{number}",
        entitlement=uid,
        input_tokens=cached,
        cached_input_tokens=cached,
        max_tokens=tokens,
    )


def watch(*admitted: Ask) -> FloorWatch:
    floors = FloorWatch(POOL)
    for each in admitted:
        floors.admitted(each, now_us=0)
    return floors


@pytest.mark.parametrize(
    ("admitted", "asked", "inside"),
    [
        pytest.param((), ask(9), True, id="nothing is held"),
        pytest.param((ask(1),), ask(9), True, id="the last slot"),
        pytest.param((ask(1), ask(2)), ask(9), False, id="no slot"),
        pytest.param((ask(1, tokens=300),), ask(9), False, id="the bucket is full"),
        pytest.param((ask(1, tokens=299),), ask(9), True, id="the bucket is nearly full"),
        pytest.param((), ask(9, cached=3_000_000), False, id="no KV cache for it"),
        pytest.param((ask(1, cached=2_000_000),), ask(9, cached=200_000), False, id="KV is held"),
        pytest.param((), ask(9, uid="elastic"), False, id="a class without a floor"),
    ],
)
def test_inside_the_floor(admitted: tuple[Ask, ...], asked: Ask, *, inside: bool) -> None:
    assert watch(*admitted).is_inside(asked, now_us=0) == inside


def test_what_ends_frees_its_slot_and_is_charged_what_it_used() -> None:
    first, second = ask(1, tokens=200), ask(2, tokens=200)
    floors = watch(first, second)

    floors.ended(first, TokenCounts(output_tokens=50), now_us=0)
    floors.ended(second, TokenCounts(output_tokens=50), now_us=0)

    floors.admitted(ask(3, tokens=199), now_us=0)
    assert floors.is_inside(ask(4), now_us=0)
    floors.admitted(ask(4, tokens=1), now_us=0)
    floors.ended(ask(4, tokens=1), TokenCounts(output_tokens=1), now_us=0)
    assert not floors.is_inside(ask(5), now_us=0)
    assert floors.is_inside(ask(5), now_us=US_PER_S)
