"""The pipeline's bounds and its order, without a meter."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from schemas.errors import SettingsError
from streams.kafka import WriteFailedError
from streams.pipeline import Pipeline, Write
from streams.settings import Settings, from_env


@dataclass
class Broker:
    """Acknowledges when it is told to, and keeps the order of what reached it."""

    seen: list[str] = field(default_factory=list)
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    refused: str = ""

    def write(self, name: str, *, size_bytes: int = 1) -> Write:
        """Return the write of a fold."""
        return Write(
            lambda: self._take(f"{name}.first"), lambda: self._take(f"{name}.then"), size_bytes
        )

    def hold(self, name: str) -> asyncio.Event:
        """Acknowledge ``name`` only when the event is set."""
        return self.gates.setdefault(name, asyncio.Event())

    async def _take(self, name: str) -> None:
        self.seen.append(name)
        if name in self.gates:
            await self.gates[name].wait()
        if name == self.refused:
            raise WriteFailedError(name)


def pipeline(*, writes_max: int = 64, bytes_max: int = 1_000) -> Pipeline:
    """Return one whose failures are only raised."""
    return Pipeline(writes_max=writes_max, bytes_max=bytes_max, on_failed=lambda _error: None)


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_partition_waits_for_its_own_writes_and_for_nobody_elses() -> None:
    broker, writes = Broker(), pipeline()
    gate = broker.hold("a1.then")

    for partition, name in ((0, "a1"), (0, "a2"), (1, "b1")):
        writes.put(partition, broker.write(name))
    await settle()
    held = list(broker.seen)
    gate.set()
    await writes.drained()

    assert sorted(held) == ["a1.first", "a1.then", "a2.first", "b1.first", "b1.then"]
    assert broker.seen[-1] == "a2.then"


@pytest.mark.parametrize(
    ("writes_max", "size_bytes"),
    [pytest.param(2, 1, id="writes"), pytest.param(9, 500, id="bytes")],
)
async def test_there_is_no_room_beyond_the_bound(writes_max: int, size_bytes: int) -> None:
    broker, writes = Broker(), pipeline(writes_max=writes_max)
    gate = broker.hold("a.first")

    writes.put(0, broker.write("a", size_bytes=size_bytes))
    room_for_another = writes.has_room
    writes.put(0, broker.write("b", size_bytes=size_bytes))
    waiting = asyncio.create_task(writes.room())
    await settle()

    assert (room_for_another, writes.has_room, waiting.done()) == (True, False, False)
    gate.set()
    await waiting


async def test_a_failure_wakes_who_waits_and_refuses_every_later_write() -> None:
    broker, writes = Broker(refused="a.then"), pipeline(writes_max=1)
    gate = broker.hold("a.then")
    writes.put(0, broker.write("a"))
    waiting = asyncio.create_task(writes.room())
    await settle()
    gate.set()

    with pytest.raises(WriteFailedError):
        await waiting
    with pytest.raises(WriteFailedError):
        writes.put(1, broker.write("b"))


def _settings(**environ: str) -> Settings:
    return from_env(
        {"KAFKA_BOOTSTRAP_SERVERS": "broker:9092", **environ}, read_text=lambda path: path
    )


def test_a_compression_that_there_is_not_names_the_setting() -> None:
    with pytest.raises(SettingsError, match=r"TOKENPOOLS_WRITE_COMPRESSION='brotli'.*zstd"):
        _settings(TOKENPOOLS_WRITE_COMPRESSION="brotli")


def test_whole_record_batches_can_be_switched_off() -> None:
    assert _settings().whole_batches
    assert not _settings(TOKENPOOLS_WHOLE_BATCHES="0").whole_batches
