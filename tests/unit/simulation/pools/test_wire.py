"""The simulated Kafka: order, loss, repetition, cuts and compaction, as a reader sees them."""

from __future__ import annotations

from random import Random

import pytest

from schemas.units import US_PER_MS, US_PER_S
from simulation.pools.agenda import Agenda
from simulation.pools.clocks import Clock, drawn
from simulation.pools.faults import Delivery
from simulation.pools.wire import Reader, Stored, Topic

FOREVER_US = 3_600 * US_PER_S
ALWAYS = 1_000_000


class Heard:
    """A reader that keeps what it was handed."""

    def __init__(self, agenda: Agenda, delivery: Delivery) -> None:
        self.agenda = agenda
        self.topic = Topic("t", agenda, delivery, Random("wire"))
        self.values: list[bytes] = []
        self.at_us: list[int] = []
        self.reader = Reader("r", self.take)

    def take(self, record: Stored, now_us: int) -> None:
        self.values.append(record.value)
        self.at_us.append(now_us)

    def put(self, count: int, *, every_us: int = US_PER_MS) -> list[bytes]:
        values = [b"%d" % number for number in range(count)]
        for number, value in enumerate(values):
            self.topic.put(b"key", value, now_us=number * every_us)
        self.agenda.run(FOREVER_US)
        return values


def heard(delivery: Delivery, *, from_beginning: bool = False) -> Heard:
    world = Heard(Agenda(), delivery)
    world.topic.join(world.reader, now_us=0, from_beginning=from_beginning)
    return world


def test_records_keep_their_order_however_long_each_takes() -> None:
    world = heard(Delivery(delay_ms_min=1, delay_ms_max=500))

    put = world.put(200)

    assert world.values == put
    assert world.at_us == sorted(world.at_us)


def test_overtaken_records_come_after_later_ones_and_none_is_missing() -> None:
    world = heard(Delivery(overtaken_ppm=300_000, overtaken_ms_max=2_000))

    put = world.put(200)

    assert world.values != put
    assert sorted(world.values) == sorted(put)


def test_what_is_lost_never_comes_and_what_is_repeated_comes_twice() -> None:
    lost = heard(Delivery(lost_ppm=ALWAYS))
    repeated = heard(Delivery(repeated_ppm=ALWAYS))

    lost.put(10)
    put = repeated.put(10)

    assert lost.values == []
    assert sorted(repeated.values) == sorted(put * 2)


def test_a_reader_that_is_cut_off_gets_everything_later_in_order() -> None:
    world = heard(Delivery())
    world.reader.cut_off(30 * US_PER_S)

    put = world.put(50)

    assert world.values == put
    assert min(world.at_us) >= 30 * US_PER_S


def test_of_what_it_missed_a_reader_may_get_only_the_newest_of_a_key() -> None:
    world = heard(Delivery(compacted_ppm=ALWAYS))
    world.reader.cut_off(30 * US_PER_S)

    put = world.put(50)

    assert world.values == put[-1:]
    assert world.topic.counts["compacted"] == 49


def test_a_closed_reader_gets_nothing_that_was_under_way() -> None:
    world = heard(Delivery(delay_ms_min=5, delay_ms_max=5))
    world.topic.put(b"key", b"late", now_us=0)
    world.reader.closed = True

    world.agenda.run(FOREVER_US)

    assert world.values == []
    assert world.topic.counts["unread"] == 1


def test_a_new_reader_of_a_compacted_topic_gets_the_newest_of_every_key() -> None:
    world = Heard(Agenda(), Delivery())
    for key, value in ((b"a", b"1"), (b"b", b"2"), (b"a", b"3"), (b"c", b"4")):
        world.topic.put(key, value, now_us=0)
    world.topic.put(b"c", None, now_us=0)

    world.topic.join(world.reader, now_us=0, from_beginning=True)
    world.agenda.run(FOREVER_US)

    assert sorted(world.values) == [b"2", b"3"]


@pytest.mark.parametrize("drift_ppm", [-200, 0, 200])
def test_a_drifting_clock_shows_an_instant_at_the_world_time_that_it_names(drift_ppm: int) -> None:
    clock = Clock(offset_us=7_000_000_000, drift_ppm=drift_ppm)
    mono_us = clock.moment(50 * US_PER_S).mono_us

    world_us = clock.world_us(mono_us)

    assert clock.moment(world_us).mono_us >= mono_us
    assert abs(world_us - 50 * US_PER_S) <= 1


def test_clocks_are_drawn_within_their_bounds() -> None:
    clocks = [drawn(Random(seed), drift_ppm_max=100, skew_ms_max=50) for seed in range(50)]

    assert max(abs(clock.drift_ppm) for clock in clocks) <= 100
    assert max(abs(clock.skew_us) for clock in clocks) <= 50 * US_PER_MS
    assert len({clock.offset_us for clock in clocks}) == 50
