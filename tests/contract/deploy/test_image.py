"""The image: what it is made of, and as whom it runs."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path
from typing import Final

import pytest
from hatchling.builders.wheel import WheelBuilder
from packaging.specifiers import SpecifierSet

from deploy.ownership import PACKAGES
from tests.contract.deploy.containers import (
    DOCKERFILE,
    ROOT,
    copied,
    image_variables,
    instructions,
    last_stage,
)

LOCKS: Final = ("requirements-build.txt", "requirements.txt")


def test_everything_that_is_copied_exists() -> None:
    assert [source for source in copied() if not (ROOT / source).exists()] == []


def test_everything_that_is_copied_is_sent_to_the_builder() -> None:
    rules = (ROOT / ".dockerignore").read_text().splitlines()

    assert "*" in rules
    assert {rule.removeprefix("!") for rule in rules if rule.startswith("!")} == set(copied())


def test_what_is_copied_is_enough_to_build_the_project(tmp_path: Path) -> None:
    for source in copied():
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, tmp_path / source)
        else:
            shutil.copy(ROOT / source, tmp_path / source)

    built = next(WheelBuilder(str(tmp_path)).build(directory=str(tmp_path), versions=["standard"]))

    assert Path(built).exists()
    assert set(PACKAGES) <= set(copied())


def test_every_stage_is_made_of_the_same_exact_python_that_the_project_supports() -> None:
    bases = {rest.split()[0] for name, rest in instructions() if name == "FROM"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    (base,) = bases
    image, _, tag = base.partition(":")
    version, _, variant = tag.partition("-")
    assert (image, variant) == ("python", "slim-trixie")
    assert SpecifierSet(project["requires-python"]).contains(version)
    assert version.count(".") == 2


@pytest.mark.parametrize("lock", LOCKS)
def test_packages_are_installed_from_the_locks_with_their_hashes(lock: str) -> None:
    steps = [rest for name, rest in instructions() if name == "RUN" and lock in rest]

    assert [f"--require-hashes --no-build-isolation --requirement {lock}" in s for s in steps] == [
        True
    ]


def test_the_builder_has_a_compiler_and_the_image_has_none() -> None:
    assert "install --yes --no-install-recommends gcc" in DOCKERFILE.read_text()
    assert [rest for name, rest in last_stage() if name == "RUN" and "apt-get" in rest] == []


def test_the_image_runs_the_console_as_nobody_in_particular() -> None:
    steps = dict(last_stage())

    assert steps["USER"] == "10001:10001"
    assert steps["ENTRYPOINT"] == '["tokenpools"]'
    assert "HEALTHCHECK" not in steps


def test_the_image_itself_says_that_a_container_is_reached_from_outside() -> None:
    assert image_variables()["TOKENPOOLS_ADMISSION_HOST"] == "0.0.0.0"
    assert image_variables()["TOKENPOOLS_METRICS_HOST"] == "0.0.0.0"
