"""Our processes in docker-compose.yml: their commands, settings, health checks and secrets."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import click
import pytest

from admission.app import build_app
from admission.serve import admitter_of
from admission.settings import Settings as AdmissionSettings
from console.cli import COMMANDS, main
from deploy.images.first_secrets import make
from deploy.ownership import DISTRIBUTION
from schemas.connections import clickhouse_options, kafka_options
from streams.autoscaler.settings import Settings as AutoscalerSettings
from streams.history.settings import Settings as HistorySettings
from streams.settings import from_env as streams_settings
from tests.contract.deploy.containers import (
    RESERVATION_KEY,
    ROOT,
    Recording,
    arguments,
    asked_url,
    image_variables,
    long_running,
    mounts,
    our_commands,
    services,
    variables,
)

Parse = Callable[..., Any]

SETTINGS: Final[Mapping[str, Parse]] = {
    "topics": kafka_options,
    "apply": kafka_options,
    "migrate": clickhouse_options,
    "streams": streams_settings,
    "history": HistorySettings.from_env,
    "autoscaler": AutoscalerSettings.from_env,
    "admission": AdmissionSettings.from_env,
}
"""What each command makes of its environment."""

SERVICES: Final = sorted(our_commands())
PROCESSES: Final = sorted(long_running())
METERED: Final = sorted(set(PROCESSES) - {"admission-1", "admission-2"})


def environment_of(name: str) -> dict[str, str]:
    return image_variables() | variables(services()[name])


def settings_of(name: str, environ: Mapping[str, str]) -> Any:
    parse = SETTINGS[services()[name]["command"][0]]
    return parse(environ, read_text=lambda _path: RESERVATION_KEY)


@pytest.mark.parametrize("name", SERVICES)
def test_a_process_starts_with_the_environment_that_it_is_given(name: str) -> None:
    settings_of(name, environment_of(name))


@pytest.mark.parametrize("name", SERVICES)
def test_every_variable_of_a_process_is_one_that_its_settings_read(name: str) -> None:
    environ = Recording(environment_of(name))

    settings_of(name, environ)

    assert set(variables(services()[name])) - environ.asked == set()


def test_every_setting_of_the_image_is_read_by_a_process() -> None:
    asked: set[str] = set()
    for name in SERVICES:
        environ = Recording(environment_of(name))
        settings_of(name, environ)
        asked |= environ.asked

    assert {name for name in image_variables() if name.startswith("TOKENPOOLS_")} <= asked


@pytest.mark.parametrize("name", SERVICES)
def test_a_command_exists_and_takes_its_arguments(name: str) -> None:
    command, *rest = arguments(services()[name])

    assert command in COMMANDS
    with click.Context(main) as context:
        found = main.get_command(context, command)
        assert found is not None
        found.make_context(command, rest)


def test_every_process_of_the_loop_runs_and_two_admitters_do() -> None:
    running = sorted(service["command"][0] for service in long_running().values())

    assert running == ["admission", "admission", "autoscaler", "history", "streams"]


def test_commands_that_are_shown_to_a_person_exist() -> None:
    files = ["docker-compose.yml", "deploy/images/pools.example.yaml"]
    text = "\n".join((ROOT / file).read_text() for file in files)
    shown = re.findall(r"docker compose run --rm --no-deps (\S+) (\S+)", text)

    assert shown != []
    assert {service for service, _ in shown} <= set(our_commands())
    assert {command for _, command in shown} <= set(COMMANDS)


# --- health and ports -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["admission-1", "admission-2"])
def test_an_admitters_health_path_is_a_route_at_the_port_that_it_binds(name: str) -> None:
    settings = settings_of(name, environment_of(name))
    app = build_app(admitter_of(settings), body_bytes_max=settings.body_bytes_max)

    port, path = asked_url(services()[name])

    assert port == settings.port
    assert path in {getattr(route, "path", None) for route in app.routes}


@pytest.mark.parametrize("name", METERED)
def test_a_process_without_an_api_is_healthy_when_it_serves_its_metrics(name: str) -> None:
    settings = settings_of(name, environment_of(name))

    assert asked_url(services()[name]) == (settings.metrics_port, "/metrics")
    assert settings.metrics_host == "0.0.0.0"


@pytest.mark.parametrize("name", ["admission-1", "admission-2"])
def test_an_admitter_is_published_where_it_says_that_gateways_reach_it(name: str) -> None:
    settings = settings_of(name, environment_of(name))
    (published,) = services()[name]["ports"]

    address, inside = published.rsplit(":", 1)

    assert settings.url == f"http://{address}"
    assert int(inside) == settings.port


def test_admitters_have_different_names_and_addresses() -> None:
    one, two = (settings_of(name, environment_of(name)) for name in ("admission-1", "admission-2"))

    assert one.name != two.name
    assert one.url != two.url
    assert one.reservation_key == two.reservation_key


@pytest.mark.parametrize("name", PROCESSES)
def test_a_process_has_more_time_to_stop_than_it_takes(name: str) -> None:
    assert services()[name]["stop_grace_period"] == "15s"  # a process takes at most 10 s


# --- secrets --------------------------------------------------------------------------------------


def test_no_secret_stands_in_the_file() -> None:
    given = [name for service in services().values() for name in variables(service)]

    assert [name for name in given if name.endswith(("PASSWORD", "_KEY", "SECRET"))] == []
    assert re.findall(r"://\w*:\w+@", (ROOT / "docker-compose.yml").read_text()) == []


def test_the_secrets_of_the_first_start_are_the_files_that_processes_read(tmp_path: Path) -> None:
    made = make(tmp_path)
    folder = services()["secrets"]["entrypoint"][-1]
    names = {f"{folder}/{path.relative_to(tmp_path).as_posix()}" for path in made}
    read = {
        value
        for name in SERVICES
        for variable, value in variables(services()[name]).items()
        if variable.endswith("_FILE")
    }

    assert read == names
    assert mounts(services()["secrets"]) == {f"{folder}/secrets": "secrets"}
    for name in SERVICES:
        if any(variable.endswith("_FILE") for variable in variables(services()[name])):
            assert mounts(services()[name])[f"{folder}/secrets"] == "secrets"


def test_the_databases_own_container_reads_the_same_password_as_its_clients() -> None:
    clickhouse = services()["clickhouse"]
    options = clickhouse_options(variables(services()["migrate"]), read_text=lambda path: path)
    file = variables(clickhouse)["CLICKHOUSE_PASSWORD_FILE"]
    folder, _, name = file.rpartition("/")

    assert variables(clickhouse)["CLICKHOUSE_USER"] == options.username
    assert mounts(clickhouse)[folder] == "secrets"
    assert options.password.rpartition("/")[2] == name


def test_the_image_is_named_by_the_projects_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    images = {services()[name]["image"] for name in SERVICES}

    assert images == {f"{DISTRIBUTION}:{project['version']}"}
