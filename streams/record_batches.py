"""Record batches: what goes to Kafka as one, built before it is sent.

A batch is built synchronously, so that one which is too large is refused before anything else has
changed; sending it comes later.  Sizes are bytes: *plain* before compression, *wire* after it,
which is what a broker counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from schemas.errors import RecoverableError

Headers = Sequence[tuple[str, bytes]]
Outgoing = tuple[int, bytes | None, bytes | None, Headers]
"""Partition, key, value, headers."""

OVERHEAD_BYTES: Final = 4_096
"""Kept free of a limit: the batch's header, and the sizes that come before keys and values."""


class BatchTooLargeError(RecoverableError):
    """The records do not fit one record batch: write fewer at a time."""


class Builder(Protocol):
    """aiokafka's ``BatchBuilder``."""

    def append(
        self,
        *,
        timestamp: int | None,
        key: bytes | None,
        value: bytes | None,
        headers: list[tuple[str, bytes]],
    ) -> object | None:
        """Add a record; None: it is full."""

    def close(self) -> None:
        """Take nothing more."""

    def size(self) -> int:
        """Return its plain size."""


@dataclass(frozen=True)
class Built:
    """A closed record batch; it can be sent once."""

    builder: Builder
    records: int
    plain_bytes: int


def one_batch(
    records: Sequence[tuple[bytes, bytes | None]],
    *,
    create: Callable[[], Builder],
    wire_bytes_max: int,
    wire_bytes: Callable[[bytes], int],
) -> Built:
    """Return one batch of all records; raise ``BatchTooLargeError`` when they do not fit.

    ``wire_bytes`` compresses; it is asked only when the plain bytes do not fit by themselves.
    """
    builder = create()
    for key, value in records:
        if builder.append(timestamp=None, key=key, value=value, headers=[]) is None:
            raise BatchTooLargeError(f"{len(records)} records are too many bytes for one batch")
    built = _closed(builder, len(records))
    limit = wire_bytes_max - OVERHEAD_BYTES
    if built.plain_bytes > limit:
        size = wire_bytes(b"".join(part for record in records for part in record if part))
        if size > limit:
            raise BatchTooLargeError(f"{len(records)} records are {size} bytes, compressed")
    return built


def batches_of(
    records: Iterable[Outgoing], *, create: Callable[[], Builder], plain_bytes_max: int
) -> dict[int, list[Built]]:
    """Return by partition the batches in the order in which they must be sent.

    A record that is larger than a batch may be goes alone.
    """
    by_partition: dict[int, list[Outgoing]] = {}
    for record in records:
        by_partition.setdefault(record[0], []).append(record)
    return {
        partition: list(_split(each, create=create, plain_bytes_max=plain_bytes_max))
        for partition, each in by_partition.items()
    }


def _split(
    records: Sequence[Outgoing], *, create: Callable[[], Builder], plain_bytes_max: int
) -> Iterator[Built]:
    builder, count = create(), 0
    for _, key, value, headers in records:
        size = len(key or b"") + len(value or b"") + OVERHEAD_BYTES
        if count and builder.size() + size > plain_bytes_max:
            yield _closed(builder, count)
            builder, count = create(), 0
        if builder.append(timestamp=None, key=key, value=value, headers=list(headers)) is None:
            raise BatchTooLargeError(f"a record of {size} bytes does not fit a batch of its own")
        count += 1
    yield _closed(builder, count)


def _closed(builder: Builder, count: int) -> Built:
    builder.close()
    return Built(builder, count, builder.size())
