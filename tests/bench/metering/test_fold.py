"""What does the fold itself cost per event, in memory, beside decoding the same bytes?

CPU time of the thread, one partition's records in batches as large as one fetch brings; the
smallest of the rounds, because whatever else runs here only ever adds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import pytest

from schemas.usage import CloudEvent
from streams.core.judge import StoredRecord
from streams.core.ledger import fold
from streams.core.outcome import Place, States, apply
from streams.core.restore import changes_of
from tests.bench.figures import Figure
from tests.bench.metering.bare import GENERATION
from tests.bench.metering.sizes import PARTITIONS, ROUNDS, scaled
from tests.bench.metering.traffic import Shape, Traffic, records_of, specs_of

PARTITION: Final = 3
FETCH_BYTES: Final = 1_048_576
"""What a fold takes at once."""
EVENTS: Final = scaled(20_000) * PARTITIONS
CEILING_NAME: Final = "decoding the same bytes"

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize(
    ("name", "traffic"),
    [
        pytest.param("1", Traffic(events=EVENTS), id="one event per record"),
        pytest.param("64", Traffic(events=EVENTS, shape=Shape.LINES), id="64 events per record"),
        pytest.param("1.unnumbered", Traffic(events=EVENTS, numbered=False), id="unnumbered"),
    ],
)
def test_fold_time(name: str, traffic: Traffic, figures: list[Figure]) -> None:
    batches, events = stored(traffic)
    decode = msgspec.json.Decoder(CloudEvent)
    decode_value = decode.decode_lines if traffic.shape is Shape.LINES else decode.decode

    def decode_all() -> None:
        for batch in batches:
            for record in batch:
                decode_value(record.value or b"")

    def fold_all() -> None:
        folded = counted(batches, traffic)
        assert folded == events, f"{folded} of {events} events counted"

    value, ceiling = (least_us(each) / events for each in (fold_all, decode_all))
    figures.append(Figure(f"fold.us_per_event.{name}", value, "us", ceiling, CEILING_NAME))


def stored(traffic: Traffic) -> tuple[list[list[StoredRecord]], int]:
    """Return one partition's records in batches of a fetch, and how many events they hold."""
    now_ms = time.time_ns() // 1_000_000
    produced = [
        each
        for each in records_of(traffic, run="0123456789ab", end_us=now_ms * 1_000)
        if each.partition == PARTITION
    ]
    batches: list[list[StoredRecord]] = [[]]
    size = 0
    for offset, each in enumerate(produced):
        size += len(each.value)
        if size > FETCH_BYTES:
            batches.append([])
            size = len(each.value)
        batches[-1].append(StoredRecord(offset, now_ms, each.key, each.value, each.headers))
    return batches, sum(each.events for each in produced)


def counted(batches: Sequence[Sequence[StoredRecord]], traffic: Traffic) -> int:
    """Fold everything, with the changelog records that it makes; return the events accepted."""
    states, specs = States(), specs_of(traffic)
    place = Place(PARTITION, PARTITIONS, generation=GENERATION)
    for batch in batches:
        outcome = fold(states, batch, specs=specs, place=place)
        changes_of(outcome, states, generations={}, generation=GENERATION)
        apply(states, outcome)
    return 0 if states.partition is None else states.partition.counts.accepted


def least_us(work: Callable[[], None]) -> float:
    """Return the least CPU time of the rounds."""
    taken = []
    for _ in range(ROUNDS):
        began_ns = time.thread_time_ns()
        work()
        taken.append(time.thread_time_ns() - began_ns)
    return min(taken) / 1_000
