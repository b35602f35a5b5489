"""Rewriting: a production function with some of its text replaced, while a test needs it so.

The text must be there exactly once: a mutation of code that has changed fails loudly instead of
mutating nothing.  A module's function is replaced in every module that has imported it.
"""

from __future__ import annotations
import __future__

import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from types import FunctionType
from typing import Any, Final

PACKAGES: Final = ("streams", "admission", "simulation")


class TextGoneError(Exception):
    """The function no longer has the text that a mutation replaces."""


@dataclass(frozen=True)
class Edit:
    """One function (``module:name`` or ``module:Class.name``) and what to replace in it."""

    function: str
    old: str
    new: str


@contextmanager
def rewritten(edits: Sequence[Edit]) -> Iterator[None]:
    """Run with every edit applied; everything is as before afterwards."""
    functions = dict.fromkeys(edit.function for edit in edits)
    with ExitStack() as stack:
        for function in functions:
            mine = [edit for edit in edits if edit.function == function]
            stack.enter_context(_applied(function, mine))
        yield


@contextmanager
def _applied(function: str, edits: Sequence[Edit]) -> Iterator[None]:
    module_name, qualified = function.split(":")
    owner: Any = import_module(module_name)
    *classes, name = qualified.split(".")
    for each in classes:
        owner = getattr(owner, each)
    before = vars(owner)[name]
    places = [(owner, name)] if classes else list(_holders(before))
    after = _rewrite(before, edits)
    for holder, attribute in places:
        setattr(holder, attribute, after)
    try:
        yield
    finally:
        for holder, attribute in places:
            setattr(holder, attribute, before)


def _rewrite(function: FunctionType, edits: Sequence[Edit]) -> Callable[..., object]:
    source = textwrap.dedent(inspect.getsource(function))
    for edit in edits:
        if source.count(edit.old) != 1:
            count = source.count(edit.old)
            raise TextGoneError(f"{edit.function} has {count} times: {edit.old!r}")
        source = source.replace(edit.old, edit.new)
    code = compile(
        source,
        filename=f"<{function.__qualname__} mutated>",
        mode="exec",
        flags=__future__.annotations.compiler_flag,
        dont_inherit=True,
    )
    names: dict[str, Any] = {}
    exec(code, function.__globals__, names)
    result: Callable[..., object] = names[function.__name__]
    return result


def _holders(function: object) -> Iterator[tuple[object, str]]:
    for module_name, module in list(sys.modules.items()):
        if module_name.split(".")[0] in PACKAGES:
            for name, value in list(vars(module).items()):
                if value is function:
                    yield module, name
