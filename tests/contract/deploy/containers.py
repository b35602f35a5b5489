"""docker-compose.yml and the Dockerfile, read for the tests; no container engine is needed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[3]
DOCKERFILE: Final = ROOT / "deploy" / "images" / "Dockerfile"
OUR_IMAGE: Final = "tokenpools"
RESERVATION_KEY: Final = "00" * 32


@cache
def compose() -> dict[str, Any]:
    """Return docker-compose.yml, its anchors filled in; nobody changes what is returned."""
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose()["services"]
    return found


def is_ours(service: Mapping[str, Any]) -> bool:
    return str(service["image"]).partition(":")[0] == OUR_IMAGE


def our_commands() -> dict[str, dict[str, Any]]:
    """Return the services that run a ``tokenpools`` command."""
    return {
        name: service
        for name, service in services().items()
        if is_ours(service) and "entrypoint" not in service
    }


def long_running() -> dict[str, dict[str, Any]]:
    return {name: each for name, each in our_commands().items() if each["restart"] != "no"}


def variables(service: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment that compose gives to a service, as its process sees it."""
    return {name: str(value) for name, value in service.get("environment", {}).items()}


def mounts(service: Mapping[str, Any]) -> dict[str, str]:
    """Return what is mounted where: path in the container to volume or path here."""
    found = {}
    for volume in service.get("volumes", ()):
        source, target = _with_defaults(volume).split(":")[:2]
        found[target] = source
    return found


def arguments(service: Mapping[str, Any]) -> list[str]:
    """Return the command with paths in the container replaced by those they are mounted from."""
    mounted = mounts(service)
    return [str(ROOT / mounted[each]) if each in mounted else each for each in service["command"]]


def asked_url(service: Mapping[str, Any]) -> tuple[int, str]:
    """Return port and path of the URL that a health check asks."""
    url = re.search(r"http://127\.0\.0\.1:(\d+)(/[\w/-]+)", service["healthcheck"]["test"][-1])
    assert url is not None
    return int(url[1]), url[2]


def _with_defaults(text: str) -> str:
    """Return ``text`` with ``${NAME:-default}`` as it is when the variable is not set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


@dataclass
class Recording(Mapping[str, str]):
    """An environment that knows which of its variables were asked for."""

    environ: Mapping[str, str]
    asked: set[str] = field(default_factory=set)

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        return self.environ[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.environ)

    def __len__(self) -> int:
        return len(self.environ)


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions in order, each on one line."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [
        (words[0], " ".join(words[1:])) for line in joined.splitlines() if (words := line.split())
    ]


def last_stage() -> list[tuple[str, str]]:
    """Return the instructions of the image itself."""
    steps = instructions()
    start = max(number for number, (name, _) in enumerate(steps) if name == "FROM")
    return steps[start:]


def image_variables() -> dict[str, str]:
    """Return what ENV sets in the image."""
    pairs = [pair for name, rest in last_stage() if name == "ENV" for pair in rest.split()]
    return dict(pair.split("=", 1) for pair in pairs)


def copied() -> list[str]:
    """Return what is copied from the checkout."""
    sources: list[str] = []
    for name, rest in instructions():
        if name == "COPY" and not rest.startswith("--from="):
            sources += rest.split()[:-1]
    return sources
