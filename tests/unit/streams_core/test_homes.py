"""Homes: everybody agrees, restarts move nothing, and a newcomer moves only its own part."""

from __future__ import annotations

from streams.core.homes import home_of, homes

UIDS = [f"tenant-{number}" for number in range(200)]
THREE = {"a-1": "http://a", "b-1": "http://b", "c-1": "http://c"}


def test_without_admitters_there_is_no_home() -> None:
    assert home_of("x", {}) == ""
    assert homes(UIDS, {}) == {}


def test_a_restart_under_the_same_url_keeps_its_homes() -> None:
    restarted = {"a-2": "http://a", "b-1": "http://b", "c-1": "http://c"}

    assert [home.split("-")[0] for home in homes(UIDS, THREE).values()] == [
        home.split("-")[0] for home in homes(UIDS, restarted).values()
    ]


def test_a_newcomer_takes_only_what_becomes_its_own() -> None:
    before, after = homes(UIDS, THREE), homes(UIDS, THREE | {"d-1": "http://d"})

    moved = {uid for uid in UIDS if before[uid] != after[uid]}

    assert {after[uid] for uid in moved} == {"d-1"}
    assert 25 < len(moved) < 75


def test_homes_are_spread() -> None:
    owners = list(homes(UIDS, THREE).values())

    assert min(owners.count(name) for name in THREE) > 40


def test_the_highest_sha256_of_uid_and_url_is_the_home() -> None:
    """273a… for "acme|http://a", 0675… for "acme|http://b"."""
    assert home_of("acme", {"a-1": "http://a", "b-1": "http://b"}) == "a-1"
