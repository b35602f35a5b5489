"""The wheel holds the packages of the layout, all of their files, and nothing else."""

from importlib.metadata import entry_points
from pathlib import Path
from zipfile import ZipFile

import click
import pytest
from hatchling.builders.wheel import WheelBuilder

from deploy.ownership import DISTRIBUTION, PACKAGES

ROOT = Path(__file__).parents[2]
DATA_SUFFIXES = {".json", ".lock", ".md", ".properties", ".sql", ".xml", ".yaml", ".yml"}


@pytest.fixture(scope="module")
def wheel_files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Names of the files in a wheel that was built now from this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    wheel = next(WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"]))
    with ZipFile(wheel) as archive:
        return archive.namelist()


def test_the_wheel_holds_the_packages_of_the_layout_and_nothing_else(
    wheel_files: list[str],
) -> None:
    tops = {name.split("/")[0] for name in wheel_files}

    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)
    assert len(tops) == len(PACKAGES) + 1


def test_every_file_of_a_package_is_in_the_wheel(wheel_files: list[str]) -> None:
    in_checkout = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert {name for name in wheel_files if ".dist-info/" not in name} == in_checkout


def test_what_is_not_code_in_the_wheel_is_data_of_a_known_kind(wheel_files: list[str]) -> None:
    data = [name for name in wheel_files if ".dist-info/" not in name and name[-3:] != ".py"]
    named = [name for name in data if Path(name).name != "Dockerfile"]

    assert {Path(name).suffix for name in named} <= DATA_SUFFIXES


def test_every_folder_with_code_is_a_package(wheel_files: list[str]) -> None:
    folders = {str(Path(name).parent) for name in wheel_files if name.endswith(".py")}

    assert [folder for folder in folders if f"{folder}/__init__.py" not in wheel_files] == []


def test_the_console_script_is_a_click_group() -> None:
    (script,) = (e for e in entry_points(group="console_scripts") if e.name == DISTRIBUTION)

    assert isinstance(script.load(), click.Group)
