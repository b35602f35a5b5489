"""The choice of who makes room: enough, nobody needless, and few against the smallest number."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from admission.core.eviction import Space, held_by, victims
from admission.core.reservations import Open
from tests.property.examples import examples
from tests.unit.admission.test_eviction import item

held = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 9)), min_size=1, max_size=8)
wants = st.builds(Space, st.integers(-2, 14), st.integers(-2, 30))


def fewest(items: list[Open], wanted: Space) -> int | None:
    """Return the smallest number that is enough, found by trying all; None: all are not."""
    for count in range(len(items) + 1):
        for chosen in combinations(items, count):
            freed = held_by(chosen)
            if freed.slots >= wanted.slots and freed.kv_bytes >= wanted.kv_bytes:
                return count
    return None


def items_of(sizes: list[tuple[int, int]]) -> list[Open]:
    return [item(number, *size) for number, size in enumerate(sizes, start=1)][::-1]


@examples(300)
@given(sizes=held, wanted=wants)
def test_enough_and_nobody_needless_and_at_most_twice_the_fewest(
    sizes: list[tuple[int, int]], wanted: Space
) -> None:
    items = items_of(sizes)
    chosen = victims(items, wanted=wanted)
    least = fewest(items, wanted)

    if least is None:
        assert chosen == []
        return
    freed = held_by(chosen)
    assert freed.slots >= wanted.slots
    assert freed.kv_bytes >= wanted.kv_bytes
    assert len(chosen) <= 2 * least
    assert len({each.number for each in chosen}) == len(chosen)


@examples(300)
@given(kv=st.lists(st.integers(1, 40), min_size=1, max_size=9), wanted=wants)
def test_the_fewest_where_all_hold_one_slot(kv: list[int], wanted: Space) -> None:
    items = items_of([(1, each) for each in kv])
    least = fewest(items, wanted)

    assert len(victims(items, wanted=wanted)) == (least or 0)


@examples(300)
@given(sizes=held, slots=st.integers(0, 14))
def test_the_fewest_where_one_dimension_is_short(sizes: list[tuple[int, int]], slots: int) -> None:
    items = items_of(sizes)
    wanted = Space(slots, 0)

    assert len(victims(items, wanted=wanted)) == (fewest(items, wanted) or 0)


@given(count=st.integers(1, 9), slots=st.integers(1, 9))
def test_of_equals_the_youngest_go(count: int, slots: int) -> None:
    items = items_of([(1, 5)] * count)
    chosen = victims(items, wanted=Space(slots, 0))

    assert chosen == (items[:slots] if slots <= count else [])
