"""Which admitter does a gateway ask first?"""

from __future__ import annotations

from admission.gateways.routing import Admitters

ONE, TWO, THREE = "http://one", "http://two", "http://three"


def admitters(*, homes_max: int = 2) -> Admitters:
    return Admitters([ONE, TWO, THREE], suspect_ms=1_000, homes_max=homes_max)


def test_admitters_are_asked_in_turn() -> None:
    asked = admitters()

    firsts = {asked.order(now_ms=0)[0] for _ in range(3)}

    assert firsts == {ONE, TWO, THREE}


def test_an_entitlement_with_a_home_asks_there_first() -> None:
    asked = admitters()
    asked.has_home("acme", TWO)

    assert {asked.order(now_ms=0, asker="acme")[0] for _ in range(3)} == {TWO}
    assert {asked.order(now_ms=0, asker="other")[0] for _ in range(3)} == {ONE, TWO, THREE}


def test_a_silent_home_is_asked_last_for_a_while() -> None:
    asked = admitters()
    asked.has_home("acme", TWO)
    asked.failed(TWO, now_ms=0)

    assert asked.order(now_ms=500, asker="acme")[-1] == TWO
    assert asked.order(now_ms=1_001, asker="acme")[0] == TWO


def test_homes_are_bounded_and_the_oldest_is_forgotten() -> None:
    asked = admitters(homes_max=2)
    for asker in ("a", "b", "a", "c"):
        asked.has_home(asker, TWO)

    assert {asked.order(now_ms=0, asker="b")[0] for _ in range(3)} == {ONE, TWO, THREE}
    assert {asked.order(now_ms=0, asker="a")[0] for _ in range(3)} == {TWO}
