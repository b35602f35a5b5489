"""Followed: which shares may an admitter still be following, until it has reported a newer state?

A published share holds from its version until a newer one of the same entitlement and admitter.
An admitter that reported ``applied`` follows the one in force then, or any published since.  What
counts is the largest of them in each dimension; that makes a cut count only once it has been
acknowledged, and a raise at once.

The common share is recorded like an entitlement's, under the uid ``COMMON`` that no entitlement
can have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from schemas.ledger import ShareRecord
from schemas.positions import Version
from schemas.state import Share
from schemas.units import NOTHING, Resources

COMMON: Final = ""
RECORDS_MAX: Final = 8
"""Per entitlement and admitter; beyond it the two oldest become one, their maximum."""

Key = tuple[str, str]
"""(entitlement, admitter)"""
Followed = Mapping[Key, Sequence[ShareRecord]]


def followed(
    records: Iterable[ShareRecord], applied: Mapping[str, Version]
) -> dict[Key, list[ShareRecord]]:
    """Return what each live admitter may follow, oldest first; the dead follow nothing."""
    chains: dict[Key, list[ShareRecord]] = {}
    for record in sorted(records, key=lambda item: item.version):
        if record.admitter in applied:
            chains.setdefault((record.entitlement, record.admitter), []).append(record)
    kept = {key: _unreplaced(chain, applied[key[1]]) for key, chain in chains.items()}
    return {key: chain for key, chain in kept.items() if not _is_nothing(chain)}


def widest(chain: Sequence[ShareRecord]) -> tuple[Resources, Resources]:
    """Return the largest floor and the largest grant that the chain allows, per dimension."""
    if len(chain) == 1:
        return chain[0].floor, chain[0].grant
    floor = grant = NOTHING
    for record in chain:
        floor = floor.at_least(record.floor)
        grant = grant.at_least(record.grant)
    return floor, grant


def newest(chain: Sequence[ShareRecord]) -> tuple[Resources, Resources]:
    """Return floor and grant as published last."""
    return (chain[-1].floor, chain[-1].grant) if chain else (NOTHING, NOTHING)


def published(
    before: Followed, shares: Mapping[Key, Share], version: Version
) -> tuple[ShareRecord, ...]:
    """Return the records after publishing ``shares`` with ``version``, sorted."""
    records: list[ShareRecord] = []
    for key in sorted(before.keys() | shares.keys()):
        chain = list(before.get(key, ()))
        share = shares.get(key) or Share(admitter=key[1])
        if newest(chain) != (share.floor, share.grant):
            chain.append(
                ShareRecord(
                    entitlement=key[0],
                    admitter=key[1],
                    version=version,
                    floor=share.floor,
                    grant=share.grant,
                )
            )
        records += _bounded(chain)
    return tuple(records)


def _unreplaced(chain: list[ShareRecord], applied: Version) -> list[ShareRecord]:
    """Drop what was replaced by a record that the admitter has applied."""
    start = 0
    for index, record in enumerate(chain):
        if record.version <= applied:
            start = index
    return chain[start:]


def _is_nothing(chain: Sequence[ShareRecord]) -> bool:
    return all(record.floor == NOTHING and record.grant == NOTHING for record in chain)


def _bounded(chain: list[ShareRecord]) -> list[ShareRecord]:
    while len(chain) > RECORDS_MAX:
        floor, grant = widest(chain[:2])
        second = chain[1]
        merged = ShareRecord(
            entitlement=second.entitlement,
            admitter=second.admitter,
            version=second.version,
            floor=floor,
            grant=grant,
        )
        chain = [merged, *chain[2:]]
    return chain
