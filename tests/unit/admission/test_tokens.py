"""Ids and tickets are believed only as they were signed."""

import pytest

from admission.core.tokens import ReservationClaims, Signer, TicketClaims
from schemas.positions import Version
from schemas.specs import ServiceClass

SIGNER = Signer(b"0123456789abcdef")
CLAIMS = ReservationClaims(
    pool="chat",
    entitlement="acme",
    incarnation="a-1",
    number=7,
    tokens=10,
    kv_bytes=100,
    slots=1,
    output_tokens=5,
    served_class=ServiceClass.SPOT,
    demoted=True,
    renew_ms=5_000,
    ttl_ms=15_000,
    version=Version(1, 2, 3),
    max_tokens=20,
)
TICKET = TicketClaims(
    pool="chat",
    entitlement="acme",
    incarnation="a-1",
    request_id="r",
    tokens_per_s=1,
    kv_bytes=2,
    slots=3,
    lapse_ms=4,
    wall_us=5,
)


def test_what_was_sealed_opens_again() -> None:
    assert SIGNER.open_reservation(SIGNER.seal_reservation(CLAIMS)) == CLAIMS
    assert SIGNER.open_ticket(SIGNER.seal_ticket(TICKET)) == TICKET


def test_a_ticket_is_no_reservation() -> None:
    assert SIGNER.open_reservation(SIGNER.seal_ticket(TICKET)) is None


def test_another_key_signs_otherwise() -> None:
    other = Signer(b"another key, 16+")

    assert other.open_reservation(SIGNER.seal_reservation(CLAIMS)) is None


def test_a_change_of_any_character_is_seen() -> None:
    sealed = SIGNER.seal_reservation(CLAIMS)
    changed = [
        sealed[:at] + ("A" if sealed[at] != "A" else "B") + sealed[at + 1 :]
        for at in range(len(sealed) - 1)  # the last one has bits that mean nothing
    ]

    assert {SIGNER.open_reservation(text) for text in changed} == {None}


@pytest.mark.parametrize("text", ["", ".", "..", "v1..", "v1.é.x", "v1", "v1." + "A" * 5_000])
def test_what_is_no_token_at_all_is_refused(text: str) -> None:
    assert SIGNER.open_reservation(text) is None


def test_the_key_does_not_show_in_its_repr() -> None:
    assert "0123456789abcdef" not in repr(SIGNER)
