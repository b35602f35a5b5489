"""How long does an event wait until the ledger has it, and until a published state knows it?

One worker, a tick every 250 ms, events paced in single records for a bounded time.  The ceiling of
the ledger is what a bare produce waits for its acknowledgement; that of a state is the tick.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec
import pytest

from tests.bench.figures import Figure
from tests.bench.metering.child import Child, start_paced, start_worker
from tests.bench.metering.delays import Delays, all_known, delays, percentile, published_s
from tests.bench.metering.pace import Pace, Sent
from tests.bench.metering.site import Site, build
from tests.bench.metering.sizes import SCALE
from tests.bench.metering.traffic import Traffic
from tests.integration.streams.loop import until

TICK_MS: Final = 250
PACED_S: Final = max(2, 15 * SCALE // 100)
READY_S_MAX: Final = 60.0

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize(("name", "per_s"), [("1k", 1_000), ("20k", 20_000)])
async def test_latency(
    name: str, per_s: int, kafka_bootstrap: str, tmp_path: Path, figures: list[Figure]
) -> None:
    traffic = Traffic(events=per_s * PACED_S)
    site = await build(kafka_bootstrap, traffic, tick_ms=TICK_MS, is_filled=False)
    worker = start_worker(site, tmp_path / "worker.log")
    try:
        taken = await paced(site, Pace(site.options, traffic, per_s), tmp_path)
    finally:
        worker.end()
    await site.drop()
    for percent in (50, 99):
        to_ledger_ms = percentile(taken.ledger_s, percent) * 1_000
        to_tick_ms = percentile(taken.tick_s, percent) * 1_000
        to_state_ms = percentile(taken.state_s, percent) * 1_000
        ack_ms = percentile(taken.acknowledged_s, percent) * 1_000
        ledger, tick, state = (
            f"{what}.p{percent}_ms.{name}" for what in ("ledger", "tick", "state")
        )
        figures.append(Figure(ledger, to_ledger_ms, "ms", ack_ms, "the produce's acknowledgement"))
        figures.append(Figure(tick, to_tick_ms, "ms", TICK_MS, "the tick"))
        figures.append(Figure(state, to_state_ms, "ms", TICK_MS, "the tick"))


async def paced(site: Site, pace: Pace, folder: Path) -> Delays:
    """Emit at the pace, wait until a state knows everything, and return the delays."""

    async def ticks_everywhere() -> bool:
        return len(await published_s(site)) == site.traffic.pools

    async def knows_all() -> bool:
        return await all_known(site, sent)

    await until(ticks_everywhere, what="a state of every pool", deadline_s=READY_S_MAX)
    emitter = start_paced(pace, folder / "emitter.log")
    await finished(emitter, deadline_s=PACED_S + READY_S_MAX)
    sent = [msgspec.json.decode(line, type=Sent) for line in lines_of(emitter)]
    await until(knows_all, what="states that know every event", deadline_s=READY_S_MAX)
    return await delays(site, sent)


async def finished(child: Child, *, deadline_s: float) -> None:
    """Return when the process has ended well."""

    async def ended() -> bool:
        return child.process.poll() is not None

    await until(ended, what="the end of the process", deadline_s=deadline_s)
    assert child.process.returncode == 0, child.log.read_text()


def lines_of(child: Child) -> list[str]:
    """Return the lines that say what was sent."""
    return [line for line in child.log.read_text().splitlines() if line.startswith("[")]
