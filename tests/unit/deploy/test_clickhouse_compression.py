"""Bodies of many frames are read to their end; answers are whole."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import lz4.frame
import pytest
import zstandard

from deploy.local.clickhouse.compression import Decoder, chosen_encoding, encoder
from deploy.local.clickhouse.errors import ClickHouseError

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "lz4": lz4.frame.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}
FRAMES = [bytes([n]) * 100_000 for n in range(5)]


def decoded(encoding: str, body: bytes, *, piece_bytes: int) -> bytes:
    decoder = Decoder(encoding)
    pieces = [
        piece
        for at in range(0, len(body), piece_bytes)
        for piece in decoder.feed(body[at : at + piece_bytes])
    ]
    decoder.finish()
    return b"".join(pieces)


@pytest.mark.parametrize("piece_bytes", [7, 1 << 20])
@pytest.mark.parametrize("encoding", COMPRESS)
def test_all_frames_are_decoded_however_they_arrive(encoding: str, piece_bytes: int) -> None:
    body = b"".join(COMPRESS[encoding](frame) for frame in FRAMES)

    assert decoded(encoding, body, piece_bytes=piece_bytes) == b"".join(FRAMES)


@pytest.mark.parametrize("encoding", COMPRESS)
def test_input_that_ends_inside_a_frame_is_an_error(encoding: str) -> None:
    body = COMPRESS[encoding](FRAMES[0]) + COMPRESS[encoding](FRAMES[1])[:-3]

    with pytest.raises(ClickHouseError, match="ends inside a frame"):
        decoded(encoding, body, piece_bytes=1 << 20)


@pytest.mark.parametrize("encoding", COMPRESS)
def test_input_that_is_not_so_encoded_is_an_error(encoding: str) -> None:
    with pytest.raises(ClickHouseError, match="CANNOT_DECOMPRESS"):
        decoded(encoding, b"INSERT INTO t FORMAT CSV\n1\n", piece_bytes=1 << 20)


def test_an_unknown_encoding_is_refused() -> None:
    with pytest.raises(ClickHouseError, match="UNKNOWN_COMPRESSION_METHOD"):
        Decoder("rot13")


@pytest.mark.parametrize("encoding", COMPRESS)
def test_what_is_encoded_in_pieces_decodes_to_the_same(encoding: str) -> None:
    encoding_now = encoder(encoding)
    body = b"".join(map(encoding_now.encode, FRAMES)) + encoding_now.finish()

    assert decoded(encoding, body, piece_bytes=1 << 20) == b"".join(FRAMES)
    assert len(body) < 50_000


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [("lz4,zstd,gzip", "lz4"), ("br;q=1.0, gzip;q=0.5", "gzip"), ("identity", None), ("", None)],
)
def test_the_first_known_encoding_is_taken(accepted: str, chosen: str | None) -> None:
    assert chosen_encoding(accepted) == chosen
