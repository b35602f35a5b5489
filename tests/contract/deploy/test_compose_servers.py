"""Servers, ports, order and volumes in docker-compose.yml, and what Prometheus reads."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import chdb
import pytest
import yaml

from deploy.local.broker_settings import ONE_NODE
from tests.contract.deploy.containers import (
    ROOT,
    asked_url,
    compose,
    is_ours,
    long_running,
    mounts,
    our_commands,
    services,
    variables,
)

SERVICES: Final = sorted(services())
EXACT_TAG: Final = re.compile(r"[\w./-]+:v?\d+\.\d+\.\d+(\.\d+)?")


def image_of(name: str) -> tuple[str, str]:
    image, _, tag = services()[name]["image"].partition(":")
    return image, tag


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_has_an_exact_version(name: str) -> None:
    assert EXACT_TAG.fullmatch(services()[name]["image"])


def test_kafka_has_the_version_that_is_locked_for_one_machine() -> None:
    lock = json.loads((ROOT / "deploy" / "local" / "kafka_jars.lock").read_text())

    assert image_of("kafka") == ("apache/kafka", lock["kafka_version"])


def test_clickhouse_has_the_release_of_the_engine_on_one_machine() -> None:
    image, tag = image_of("clickhouse")

    assert image == "clickhouse/clickhouse-server"
    assert tag.split(".")[:2] == chdb.engine_version.split(".")[:2]


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_published_on_this_machine_alone(name: str) -> None:
    for port in services()[name].get("ports", ()):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)
    assert services()[name].get("network_mode", "none") == "none"


def test_no_port_is_published_twice() -> None:
    published = [
        port.split(":")[1] for each in services().values() for port in each.get("ports", ())
    ]

    assert len(set(published)) == len(published)


# --- order and health -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", SERVICES)
def test_what_keeps_running_has_a_health_check_and_is_started_again(name: str) -> None:
    service = services()[name]

    if service["restart"] == "no":
        assert "healthcheck" not in service
    else:
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"][0] == "CMD"


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_waits_for_what_can_come_true(name: str) -> None:
    for other, needed in services()[name].get("depends_on", {}).items():
        ends = services()[other]["restart"] == "no"

        assert needed["condition"] == (
            "service_completed_successfully" if ends else "service_healthy"
        )


@pytest.mark.parametrize("name", sorted(our_commands()))
def test_what_a_process_needs_is_started_before_it(name: str) -> None:
    before = everything_before(name)

    if "KAFKA_BOOTSTRAP_SERVERS" in variables(services()[name]):
        assert "kafka" in before
    if "CLICKHOUSE_DSN" in variables(services()[name]):
        assert {"clickhouse", "secrets"} <= before
    if name in long_running():
        assert "topics" in before


def everything_before(name: str) -> set[str]:
    direct = set(services()[name].get("depends_on", {}))
    return direct.union(*(everything_before(other) for other in direct))


# --- volumes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_mounted_exists(name: str) -> None:
    for source in mounts(services()[name]).values():
        if source.startswith("."):
            assert (ROOT / source).exists()
        else:
            assert source in compose()["volumes"]


@pytest.mark.parametrize(
    ("name", "setting"),
    [("kafka", "KAFKA_LOG_DIRS"), ("prometheus", "--storage.tsdb.path")],
)
def test_data_lies_in_a_volume(name: str, setting: str) -> None:
    said = variables(services()[name]) | dict(
        each.split("=", 1) for each in services()[name].get("command", ())
    )

    assert mounts(services()[name])[said[setting]] == name


@pytest.mark.parametrize("name", sorted(each for each in SERVICES if is_ours(services()[each])))
def test_a_process_of_ours_has_no_rights_that_it_does_not_need(name: str) -> None:
    service = services()[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


# --- Kafka ----------------------------------------------------------------------------------------


def listeners(setting: str) -> dict[str, str]:
    return dict(each.split("://") for each in variables(services()["kafka"])[setting].split(","))


def test_kafka_is_advertised_where_its_clients_look_for_it() -> None:
    advertised = listeners("KAFKA_ADVERTISED_LISTENERS")
    asked = {
        variables(each)["KAFKA_BOOTSTRAP_SERVERS"]
        for each in our_commands().values()
        if "KAFKA_BOOTSTRAP_SERVERS" in variables(each)
    }
    (published,) = services()["kafka"]["ports"]

    assert asked == {advertised["INSIDE"]}
    assert advertised["HOST"] == published.rsplit(":", 1)[0]
    assert listeners("KAFKA_LISTENERS")["HOST"].rpartition(":")[2] == published.rpartition(":")[2]


def test_kafka_is_told_what_the_broker_on_one_machine_is_told() -> None:
    given = {
        name.removeprefix("KAFKA_").lower().replace("_", "."): value
        for name, value in variables(services()["kafka"]).items()
    }
    shared = given.keys() & ONE_NODE.keys()

    assert {name: given[name] for name in shared} == {name: ONE_NODE[name] for name in shared}
    assert {name for name in ONE_NODE if name.endswith(("replication.factor", "min.isr"))} <= shared
    assert given["auto.create.topics.enable"] == "false"


# --- Prometheus -----------------------------------------------------------------------------------


def scraped() -> dict[str, tuple[int, str]]:
    """Return port and path that Prometheus reads, by the service's name."""
    text = (ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text()
    jobs: list[dict[str, Any]] = yaml.safe_load(text)["scrape_configs"]
    return {
        name: (found["port"], job["metrics_path"])
        for job in jobs
        for found in job["dns_sd_configs"]
        for name in found["names"]
    }


def test_prometheus_reads_every_process_where_it_serves_metrics() -> None:
    ports = {name: asked_url(service)[0] for name, service in long_running().items()}

    assert scraped() == {name: (port, "/metrics") for name, port in ports.items()}


def test_prometheus_is_given_the_file() -> None:
    prometheus = services()["prometheus"]
    file = dict(each.split("=", 1) for each in prometheus["command"])["--config.file"]

    assert mounts(prometheus)[file] == "./deploy/prometheus/prometheus.yml"
