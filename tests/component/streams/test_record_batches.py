"""Record batches: whole or refused when atomic, split by size and in order when not."""

from __future__ import annotations

import random
import zlib
from typing import cast

import pytest
from aiokafka.producer.message_accumulator import BatchBuilder

from streams.record_batches import BatchTooLargeError, Builder, batches_of, one_batch

MIB = 1_048_576


def create() -> Builder:
    """Return aiokafka's own builder."""
    return cast("Builder", BatchBuilder(4 * MIB, 0))


def wire_bytes(plain: bytes) -> int:
    """Compress as a producer would."""
    return len(zlib.compress(plain))


def values(count: int, size: int) -> list[tuple[bytes, bytes | None]]:
    """Return records that nothing makes smaller."""
    noise = random.Random(count)
    return [(b"%d" % number, noise.randbytes(size)) for number in range(count)]


def test_what_fits_plain_is_never_compressed_to_find_out() -> None:
    def unasked(_plain: bytes) -> int:
        pytest.fail("asked for the compressed size of a small batch")

    built = one_batch(values(10, 1_000), create=create, wire_bytes_max=MIB, wire_bytes=unasked)

    assert built.records == 10


def test_what_fits_only_when_compressed_is_one_batch() -> None:
    records: list[tuple[bytes, bytes | None]] = [
        (b"%d" % number, b"." * 1_000) for number in range(3_000)
    ]

    built = one_batch(records, create=create, wire_bytes_max=MIB, wire_bytes=wire_bytes)

    assert built.records == 3_000
    assert built.plain_bytes > MIB


@pytest.mark.parametrize(
    "records",
    [
        pytest.param(values(1_100, 1_000), id="too many bytes on the wire"),
        pytest.param(values(5_000, 1_000), id="too many bytes in memory"),
    ],
)
def test_what_does_not_fit_is_refused_whole(records: list[tuple[bytes, bytes | None]]) -> None:
    with pytest.raises(BatchTooLargeError):
        one_batch(records, create=create, wire_bytes_max=MIB, wire_bytes=wire_bytes)


def test_a_partitions_records_are_split_by_size_and_keep_their_order() -> None:
    records = [(number % 2, b"k", b"%d" % number + b"." * 1_000, ()) for number in range(200)]

    batches = batches_of(records, create=create, plain_bytes_max=30_000)

    assert list(batches) == [0, 1]
    for each in batches.values():
        assert [built.records for built in each] == [25, 25, 25, 25]
        assert max(built.plain_bytes for built in each) <= 30_000


def test_a_record_larger_than_a_batch_goes_alone() -> None:
    records = [(0, None, b"." * size, ()) for size in (10, 50_000, 10)]

    batches = batches_of(records, create=create, plain_bytes_max=30_000)

    assert [built.records for built in batches[0]] == [1, 1, 1]
