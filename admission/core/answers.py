"""Answers: what the gate says to each call, as values; the routes only translate them to HTTP."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.reservations import Refusal, Renewal, Reservation, SettlementResult


@dataclass(frozen=True, slots=True)
class Admitted:
    """The request may start."""

    reservation: Reservation


@dataclass(frozen=True, slots=True)
class AdmittedDemoted:
    """The request may start, served as spot."""

    reservation: Reservation


@dataclass(frozen=True, slots=True)
class Refused:
    """The request may not start; nothing was taken."""

    refusal: Refusal


@dataclass(frozen=True, slots=True)
class Renewed:
    """The reservation lives on, or has to stop soon."""

    renewal: Renewal


@dataclass(frozen=True, slots=True)
class Closed:
    """The reservation has ended, now or before."""

    result: SettlementResult


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Another admitter answers for this reservation."""

    owner_url: str
    message: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """No admitter of ours gave this id, or it ended so long ago that nobody remembers."""

    message: str = "no such reservation"


@dataclass(frozen=True, slots=True)
class NotYet:
    """Whose reservation this is cannot be said before a newer state is here."""

    retry_after_ms: int
    message: str = "this admitter has no state of the pool yet"


ReserveAnswer = Admitted | AdmittedDemoted | Refused
RenewAnswer = Renewed | Elsewhere | Unknown | NotYet
EndAnswer = Closed | Elsewhere | Unknown | NotYet
