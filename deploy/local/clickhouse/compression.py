"""How are compressed bodies of any number of frames read, and answers compressed?

Clients send each block as a frame of its own: a reader that stops after the first frame would lose
rows silently, so decoding goes on until the input ends, and an input that ends inside a frame is an
error.  Both directions work piece by piece in bounded memory.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Final, Protocol

import lz4.frame
import zstandard

from deploy.local.clickhouse import errors

INPUT_SLICE_BYTES: Final = 65_536  # compressed bytes decoded at a time: bounds what one step yields
GZIP_WINDOW: Final = 31  # zlib's window bits for gzip
ZLIB_WINDOW: Final = 15
GZIP_LEVEL: Final = 3  # ClickHouse's http_zlib_compression_level


class _Frame(Protocol):
    """One frame's decoder: all three libraries have this shape."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes | None: ...

    def decompress(self, data: bytes, /) -> bytes: ...


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


class Encoder(Protocol):
    """Turns pieces of an answer into pieces of its encoded form."""

    def encode(self, piece: bytes) -> bytes: ...

    def finish(self) -> bytes: ...


_FRAMES: Final[dict[str, Callable[[], _Frame]]] = {
    "gzip": lambda: zlib.decompressobj(GZIP_WINDOW),
    "deflate": lambda: zlib.decompressobj(ZLIB_WINDOW),
    "lz4": lz4.frame.LZ4FrameDecompressor,
    "zstd": lambda: zstandard.ZstdDecompressor().decompressobj(),
}
_FAILURES: Final = (zlib.error, RuntimeError, EOFError, zstandard.ZstdError)


class Decoder:
    """Decodes a body of many frames; ``feed`` as it arrives, then ``finish``."""

    def __init__(self, encoding: str) -> None:
        if encoding not in _FRAMES:
            raise _unknown(encoding)
        self._encoding = encoding
        self._frame: _Frame | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what ``data`` completes, in order."""
        view = memoryview(data)
        for start in range(0, len(data), INPUT_SLICE_BYTES):
            yield from self._slice(bytes(view[start : start + INPUT_SLICE_BYTES]))

    def finish(self) -> None:
        """Raise when the input ended inside a frame."""
        if self._frame is not None:
            raise self._broken("the input ends inside a frame")

    def _slice(self, rest: bytes) -> Iterator[bytes]:
        while rest:
            frame = self._frame or _FRAMES[self._encoding]()
            try:
                piece = frame.decompress(rest)
            except _FAILURES as failure:
                raise self._broken(str(failure)) from failure
            rest = (frame.unused_data or b"") if frame.eof else b""
            self._frame = None if frame.eof else frame
            if piece:
                yield piece

    def _broken(self, reason: str) -> errors.ClickHouseError:
        return errors.refusal(
            errors.CANNOT_DECOMPRESS, f"Cannot decode the {self._encoding} body: {reason}."
        )


class _Plain:
    def encode(self, piece: bytes) -> bytes:
        return piece

    def finish(self) -> bytes:
        return b""


class _Deflating:
    """gzip, deflate and zstd: libraries whose compressor has ``compress`` and ``flush``."""

    def __init__(self, compressor: _Compressor) -> None:
        self._compressor = compressor

    def encode(self, piece: bytes) -> bytes:
        return self._compressor.compress(piece)

    def finish(self) -> bytes:
        return self._compressor.flush()


class _Lz4:
    def __init__(self) -> None:
        self._compressor = lz4.frame.LZ4FrameCompressor()
        self._header: bytes = self._compressor.begin()

    def encode(self, piece: bytes) -> bytes:
        header, self._header = self._header, b""
        return header + bytes(self._compressor.compress(piece))

    def finish(self) -> bytes:
        return self._header + bytes(self._compressor.flush())


_ENCODERS: Final[dict[str, Callable[[], Encoder]]] = {
    "gzip": lambda: _Deflating(zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, GZIP_WINDOW)),
    "deflate": lambda: _Deflating(zlib.compressobj(GZIP_LEVEL)),
    "lz4": _Lz4,
    "zstd": lambda: _Deflating(zstandard.ZstdCompressor(level=1).compressobj()),
}


def chosen_encoding(accept_encoding: str) -> str | None:
    """Return the first encoding of an ``Accept-Encoding`` that the server has, else None."""
    for offered in accept_encoding.split(","):
        name = offered.split(";")[0].strip().lower()
        if name in _ENCODERS:
            return name
    return None


def encoder(encoding: str | None) -> Encoder:
    return _ENCODERS[encoding]() if encoding else _Plain()


def _unknown(encoding: str) -> errors.ClickHouseError:
    known = ", ".join(_FRAMES)
    return errors.refusal(
        errors.UNKNOWN_COMPRESSION_METHOD,
        f"Unknown Content-Encoding '{encoding}'; known are {known}.",
    )
