"""Two rules of the layout that import-linter has no contract for.

``OneDoor``: a library is imported in the modules that are its door and nowhere else.  ``Plain``:
a package imports the standard library and the named libraries only.  Both look at imports that
stand in the code (not at what those bring in), and neither minds a library or a module that does
not exist yet.  ``pyproject.toml`` names the doors; ``lint-imports`` runs the rules.
"""

import sys
from collections.abc import Iterable
from fnmatch import fnmatchcase

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class OneDoor(Contract):
    """``library`` is imported by ``doors`` only: packages, modules, or patterns (``*.metrics``)."""

    library = fields.StringField()
    doors = fields.ListField(subfield=fields.StringField(), required=False)

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        library = str(self.library)
        importers = importers_of(graph, library)
        strangers = [name for name in importers if not is_inside(name, _strings(self.doors))]
        return _verdict(f"{name} imports {library}" for name in strangers)

    def render_broken_contract(self, check: ContractCheck) -> None:
        _print(check)


class Plain(Contract):
    """``modules`` (packages) import the standard library, this project and ``libraries`` only."""

    modules = fields.ListField(subfield=fields.StringField())
    libraries = fields.ListField(subfield=fields.StringField(), required=False)

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        allowed = sys.stdlib_module_names | set(_strings(self.libraries))
        modules = _strings(self.modules)
        foreign = (name for name in graph.modules if graph.is_module_squashed(name))
        return _verdict(
            f"{name} imports {library}"
            for library in foreign
            if library not in allowed
            for name in importers_of(graph, library)
            if is_inside(name, modules)
        )

    def render_broken_contract(self, check: ContractCheck) -> None:
        _print(check)


def importers_of(graph: ImportGraph, library: str) -> list[str]:
    """Return the modules that import ``library`` themselves, sorted; none if nobody does."""
    if library not in graph.modules:
        return []
    return sorted(graph.find_modules_that_directly_import(library))


def is_inside(module: str, places: Iterable[str]) -> bool:
    """Whether ``module`` is one of these places, or lies within one of them."""
    return any(fnmatchcase(module, place) or module.startswith(f"{place}.") for place in places)


def _strings(option: object) -> tuple[str, ...]:
    """Return what import-linter put in the place of a list field (nothing if it was left out)."""
    return tuple(map(str, option)) if isinstance(option, list) else ()


def _verdict(breaches: Iterable[str]) -> ContractCheck:
    found = sorted(breaches)
    return ContractCheck(kept=not found, metadata={"breaches": found})


def _print(check: ContractCheck) -> None:
    for breach in check.metadata["breaches"]:
        output.print_error(breach, bold=False)
