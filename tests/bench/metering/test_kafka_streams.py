"""How fast are our workers beside Kafka Streams with exactly_once_v2 on the same log?

Two meters of its, in turns with ours on the same broker: one that does as our ledger does (each
event once, by source and id; totals, seconds, minutes and hours), and one that only sums windows of
10 s.  ``Meter.java`` says what they keep and how.  What a virtual machine does before it is warm is
left out: theirs is the rate of the second half of the log, ours of the whole.

It needs a JDK (17 or newer) and Maven, which nothing else here does.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from schemas.topics import USAGE
from tests.bench.figures import Figure
from tests.bench.metering.child import Child, ended_with, start_java
from tests.bench.metering.drain import Drained
from tests.bench.metering.site import Site, build, drop_topics
from tests.bench.metering.sizes import ROUNDS
from tests.bench.metering.test_throughput import (
    CPU_UNIT,
    SINGLE,
    TWO,
    WHOLE,
    Contender,
    cpu_rate,
    drained,
    faster,
    rate,
)

SOURCES: Final = Path(__file__).with_name("kafka_streams")
COPY: Final = "org.apache.maven.plugins:maven-dependency-plugin:copy-dependencies"
FETCH_S_MAX: Final = 300.0
DRAINED_S_MAX: Final = 180.0
THREADS: Final = 2
LEDGER: Final = "ledger"
WINDOW: Final = "window"
SAYS: Final = {
    LEDGER: "Kafka Streams, exactly_once_v2, 2 threads: deduplicated, the same windows",
    WINDOW: "Kafka Streams, exactly_once_v2, 2 threads: 10 s windows, not deduplicated",
}

pytestmark = [
    pytest.mark.timeout(1_800),
    pytest.mark.skipif(
        not (shutil.which("javac") and shutil.which("mvn")), reason="needs a JDK and Maven"
    ),
]


@pytest.fixture(scope="module")
def jars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Kafka Streams and what it needs."""
    folder = tmp_path_factory.mktemp("kafka-streams")
    command = ["mvn", "--quiet", "--batch-mode", f"--file={SOURCES / 'pom.xml'}", COPY]
    fetched = subprocess.run(
        [*command, f"-DoutputDirectory={folder}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=FETCH_S_MAX,
        check=False,
    )
    assert fetched.returncode == 0, fetched.stdout
    return folder


async def test_beside_kafka_streams(
    kafka_bootstrap: str, jars: Path, tmp_path: Path, figures: list[Figure]
) -> None:
    site = await build(kafka_bootstrap, SINGLE)
    ours: dict[Contender, list[Drained]] = {WHOLE: [], TWO: []}
    theirs: dict[str, list[Drained]] = {LEDGER: [], WINDOW: []}
    for number in range(ROUNDS):
        for who, taken in ours.items():
            site = await site.renew()
            await site.apply(tick_ms=who.tick_ms)
            taken.append(await drained(site, who, tmp_path))
        for kind, taken in theirs.items():
            taken.append(await _drained_by_kafka_streams(site, kind, jars, tmp_path, number))
    await site.drop()
    for kind, taken in theirs.items():
        for who, beside in ours.items():
            name = f"metering.1.beside_kafka_streams.{kind}.{who.workers}"
            figures.append(faster(name, rate(beside), rate(taken), SAYS[kind]))
            cpu = (cpu_rate(beside), cpu_rate(taken))
            figures.append(faster(f"{name}.cpu", *cpu, SAYS[kind], unit=CPU_UNIT))


async def _drained_by_kafka_streams(
    site: Site, kind: str, jars: Path, folder: Path, number: int
) -> Drained:
    application = f"{site.options.group_prefix}{kind}"
    events = site.traffic.events
    arguments = [site.options.bootstrap, site.topic(USAGE), application, str(events), str(THREADS)]
    arguments += [str(folder / f"{kind}-{number}"), kind]
    child = start_java(
        ["-Xmx2g", "-cp", f"{jars}/*", str(SOURCES / "Meter.java"), *arguments],
        folder / f"{kind}-{number}.log",
    )
    sampling = asyncio.create_task(child.sample())
    try:
        half_s, all_s = await _instants(child, (events // 2, events))
    finally:
        child.end()
        with suppress(AssertionError):  # that it has ended: we did that
            await sampling
    await drop_topics(site.options, prefix=application)
    return Drained(events - events // 2, all_s - half_s, child.cpu_s(half_s, all_s))


async def _instants(child: Child, counts: Sequence[int]) -> list[float]:
    lines = [
        await ended_with(child, f"counted {count} at ", deadline_s=DRAINED_S_MAX)
        for count in counts
    ]
    return [float(line.split()[-1]) for line in lines]
