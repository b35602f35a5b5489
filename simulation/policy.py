"""Policies: whatever decides which request may start, behind one interface.

The token pools of this product, no admission control at all and the rivals are all a ``Policy``,
so that the same tenants, engine and faults judge them.  A policy has one or more *doors* (an
admitter is a door); a gateway asks one of them and may be sent to another.  Nothing here reads a
clock: every call is given the virtual time in microseconds, which never goes back.

A policy that runs by itself (ticks, messages under way) says with ``next_event_us`` when it wants
``advance`` to be called; the world calls it before anything else that happens at that time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from schemas.specs import ServiceClass
from schemas.units import TokenCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One attempt to start a request."""

    request_id: str
    """The same for every attempt of one request."""
    entitlement: str
    input_tokens: int
    max_tokens: int
    cached_input_tokens: int = 0
    n: int = 1
    allow_demotion: bool = False
    can_renew: bool = True
    ticket: str = ""
    """From the last refusal of this request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """The request may start."""

    handle: str
    """Names the reservation at the policy."""
    door: int
    """Where it is renewed and settled."""
    served_class: ServiceClass
    demoted: bool = False
    renew_in_us: int = 0
    """0: it need not be renewed."""
    evict: tuple[str, ...] = ()
    """Handles of reservations that were told to stop to make room for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """The request may not start; nothing was taken."""

    reason: str
    """A ``schemas.decisions.RefusalReason``, or the rival's own word."""
    dimension: str = ""
    """A ``schemas.units.Dimension`` when one of them was short (for judges and stories)."""
    retry_after_us: int = 0
    ticket: str = ""
    home: int | None = None
    """Another door that has the rest of the floor: worth one more try at once."""
    home_has_all: bool = False
    """Whether this door has no part of the floor at all: later requests better ask home first."""
    inside_floor: bool = False
    """Whether the entitlement is of a reserved class and holds, with this request, no more than
    its whole floor over all doors (known to the judge of law 3, not to a gateway)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The reservation lives on."""

    handle: str
    """A new one when another door took it over."""
    door: int
    renew_in_us: int
    stop_in_us: int | None = None
    """Told to stop within this time, and to settle what was produced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The reservation has ended, now or before."""

    first: bool
    late: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """Another door answers for this reservation."""

    door: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """No door knows the reservation (any more)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotNow:
    """The door is down, or too young to say: try again then."""

    retry_in_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """One usage event: the increment that a gateway meters, partial or final."""

    id: str
    """Unique per source."""
    source: str
    sequence: int
    entitlement: str
    request_id: str
    counts: TokenCounts
    start_us: int
    end_us: int
    final: bool
    served_class: ServiceClass | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Priority:
    """What a policy thinks of one entitlement at one instant, in ppm."""

    weight_ppm: int
    debt_ppm: int
    burst_ppm: int = 0


@runtime_checkable
class HasPriorities(Protocol):
    """A policy that can show debts and weights; the world samples them."""

    def priorities(self) -> Mapping[str, Priority]:
        """Return them by entitlement."""


class Policy(Protocol):
    """What decides, under a virtual clock."""

    @property
    def name(self) -> str:
        """As it is called on the screen and in ``--json``: token-pools, none, ..."""

    @property
    def doors(self) -> int:
        """How many doors there are, numbered from 0; a door may be down."""

    def reserve(self, ask: Ask, *, door: int, now_us: int) -> Granted | Denied | NotNow:
        """Admit the request or refuse it."""

    def renew(
        self, handle: str, *, door: int, output_tokens: int, now_us: int
    ) -> Kept | Elsewhere | Unknown | NotNow:
        """Keep a reservation alive while its request runs."""

    def settle(
        self, handle: str, used: TokenCounts, *, door: int, completed: bool, now_us: int
    ) -> Ended | Elsewhere | Unknown | NotNow:
        """End a reservation with what it used; ``completed`` is false for an aborted request."""

    def meter(self, usage: Usage, *, now_us: int) -> None:
        """Take one usage event; it may be repeated, reordered or late by the policy's faults."""

    def resize(self, *, ready: int, starting: int, draining: int, now_us: int) -> None:
        """Learn how many replicas there are; called once before anything else."""

    def replicas_wanted(self, *, now_us: int) -> int | None:
        """Return what its autoscaler asks for; None when it has none."""

    def next_event_us(self) -> int | None:
        """Return when ``advance`` will have something to do; None when never."""

    def advance(self, *, now_us: int) -> None:
        """Do everything that is due up to ``now_us``, in order."""
