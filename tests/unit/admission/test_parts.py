"""A state is applied when all its parts are here, and never a mixture."""

from msgspec.structs import replace

from admission.core.parts import PARTS_MAX, Parts
from schemas.positions import Version
from tests.unit.admission.pools import pool, state

WHOLE = state(pool(), shares={}, tick=5)
FIRST = replace(WHOLE, part=0, parts=2, entitlements=WHOLE.entitlements[:2])
SECOND = replace(WHOLE, part=1, parts=2, admitters=(), entitlements=WHOLE.entitlements[2:])
NEWER = Version(1, 1, 6)
OLDER = Version(1, 1, 4)


def test_parts_in_any_order_make_the_state() -> None:
    for order in ((FIRST, SECOND), (SECOND, FIRST)):
        parts = Parts()
        early, late = parts.put(order[0]), parts.put(order[1])

        assert early is None
        assert late is not None
        assert late.entitlements == WHOLE.entitlements
        assert late.admitters == WHOLE.admitters


def test_an_older_part_is_ignored() -> None:
    parts = Parts()
    parts.put(FIRST)

    assert parts.put(replace(SECOND, version=OLDER)) is None
    assert parts.put(SECOND) is not None


def test_a_newer_part_begins_again() -> None:
    parts = Parts()
    parts.put(FIRST)

    assert parts.put(replace(SECOND, version=NEWER)) is None
    assert parts.put(replace(FIRST, version=NEWER)) is not None


def test_a_part_left_over_from_a_larger_state_does_no_harm() -> None:
    parts = Parts()
    parts.put(FIRST)
    parts.put(SECOND)
    smaller = replace(WHOLE, version=NEWER)

    assert parts.put(smaller) == smaller
    assert parts.put(SECOND) is None


def test_numbers_that_make_no_sense_are_ignored() -> None:
    parts = Parts()

    assert parts.put(replace(WHOLE, part=1, parts=1)) is None
    assert parts.put(replace(WHOLE, part=-1)) is None
    assert parts.put(replace(WHOLE, parts=PARTS_MAX + 1)) is None


def test_a_forgotten_pool_has_no_state() -> None:
    parts = Parts()
    parts.put(WHOLE)
    parts.forget(WHOLE.pool)

    assert parts.whole(WHOLE.pool) is None
