"""The table ends a reservation once and remembers how."""

from admission.core.reservations import Open, Reservations
from schemas.specs import ServiceClass
from schemas.units import US_PER_S


def item(number: int, *, expires_us: int = 15 * US_PER_S, request_id: str = "") -> Open:
    return Open(
        number=number,
        reservation_id=f"id-{number}",
        pool="chat",
        entitlement="acme",
        tokens=10,
        kv_bytes=100,
        slots=1,
        output_tokens=5,
        max_tokens=5,
        served_class=ServiceClass.GUARANTEED,
        demoted=False,
        in_common=False,
        started_us=0,
        expires_us=expires_us,
        ttl_ms=15_000,
        renew_ms=5_000,
        request_id=request_id,
    )


def test_it_ends_once() -> None:
    table = Reservations()
    table.add(item(1))
    first, second = table.end(1, "settled"), table.end(1, "expired")

    assert first is not None
    assert second is None
    assert table.ended(1) is first
    assert len(table) == 0


def test_it_is_due_when_its_time_has_run_out_and_not_before() -> None:
    table = Reservations()
    table.add(item(1, expires_us=100))

    assert table.due(99) == []
    assert [each.number for each in table.due(100)] == [1]


def test_a_renewed_one_is_due_by_its_new_time_only() -> None:
    table = Reservations()
    renewed = item(1, expires_us=100)
    table.add(renewed)
    table.renew(renewed, now_us=50)

    assert table.due(100) == []
    assert table.due(50 + 15 * US_PER_S) == [renewed]


def test_one_that_was_told_to_stop_is_not_extended_beyond_that() -> None:
    table = Reservations()
    stopping = item(1, expires_us=100)
    table.add(stopping)
    stopping.evict_us = 60
    table.renew(stopping, now_us=50)

    assert table.due(60) == [stopping]


def test_renewing_for_ever_keeps_the_notes_bounded() -> None:
    table = Reservations()
    lasting = item(1)
    table.add(lasting)
    for now_us in range(1_000):
        table.renew(lasting, now_us=now_us)

    assert len(table._expiries) <= 4 + 64


def test_a_request_is_found_while_it_is_open() -> None:
    table = Reservations()
    table.add(item(1, request_id="r"))
    found = table.of_request("chat", "acme", "r")
    table.end(1, "settled")

    assert found is not None
    assert found.number == 1
    assert table.of_request("chat", "acme", "r") is None


def test_the_oldest_ended_ids_are_forgotten() -> None:
    table = Reservations(ended_max=2)
    for number in (1, 2, 3):
        table.add(item(number))
        table.end(number, "released")

    assert table.ended(1) is None
    assert table.ended(3) is not None


def test_the_last_expiry_is_that_of_the_pool() -> None:
    table = Reservations()
    table.add(item(1, expires_us=100))
    table.add(item(2, expires_us=300))

    assert (table.last_expiry_us("chat"), table.last_expiry_us("other")) == (300, 0)
