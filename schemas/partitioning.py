"""Partitioning: which partition a pool lives in.

Kafka's Java clients and aiokafka hash keys with murmur2; librdkafka does not by default.  The
meter judges an event by the partition of its pool, so the hash is written down here once.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

POOLS_PLACED_MAX: Final = 16_384
"""Pools whose partition is remembered: it is asked for with every fold and many times a second."""
_SEED: Final = 0x9747B28C
_MULTIPLIER: Final = 0x5BD1E995
_MASK: Final = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """Return Kafka's 32-bit murmur2 of ``data`` as an unsigned integer."""
    length = len(data)
    hashed = (_SEED ^ length) & _MASK
    whole = length - length % 4
    for start in range(0, whole, 4):
        word = int.from_bytes(data[start : start + 4], "little")
        word = (word * _MULTIPLIER) & _MASK
        word ^= word >> 24
        word = (word * _MULTIPLIER) & _MASK
        hashed = ((hashed * _MULTIPLIER) & _MASK) ^ word
    rest = data[whole:]
    if rest:
        hashed = ((hashed ^ int.from_bytes(rest, "little")) * _MULTIPLIER) & _MASK
    hashed ^= hashed >> 13
    hashed = (hashed * _MULTIPLIER) & _MASK
    return hashed ^ (hashed >> 15)


@lru_cache(maxsize=POOLS_PLACED_MAX)
def partition_of(pool: str, partitions: int) -> int:
    """Return the partition of ``pool`` among ``partitions``, as Kafka's default partitioner."""
    return (murmur2(pool.encode()) & 0x7FFFFFFF) % partitions
