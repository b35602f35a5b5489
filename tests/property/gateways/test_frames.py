"""Frames: whatever waits is taken once, in order, within the bounds, byte by byte."""

from hypothesis import given
from hypothesis import strategies as st

from admission.gateways.frames import Line, Waiting, record_of
from tests.component.gateways.samples import usage

EVENT = usage("chat", sequence=1)
VALUES = st.lists(st.binary(min_size=1, max_size=40).map(lambda raw: raw.hex().encode()))


def lines_of(values: list[bytes]) -> list[Line]:
    return [Line(EVENT, value, float(number)) for number, value in enumerate(values)]


@given(values=VALUES, events_max=st.integers(1, 5), bytes_max=st.integers(1, 200))
def test_frames_hold_every_line_once_in_order_within_their_bounds(
    values: list[bytes], events_max: int, bytes_max: int
) -> None:
    waiting = Waiting(events_max=events_max, bytes_max=bytes_max)
    for line in lines_of(values):
        waiting.add(line)
    frames = []
    while waiting:
        was_full = waiting.is_full
        frames.append(waiting.take())
        assert was_full or not waiting

    records = [record_of(frame)[0] for frame in frames]
    assert b"\n".join(records) == b"\n".join(values)
    assert sum(map(len, frames)) == len(values)
    for frame, record in zip(frames, records, strict=True):
        assert 1 <= len(frame) <= events_max
        assert len(record) <= bytes_max or len(frame) == 1


@given(values=VALUES)
def test_taking_all_leaves_nothing_that_fills_a_later_frame(values: list[bytes]) -> None:
    waiting = Waiting(events_max=1_000, bytes_max=1_000_000)
    for line in lines_of(values):
        waiting.add(line)

    assert [line.value for line in waiting.take_all()] == values
    assert not waiting
    assert not waiting.is_full
