"""Ownership: which admitter answers for a reservation?

The one that gave it, while it lives.  Of a dead admitter's reservations the home of the entitlement
takes over, and nobody else, so that no reservation is adopted twice.  An incarnation that the
state does not list is dead when our state is at least as new as the one it worked under (that one
listed it); otherwise ours is too old to say.
"""

from __future__ import annotations

from enum import Enum

from admission.core.answers import Elsewhere, NotYet, Unknown
from admission.core.pool import PoolDesk
from admission.core.tokens import ReservationClaims


class Ours(Enum):
    """The reservation is for this admitter to answer."""

    OWN = "own"
    ADOPT = "adopt"


Owner = Ours | Elsewhere | Unknown | NotYet


def owner_of(claims: ReservationClaims, desk: PoolDesk) -> Owner:
    """Return who answers for the reservation, as seen from this admitter."""
    if claims.incarnation == desk.incarnation:
        return Ours.OWN
    wait = NotYet(retry_after_ms=desk.spec.policy.tick_ms)
    if desk.state is None or desk.version < claims.version:
        return wait
    view = desk.view(claims.incarnation)
    if view is not None and view.alive:
        return Elsewhere(view.url, "another admitter gave this reservation")
    homes = (s.home for s in desk.state.entitlements if s.entitlement == claims.entitlement)
    home = next(homes, "")
    if not home and claims.entitlement not in desk.spec.entitlements:
        return Unknown("its entitlement was removed")
    if home == desk.incarnation:
        return Ours.ADOPT
    home_view = desk.view(home)
    if home_view is None or not home_view.alive:
        return wait
    return Elsewhere(home_view.url, "its admitter is gone; the home of the entitlement takes over")
