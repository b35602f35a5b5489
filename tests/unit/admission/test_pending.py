"""Unmet demand counts once per request and lapses."""

from admission.core import pending as module
from admission.core.pending import ENTRIES_MAX, Pending
from schemas.units import NOTHING, Resources

ONE = Resources(10, 100, 1)
TWO = Resources(20, 200, 2)


def test_a_retry_replaces_its_first_attempt() -> None:
    pending = Pending()
    pending.put("r", ONE, lapse_us=100)
    pending.put("r", TWO, lapse_us=200)
    pending.lapse(150)

    assert pending.total == TWO


def test_each_lapses_at_its_own_time() -> None:
    pending = Pending()
    pending.put("r", ONE, lapse_us=100)
    pending.put("s", TWO, lapse_us=200)
    pending.lapse(99)
    before = pending.total
    pending.lapse(100)

    assert (before, pending.total) == (ONE + TWO, TWO)


def test_what_was_taken_counts_no_longer_and_is_taken_once() -> None:
    pending = Pending()
    pending.put("r", ONE, lapse_us=100)

    assert [pending.take("r"), pending.take("r")] == [True, False]
    assert pending.total == NOTHING


def test_it_is_bounded_and_the_first_to_lapse_makes_room() -> None:
    pending = Pending()
    for number in range(ENTRIES_MAX + 1):
        pending.put(str(number), ONE, lapse_us=1_000 + number)

    assert len(pending.entries) == module.ENTRIES_MAX
    assert "0" not in pending
    assert str(ENTRIES_MAX) in pending


def test_notes_of_replaced_entries_stay_bounded_too() -> None:
    pending = Pending()
    for number in range(3 * ENTRIES_MAX):
        pending.put("same", ONE, lapse_us=number)

    assert pending.total == ONE
    assert len(pending._lapses) <= 2 * ENTRIES_MAX + 1
