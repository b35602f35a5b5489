"""Answers: what the gate says to each call, as values; the routes only translate them to HTTP."""

from __future__ import annotations

from msgspec import Struct

from admission.core.eviction import Eviction
from schemas.reservations import Refusal, Renewal, Reservation, SettlementResult


class Admitted(Struct, frozen=True, gc=False):
    """The request may start."""

    reservation: Reservation
    eviction: Eviction | None = None
    """Who makes room for it."""


class AdmittedDemoted(Struct, frozen=True, gc=False):
    """The request may start, served as spot; nobody makes room for it."""

    reservation: Reservation


class Refused(Struct, frozen=True, gc=False):
    """The request may not start; nothing was taken."""

    refusal: Refusal
    eviction: Eviction | None = None
    """Who makes room for it, so that it can start when it comes back."""


class Renewed(Struct, frozen=True, gc=False):
    """The reservation lives on, or has to stop soon."""

    renewal: Renewal


class Closed(Struct, frozen=True, gc=False):
    """The reservation has ended, now or before."""

    result: SettlementResult


class Elsewhere(Struct, frozen=True, gc=False):
    """Another admitter answers for this reservation."""

    owner_url: str
    message: str


class Unknown(Struct, frozen=True, gc=False):
    """No admitter of ours gave this id, or it ended so long ago that nobody remembers."""

    message: str = "no such reservation"


class NotYet(Struct, frozen=True, gc=False):
    """Whose reservation this is cannot be said before a newer state is here."""

    retry_after_ms: int
    message: str = "this admitter has no state of the pool yet"


ReserveAnswer = Admitted | AdmittedDemoted | Refused
RenewAnswer = Renewed | Elsewhere | Unknown | NotYet
EndAnswer = Closed | Elsewhere | Unknown | NotYet
