"""Children: the processes that are measured, what they are told, and how their CPU time is read."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import psutil

from schemas.connections import KafkaOptions
from tests.bench.metering.site import Site
from tests.bench.metering.traffic import Traffic
from tests.integration.streams.loop import SCRIPT, environment

ROOT: Final = Path(__file__).parents[3]
SAMPLE_S: Final = 0.05


class Job(msgspec.Struct, frozen=True):
    """What a child of the bench's own is told."""

    options: KafkaOptions
    traffic: Traffic
    changelog: str


class Sample(NamedTuple):
    """CPU seconds that a process had used at an instant (seconds since 1970)."""

    at_s: float
    cpu_s: float


@dataclass
class Child:
    """A process under measurement; its CPU time is sampled while it runs."""

    process: subprocess.Popen[bytes]
    log: Path
    samples: list[Sample] = field(default_factory=list)

    def end(self) -> None:
        """Kill it: what it did is in the logs."""
        self.process.kill()
        self.process.wait()

    async def sample(self) -> None:
        """Sample until cancelled."""
        watched = psutil.Process(self.process.pid)
        while self.process.poll() is None:
            used = watched.cpu_times()
            self.samples.append(Sample(time.time(), used.user + used.system))
            await asyncio.sleep(SAMPLE_S)
        raise AssertionError(f"the process ended: {self.log.read_text()[-2_000:]}")

    def cpu_s(self, begin_s: float, end_s: float) -> float:
        """Return the CPU seconds used between two instants."""
        return self._at(end_s) - self._at(begin_s)

    def _at(self, at_s: float) -> float:
        index = bisect_left(self.samples, at_s, key=lambda each: each.at_s)
        if index == 0 or index == len(self.samples):
            return self.samples[min(index, len(self.samples) - 1)].cpu_s
        before, after = self.samples[index - 1], self.samples[index]
        part = (at_s - before.at_s) / (after.at_s - before.at_s)
        return before.cpu_s + part * (after.cpu_s - before.cpu_s)


async def ended_with(child: Child, text: str, *, deadline_s: float) -> str:
    """Return the line of its log that begins with ``text``, once it is there."""
    async with asyncio.timeout(deadline_s):
        while True:
            *whole, _ = child.log.read_text().split("\n")
            lines = [line for line in whole if line.startswith(text)]
            if lines:
                return lines[-1]
            assert child.process.poll() is None, f"the process ended: {child.log.read_text()}"
            await asyncio.sleep(SAMPLE_S)


def start_worker(site: Site, log: Path, **settings: str) -> Child:
    """Start one streams worker, as an operator starts it."""
    return _start(["-c", SCRIPT], log, {**environment(site.options), **settings})


def start_module(module: str, site: Site, log: Path, *, changelog: str) -> Child:
    """Start one of the bench's own programs."""
    job = msgspec.json.encode(Job(site.options, site.traffic, changelog)).decode()
    return _start(["-m", module, job], log, {})


def start_java(arguments: Sequence[str], log: Path) -> Child:
    """Start a program of the bench's that is not in Python."""
    return _started(["java", *arguments], log, {})


def start_paced(pace: msgspec.Struct, log: Path) -> Child:
    """Start the paced emitter."""
    order = msgspec.json.encode(pace).decode()
    return _start(["-m", "tests.bench.metering.pace", order], log, {})


def _start(arguments: list[str], log: Path, settings: Mapping[str, str]) -> Child:
    return _started([sys.executable, *arguments], log, {"PYTHONPATH": str(ROOT), **settings})


def _started(command: list[str], log: Path, settings: Mapping[str, str]) -> Child:
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **settings},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    return Child(process, log)
