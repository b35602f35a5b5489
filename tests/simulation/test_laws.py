"""Laws judged by hand: what each check takes for broken, and what it lets pass."""

from __future__ import annotations

import pytest

from schemas.specs import ServiceClass
from simulation.laws.broken import Broken
from simulation.laws.charges import Charges
from simulation.laws.lines import Line, Triple
from simulation.laws.order import check_headroom, check_order

SECOND_US = 1_000_000
E = ServiceClass.ELASTIC
SPOT = ServiceClass.SPOT
MUCH = (1_000, 1_000, 1_000)


def line(uid: str, kind: ServiceClass, *, want: Triple, grant: Triple, baseline: int = 0) -> Line:
    promised = (baseline, baseline, baseline)
    floor = promised if kind.is_reserved else (0, 0, 0)
    return Line(uid, kind, want, promised, MUCH, floor, grant, (0, 0, 0))


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        pytest.param(
            [
                line("e", E, want=(4, 4, 4), grant=(2, 2, 2), baseline=4),
                line("s", SPOT, want=(4, 4, 4), grant=(2, 2, 2)),
            ],
            ["order", "order"],
            id="spot has what an elastic baseline lacks (and its burst)",
        ),
        pytest.param(
            [
                line("e", E, want=(4, 4, 4), grant=(2, 2, 2), baseline=4),
                line("s", SPOT, want=(0, 4, 4), grant=(0, 2, 2)),
            ],
            [],
            id="tokens are short, and spot has none of them",
        ),
        pytest.param(
            [
                line("e", E, want=(40, 4, 4), grant=(4, 1, 1), baseline=4),
                line("s", SPOT, want=(0, 3, 3), grant=(0, 3, 3)),
            ],
            [],
            id="a tenth of the tokens can use a tenth of the slots",
        ),
        pytest.param(
            [
                line("a", E, want=(4, 4, 4), grant=(1, 1, 1), baseline=4),
                line("b", E, want=(8, 8, 8), grant=(7, 7, 7), baseline=4),
            ],
            ["order"],
            id="a peer bursts while a baseline is short",
        ),
    ],
)
def test_who_is_short_while_later_phases_have_some(lines: list[Line], names: list[str]) -> None:
    assert [broken.name for broken in check_order(lines)] == names


def test_surplus_grants_leave_the_headroom_free() -> None:
    lines = [line("s", SPOT, want=(0, 0, 9), grant=(0, 0, 9))]

    assert list(check_headroom(lines, slots=10, headroom_slots=1)) == []
    assert [broken.law for broken in check_headroom(lines, slots=10, headroom_slots=2)] == [4]


def charged(charges: Charges, *amounts: tuple[int, int], bound: int = 0) -> list[Broken]:
    """Charge (second, tokens), with a tick every second and a depth of 20 tokens; then close."""
    broken: list[Broken] = []
    last_s = 0
    for at_s, tokens in amounts:
        for second in range(last_s + 1, at_s + 1):
            broken += charges.tick(bound, now_us=second * SECOND_US)
        last_s = at_s
        charges.charge(tokens, depth_tokens=20, now_us=at_s * SECOND_US)
    return broken + list(charges.close())


def at_ten_per_second() -> Charges:
    return Charges(lease_us=SECOND_US, capacity_tokens_per_s=10)


def test_a_window_may_charge_capacity_and_depths() -> None:
    assert charged(at_ten_per_second(), (0, 20), (1, 10), (2, 10), (3, 10)) == []


def test_a_window_that_charges_more_is_named_once_per_length() -> None:
    broken = charged(at_ten_per_second(), (0, 20), (1, 10), (1, 5))

    assert {each.name for each in broken} == {"tokens charged"}
    assert all("5 tokens more" in each.sentence for each in broken)


def test_the_exported_bound_and_what_is_taken_back_allow_more() -> None:
    assert charged(at_ten_per_second(), (0, 20), (1, 10), (2, 15), bound=5) == []
    assert charged(at_ten_per_second(), (0, 30), (1, -10), (1, 10), (2, 10), bound=10) == []
