"""Homes: which admitter keeps what is too small to split, and is asked when a part is used up?

Rendezvous hashing: an entitlement's home is the live admitter whose URL hashes highest with it, so
an admitter that comes or goes moves only its own share of the homes.  The URL is hashed, not the
incarnation: a restart moves nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping


def home_of(uid: str, urls: Mapping[str, str]) -> str:
    """Return the incarnation that is home to ``uid`` ("" when none lives).

    ``urls`` maps live incarnations to their URLs; equal URLs are told apart by incarnation.
    """
    return max(urls, key=lambda name: (_score(uid, urls[name]), name), default="")


def homes(uids: Iterable[str], urls: Mapping[str, str]) -> dict[str, str]:
    """Return the home of each entitlement; empty when no admitter lives."""
    return {uid: home_of(uid, urls) for uid in uids} if urls else {}


def _score(uid: str, url: str) -> bytes:
    return hashlib.sha256(f"{uid}|{url}".encode()).digest()
