"""The locks name every package with its hashes, agree with each other, and name no host."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = (
    "requirements.txt",
    "requirements-plots.txt",
    "requirements-build.txt",
    "requirements-dev.txt",
)
PLATFORMS = [
    pytest.param({"sys_platform": system, "platform_machine": machine}, id=f"{system} {machine}")
    for system, machine in [
        ("linux", "x86_64"),
        ("linux", "aarch64"),
        ("darwin", "x86_64"),
        ("darwin", "arm64"),
    ]
]
PYTHONS = ("3.11", "3.12", "3.13")


def locked(name: str) -> list[Requirement]:
    """The requirements of a lock, without their hashes."""
    return [Requirement(entry.split("--hash")[0].strip()) for entry in entries(name)]


def entries(name: str) -> list[str]:
    """The entries of a lock, each on one line, comments left out."""
    lines = (ROOT / name).read_text().replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.strip().startswith("#")]


def declared() -> dict[str, list[Requirement]]:
    """What pyproject.toml asks for, by the lock that has to hold it."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = project["dependency-groups"]
    dev = [line for line in groups["dev"] if isinstance(line, str)]
    needed = project["project"]["dependencies"]
    plots = project["project"]["optional-dependencies"]["plots"]
    return {
        "requirements.txt": [Requirement(line) for line in needed],
        "requirements-plots.txt": [Requirement(line) for line in [*needed, *plots]],
        "requirements-build.txt": [Requirement(line) for line in groups["build"]],
        "requirements-dev.txt": [Requirement(line) for line in dev],
    }


def applies(requirement: Requirement, environment: dict[str, str]) -> bool:
    return requirement.marker is None or requirement.marker.evaluate(environment)


@pytest.mark.parametrize("lock", LOCKS)
def test_every_entry_is_pinned_and_has_a_hash(lock: str) -> None:
    lines = entries(lock)

    assert lines != []
    assert [
        line for line in lines if not re.search(r"==\S+ .*--hash=sha256:[0-9a-f]{64}", line)
    ] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_no_host_and_no_index_is_named(lock: str) -> None:
    text = (ROOT / lock).read_text()

    assert re.findall(r"\w+://\S*|--(?:extra-)?index-url|--find-links", text) == []


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("lock", LOCKS)
def test_what_the_project_asks_for_is_locked_once_in_a_version_that_fits(
    lock: str, python: str, platform: dict[str, str]
) -> None:
    environment = {"python_version": python, "python_full_version": f"{python}.0", **platform}
    pins = [pin for pin in locked(lock) if applies(pin, environment)]

    for wanted in (w for w in declared()[lock] if applies(w, environment)):
        (version,) = (
            next(iter(pin.specifier)).version
            for pin in pins
            if canonicalize_name(pin.name) == canonicalize_name(wanted.name)
        )
        assert wanted.specifier.contains(version), f"{wanted} is locked as {version}"


@pytest.mark.parametrize("lock", LOCKS[:-1])
def test_development_has_the_versions_that_users_have(lock: str) -> None:
    ours = {(pin.name, str(pin.specifier)) for pin in locked(lock)}

    assert (
        ours - {(pin.name, str(pin.specifier)) for pin in locked("requirements-dev.txt")} == set()
    )


def test_what_images_install_has_the_versions_that_users_have_and_draws_nothing() -> None:
    ours = {(pin.name, str(pin.specifier)) for pin in locked("requirements.txt")}

    assert ours - {(p.name, str(p.specifier)) for p in locked("requirements-plots.txt")} == set()
    assert "matplotlib" not in {name for name, _ in ours}


def test_what_builds_the_project_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    builders = {Requirement(line).name for line in project["build-system"]["requires"]}

    assert builders <= {pin.name for pin in locked("requirements-build.txt")}
