"""The layout holds: small modules, packages that are only a docstring, cores without frameworks."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.ownership import PACKAGES

ROOT = Path(__file__).parents[2]
MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 50
CODE = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
FRAMEWORKS = {"aiokafka", "asyncio", "clickhouse_connect", "fastapi", "faust", "prometheus_client"}
IMPORT_ALL = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    importlib.import_module(module.name)
print(*sys.modules)
"""


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_a_package_file_is_a_docstring_and_nothing_else() -> None:
    packages = [path for path in CODE if path.name == "__init__.py"]
    bodies = {name_of(path): ast.parse(path.read_text()) for path in packages}

    assert [name for name, tree in bodies.items() if not ast.get_docstring(tree)] == []
    assert [name for name, tree in bodies.items() if len(tree.body) > 1] == []


def test_no_module_is_longer_than_a_reader_bears() -> None:
    lines = {name_of(path): len(path.read_text().splitlines()) for path in CODE}

    assert {name: n for name, n in lines.items() if n > MODULE_LINES_MAX} == {}


def test_no_function_is_longer_than_a_screen() -> None:
    lengths = {
        f"{name_of(path)}: {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in CODE
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }

    assert {name: n for name, n in lengths.items() if n > FUNCTION_LINES_MAX} == {}


@pytest.mark.parametrize("package", ["schemas", "streams.core", "admission.core"])
def test_words_and_cores_bring_no_framework_into_the_process(package: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, package],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {name.split(".")[0] for name in run.stdout.split()}

    assert package.split(".", maxsplit=1)[0] in loaded
    assert loaded & FRAMEWORKS == set()
