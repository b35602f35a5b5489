"""API keys: which entitlement is asking?

A key names its entitlement.  Specs hold only SHA-256 digests of keys; a key itself is never kept,
logged or compared.  Where no spec has a key, everybody may ask for every entitlement, and the
server then listens on loopback only (``admission.serve``).
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from schemas.pools import Pool

KEY_CHARS_MAX: Final = 512
_KEY_BYTES: Final = 32


class Identity(NamedTuple):
    """One entitlement in one pool."""

    pool: str
    entitlement: str


@dataclass(frozen=True, slots=True)
class Keyring:
    """The entitlements by the digest of their keys."""

    holders: Mapping[str, tuple[Identity, ...]] = field(default_factory=dict)
    required: bool = False
    """Even when no spec has a key (a host that others can reach)."""

    @property
    def is_open(self) -> bool:
        """Whether everybody may ask."""
        return not self.holders and not self.required

    def identities(self, authorization: str) -> tuple[Identity, ...]:
        """Return what the ``Authorization`` header's key may use; empty when it is no key."""
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer" or not 0 < len(key) <= KEY_CHARS_MAX:
            return ()
        return self.holders.get(digest_of(key.strip()), ())


def keyring_of(pools: Iterable[Pool], *, required: bool) -> Keyring:
    """Return the keyring of these pools; one key may serve entitlements in several pools."""
    holders: dict[str, tuple[Identity, ...]] = {}
    for pool in pools:
        for entitlement in pool.entitlements.values():
            for digest in entitlement.keys:
                identity = Identity(pool.name, entitlement.uid)
                holders[digest] = (*holders.get(digest, ()), identity)
    return Keyring(holders, required)


def digest_of(key: str) -> str:
    """Return a key's digest as specs write it: ``sha256:<64 hexadecimal digits>``."""
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def new_key() -> str:
    """Return a new random key (256 bits), for ``tokenpools keys new``."""
    return secrets.token_urlsafe(_KEY_BYTES)
