"""Does another distribution own a name that this project's packages have?

The packages lie at the top level under plain words (``schemas``, ``deploy``).  That is sound in an
environment of the application's own, and wrong as soon as another distribution brings a package of
the same name: which of the two is imported then depends on the order of two folders.  The
console asks here before it does anything else.
"""

from collections.abc import Mapping, Sequence
from typing import Final

DISTRIBUTION: Final = "tokenpools"
PACKAGES: Final = ("schemas", "streams", "admission", "simulation", "console", "deploy")


def foreign_owners(owners: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Return, for each of our names that others own too, those distributions.

    ``owners`` is what ``importlib.metadata.packages_distributions()`` returns.  An editable
    install of ours is not in it, which changes nothing: any other owner is one too many.
    """
    others = {
        package: tuple(sorted({name for name in owners.get(package, ()) if not _is_ours(name)}))
        for package in PACKAGES
    }
    return {package: names for package, names in others.items() if names}


def ownership_problem(owners: Mapping[str, Sequence[str]]) -> str | None:
    """Return what to tell the operator when a name is not ours alone, or None when all are."""
    foreign = foreign_owners(owners)
    if not foreign:
        return None
    taken = "; ".join(f"{package} (by {', '.join(names)})" for package, names in foreign.items())
    return (
        f"Another distribution owns names of {DISTRIBUTION}'s packages: {taken}. "
        f"Install {DISTRIBUTION} into an environment of its own, or uninstall the other one."
    )


def _is_ours(distribution: str) -> bool:
    return distribution.lower() == DISTRIBUTION
