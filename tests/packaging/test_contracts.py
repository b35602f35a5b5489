"""The two layout rules that are our own break when they should, and only then."""

from grimp import ImportGraph
from importlinter import Contract

from tests.packaging.contracts import OneDoor, Plain

DOORS = {"library": "faust", "doors": ["streams.app", "streams.agents", "*.metrics"]}
PLAIN = {"modules": ["schemas", "streams.core"], "libraries": ["msgspec"]}


def graph_of(*imports: tuple[str, str]) -> ImportGraph:
    """A graph with these imports; what has no dot and is no package of ours is a library."""
    graph = ImportGraph()
    for importer, imported in imports:
        graph.add_module(importer)
        is_ours = imported.split(".")[0] in {"schemas", "streams", "admission"}
        graph.add_module(imported, is_squashed=not is_ours)
        graph.add_import(importer=importer, imported=imported)
    return graph


def breaches(rule: Contract, graph: ImportGraph) -> list[str]:
    check = rule.check(graph, verbose=False)
    found: list[str] = check.metadata["breaches"]
    assert check.kept == (not found)
    return found


def test_a_library_may_be_imported_through_its_doors() -> None:
    graph = graph_of(
        ("streams.app", "faust"), ("streams.agents.usage", "faust"), ("admission.metrics", "faust")
    )

    assert breaches(OneDoor("faust", {}, DOORS), graph) == []


def test_a_library_may_not_be_imported_beside_its_doors() -> None:
    graph = graph_of(("streams.application", "faust"), ("streams.history.sink", "faust"))

    assert breaches(OneDoor("faust", {}, DOORS), graph) == [
        "streams.application imports faust",
        "streams.history.sink imports faust",
    ]


def test_a_library_without_doors_may_be_imported_nowhere() -> None:
    graph = graph_of(("streams.app", "faust"))

    assert breaches(OneDoor("faust", {}, {"library": "faust"}), graph) == [
        "streams.app imports faust"
    ]


def test_a_library_that_nobody_imports_breaks_nothing() -> None:
    assert breaches(OneDoor("faust", {}, DOORS), graph_of(("streams.app", "aiokafka"))) == []


def test_a_plain_package_imports_python_itself_and_the_named_library() -> None:
    graph = graph_of(
        ("schemas.wire", "msgspec"),
        ("schemas.wire", "typing"),
        ("streams.core.ledger", "schemas.wire"),
        ("streams.app", "faust"),
    )

    assert breaches(Plain("plain", {}, PLAIN), graph) == []


def test_a_plain_package_imports_no_other_library() -> None:
    graph = graph_of(("schemas.wire", "pydantic"), ("streams.core.ledger", "numpy"))

    assert breaches(Plain("plain", {}, PLAIN), graph) == [
        "schemas.wire imports pydantic",
        "streams.core.ledger imports numpy",
    ]
