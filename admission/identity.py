"""Identity: for which entitlement of which pool is this call, and may the caller make it?

With keys the key names the entitlement, and pool or model only choose among those that the key has.
Without keys the body names them.  What cannot be told apart is a 422 that names the field.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from admission.admitter import Admitter
from admission.auth import Identity
from admission.bodies import Problem
from schemas.reservations import ReserveBody

NO_KEY = Problem(401, "needs Authorization: Bearer <key> with a key of an entitlement")


def addressed(body: ReserveBody, authorization: str, admitter: Admitter) -> ReserveBody | Problem:
    """Return the body with the pool and the entitlement that it is for."""
    if admitter.keyring.is_open:
        if not body.entitlement:
            return Problem(422, "names no entitlement", "entitlement")
        return _chosen(body, _named(body, admitter), admitter)
    identities = admitter.keyring.identities(authorization)
    if not identities:
        return NO_KEY
    if body.entitlement and body.entitlement not in {each.entitlement for each in identities}:
        return Problem(403, "the key belongs to another entitlement", "entitlement")
    return _chosen(body, identities, admitter)


def may_touch(reservation_id: str, authorization: str, admitter: Admitter) -> Problem | None:
    """Return why the caller may not touch this reservation; None when it may."""
    if admitter.keyring.is_open:
        return None
    identities = admitter.keyring.identities(authorization)
    if not identities:
        return NO_KEY
    owner = admitter.gate.owner_named_by(reservation_id)
    if owner is None or owner in identities:
        return None
    return Problem(403, "the reservation belongs to another entitlement")


def visible(authorization: str, admitter: Admitter) -> tuple[Identity, ...] | Problem | None:
    """Return the entitlements that the caller may see; None: all of them."""
    if admitter.keyring.is_open:
        return None
    return admitter.keyring.identities(authorization) or NO_KEY


def _named(body: ReserveBody, admitter: Admitter) -> list[Identity]:
    desks = admitter.gate.desks.values()
    return [
        Identity(desk.spec.name, body.entitlement)
        for desk in desks
        if body.entitlement in desk.spec.entitlements
    ]


def _chosen(
    body: ReserveBody, identities: Iterable[Identity], admitter: Admitter
) -> ReserveBody | Problem:
    fitting = [
        each
        for each in identities
        if (not body.entitlement or each.entitlement == body.entitlement)
        and (not body.pool or each.pool == body.pool)
    ]
    if len(fitting) > 1 and body.model:
        models = admitter.gate.desks
        fitting = [each for each in fitting if models[each.pool].spec.model == body.model]
    if not fitting:
        return Problem(404, "no such entitlement in such a pool", "pool" if body.pool else "")
    if len(fitting) > 1:
        return Problem(422, "is needed: the entitlement is in several pools", "pool")
    return replace(body, pool=fitting[0].pool, entitlement=fitting[0].entitlement)
