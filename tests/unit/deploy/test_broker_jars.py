"""The lock of Apache Kafka's jars, and what happens to a cache that is empty, full or wrong."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from deploy.local.jars import (
    FETCH_ATTEMPTS,
    KAFKA_ROOT,
    LOCK_FILE,
    JarLock,
    JarMismatchError,
    JarsUnavailableError,
    LockedJar,
    default_cache_dir,
    ensure_jars,
    mirror_of_central,
    read_lock,
)


class Repository:
    """Serves jars by file name; ``failures`` is how often it refuses first."""

    def __init__(self, content: dict[str, bytes], *, failures: int = 0) -> None:
        self.content = content
        self.failures = failures
        self.asked: list[str] = []

    def __call__(self, jar: LockedJar, folder: Path) -> Path:
        self.asked.append(jar.file)
        if len(self.asked) <= self.failures:
            raise ConnectionError("no route")
        folder.mkdir(parents=True)
        (folder / jar.file).write_bytes(self.content[jar.file])
        return folder / jar.file


def locked(content: dict[str, bytes]) -> JarLock:
    jars = [
        LockedJar(f"group:{name}:1", name, hashlib.sha256(body).hexdigest(), len(body))
        for name, body in content.items()
    ]
    return JarLock("1", tuple(jars))


TWO_JARS = {"a.jar": b"the first", "b.jar": b"the second"}


def test_only_missing_jars_are_fetched(tmp_path: Path) -> None:
    repository = Repository(TWO_JARS)
    (tmp_path / "a.jar").write_bytes(TWO_JARS["a.jar"])

    paths = ensure_jars(tmp_path, print, lock=locked(TWO_JARS), fetch=repository)

    assert repository.asked == ["b.jar"]
    assert {path.name: path.read_bytes() for path in paths} == TWO_JARS
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jar", "b.jar"]


def test_a_full_cache_needs_no_repository(tmp_path: Path) -> None:
    lines: list[str] = []
    ensure_jars(tmp_path, lines.append, lock=locked(TWO_JARS), fetch=Repository(TWO_JARS))
    unreachable = Repository({}, failures=100)
    lines.clear()

    ensure_jars(tmp_path, lines.append, lock=locked(TWO_JARS), fetch=unreachable)

    assert unreachable.asked == []
    assert lines == []


def test_a_download_says_how_large_it_is_and_where_it_goes(tmp_path: Path) -> None:
    lines: list[str] = []

    ensure_jars(tmp_path, lines.append, lock=locked(TWO_JARS), fetch=Repository(TWO_JARS))

    assert lines[0] == f"fetching Apache Kafka: 2 jars, 0 MB, into {tmp_path}"


def test_a_changed_jar_in_the_cache_is_an_error_that_names_file_and_cache(tmp_path: Path) -> None:
    (tmp_path / "a.jar").write_bytes(b"tampered")

    with pytest.raises(JarMismatchError) as refused:
        ensure_jars(tmp_path, print, lock=locked(TWO_JARS), fetch=Repository(TWO_JARS))

    assert str(tmp_path / "a.jar") in str(refused.value)
    assert f"from {tmp_path}" in str(refused.value)


def test_a_changed_jar_from_the_repository_never_reaches_the_cache(tmp_path: Path) -> None:
    repository = Repository({**TWO_JARS, "b.jar": b"tampered"})

    with pytest.raises(JarMismatchError, match=r"group:b\.jar:1"):
        ensure_jars(tmp_path, print, lock=locked(TWO_JARS), fetch=repository)

    assert not (tmp_path / "b.jar").exists()


def test_without_network_and_cache_the_error_names_both_ways_out(tmp_path: Path) -> None:
    cache = tmp_path / "cache"

    with pytest.raises(JarsUnavailableError) as refused:
        ensure_jars(cache, print, lock=locked(TWO_JARS), fetch=Repository({}, failures=100))

    assert str(cache) in str(refused.value)
    assert "KAFKA_BOOTSTRAP_SERVERS" in str(refused.value)


def test_a_repository_that_fails_for_a_moment_is_asked_again(tmp_path: Path) -> None:
    one_jar = {"a.jar": b"the first"}
    repository = Repository(one_jar, failures=FETCH_ATTEMPTS - 1)

    ensure_jars(tmp_path, print, lock=locked(one_jar), fetch=repository)

    assert repository.asked == ["a.jar"] * FETCH_ATTEMPTS


def test_a_jar_of_the_local_maven_repository_is_copied_not_moved(tmp_path: Path) -> None:
    one_jar = {"a.jar": b"the first"}
    local = tmp_path / "repository" / "a.jar"
    local.parent.mkdir()
    local.write_bytes(one_jar["a.jar"])

    paths = ensure_jars(
        tmp_path / "cache", print, lock=locked(one_jar), fetch=lambda _jar, _folder: local
    )

    assert [path.read_bytes() for path in (*paths, local)] == [b"the first"] * 2


def test_the_committed_lock_is_whole_and_names_no_host() -> None:
    lock = read_lock()

    assert ":".join(KAFKA_ROOT) in {jar.coordinates for jar in lock.jars}
    assert lock.kafka_version == KAFKA_ROOT[2]
    assert all(re.fullmatch(r"[0-9a-f]{64}", jar.sha256) for jar in lock.jars)
    assert len({jar.file for jar in lock.jars}) == len(lock.jars)
    assert "://" not in LOCK_FILE.read_text(encoding="utf-8")


def test_every_jar_of_kafka_has_one_version() -> None:
    versions = {
        jar.coordinates.rsplit(":", 1)[1]
        for jar in read_lock().jars
        if jar.coordinates.startswith("org.apache.kafka:")
    }

    assert versions == {KAFKA_ROOT[2]}


@pytest.mark.parametrize(
    ("environ", "platform", "expected"),
    [
        pytest.param({"TOKENPOOLS_CACHE_DIR": "/c"}, "linux", "/c", id="the setting wins"),
        pytest.param({"XDG_CACHE_HOME": "/x"}, "linux", "/x/tokenpools", id="XDG's folder"),
        pytest.param({}, "linux", "~/.cache/tokenpools", id="Linux"),
        pytest.param({}, "darwin", "~/Library/Caches/tokenpools", id="macOS"),
    ],
)
def test_the_cache_lies_outside_the_state_directory(
    environ: dict[str, str], platform: str, expected: str
) -> None:
    folder = default_cache_dir(environ, platform=platform)

    assert folder == Path(expected).expanduser() / f"kafka-{KAFKA_ROOT[2]}"


def mirror(mirror_of: str, more: str = "") -> str:
    return (
        '<settings xmlns="http://maven.apache.org/SETTINGS/1.0.0"><mirrors><mirror>'
        f"<id>m</id><mirrorOf>{mirror_of}</mirrorOf><url>https://mirror.example/maven/</url>{more}"
        "</mirror></mirrors></settings>"
    )


@pytest.mark.parametrize(
    ("settings_xml", "expected"),
    [
        pytest.param(mirror("central"), "https://mirror.example/maven", id="of central"),
        pytest.param(mirror("*"), "https://mirror.example/maven", id="of everything"),
        pytest.param(mirror("a, central"), "https://mirror.example/maven", id="of several"),
        pytest.param(mirror("*,!central"), None, id="of everything but central"),
        pytest.param(mirror("external:http:*"), None, id="of plain http only"),
        pytest.param(mirror("*", "<blocked>true</blocked>"), None, id="blocked"),
        pytest.param("<settings/>", None, id="none"),
    ],
)
def test_a_maven_mirror_of_central_is_found(settings_xml: str, expected: str | None) -> None:
    assert mirror_of_central(settings_xml) == expected
