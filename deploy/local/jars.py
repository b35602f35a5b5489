"""Apache Kafka's jars: which ones exactly, and how they reach this machine.

``kafka_jars.lock`` (JSON, committed) names every jar by Maven coordinates, file name, SHA-256 and
size in bytes.  ``ensure_jars`` fetches only those that the cache folder lacks, several at a time
through jgo, reads no POM, and verifies every jar each time: what runs is what was locked.  The
cache lies outside the state directory, so a second clone needs no network.

No repository is named here.  jgo's default holds unless the machine says otherwise:
``[repositories] central = …`` in jgo's own config file, or a mirror of ``central`` in
``~/.m2/settings.xml``; jars in the local Maven repository are used as they are.

``python -m deploy.local.jars`` fills the cache; ``--relock`` resolves again and writes the lock.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from schemas.errors import SettingsError, TokenpoolsError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jgo.maven import MavenContext

LOCK_FILE = Path(__file__).with_name("kafka_jars.lock")
KAFKA_ROOT = ("org.apache.kafka", "kafka_2.13", "4.3.1")
# Kafka logs through SLF4J and depends on log4j, but not on what joins the two.
LOG_BINDING = ("org.apache.logging.log4j", "log4j-slf4j-impl")

FETCHES_AT_ONCE = 6
FETCH_ATTEMPTS = 3
FETCH_TIMEOUT_S = 60
PROGRESS_STEPS = 5
MB = 1_000_000


class JarMismatchError(TokenpoolsError):
    """A jar is not the locked one; the operator removes the file or looks into the repository."""


class JarsUnavailableError(UnavailableError):
    """A jar is neither in the cache nor to be fetched; the text names both ways out."""


@dataclass(frozen=True)
class LockedJar:
    """One jar: ``coordinates`` are ``group:artifact:version``."""

    coordinates: str
    file: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class JarLock:
    """Every jar on the broker's class path, in this order."""

    kafka_version: str
    jars: tuple[LockedJar, ...]

    @property
    def size_bytes(self) -> int:
        return sum(jar.size_bytes for jar in self.jars)


def read_lock(path: Path = LOCK_FILE) -> JarLock:
    raw = json.loads(path.read_text(encoding="utf-8"))
    jars = tuple(LockedJar(**jar) for jar in raw["jars"])
    return JarLock(kafka_version=raw["kafka_version"], jars=jars)


def default_cache_dir(environ: Mapping[str, str], *, platform: str = sys.platform) -> Path:
    """``TOKENPOOLS_CACHE_DIR``, else the user's cache folder; one folder per Kafka version."""
    if chosen := environ.get("TOKENPOOLS_CACHE_DIR"):
        base = Path(chosen).expanduser()
    elif platform == "darwin":
        base = Path.home() / "Library" / "Caches" / "tokenpools"
    else:
        base = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tokenpools"
    return base / f"kafka-{KAFKA_ROOT[2]}"


def ensure_jars(
    cache_dir: Path,
    progress: Callable[[str], None],
    *,
    lock: JarLock | None = None,
    fetch: Callable[[LockedJar, Path], Path] | None = None,
) -> list[Path]:
    """Return the verified jars in class-path order; fetch those that are missing.

    ``fetch(jar, folder)`` puts one jar below ``folder`` and returns its path (jgo, unless a test
    says otherwise).  Several processes may fill one cache: a jar appears whole or not at all.
    """
    lock = lock or read_lock()
    cache_dir = cache_dir.absolute()
    missing = []
    for jar in lock.jars:
        if (cache_dir / jar.file).exists():
            _verify(cache_dir / jar.file, jar)
        else:
            missing.append(jar)
    if missing:
        _fetch_all(missing, cache_dir, progress, fetch or _fetch_with_jgo)
    return [cache_dir / jar.file for jar in lock.jars]


def _verify(path: Path, jar: LockedJar) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != jar.sha256:
        raise JarMismatchError(
            f"{path} is not the locked {jar.coordinates}: sha256 {found}, expected {jar.sha256}. "
            f"Remove the file from {path.parent} to have it fetched again."
        )


def _fetch_all(
    missing: Sequence[LockedJar],
    cache_dir: Path,
    progress: Callable[[str], None],
    fetch: Callable[[LockedJar, Path], Path],
) -> None:
    total = sum(jar.size_bytes for jar in missing)
    progress(f"fetching Apache Kafka: {len(missing)} jars, {total / MB:.0f} MB, into {cache_dir}")
    staging_dir = _staging_dir(cache_dir)
    with staging_dir as staging, ThreadPoolExecutor(FETCHES_AT_ONCE) as pool:
        work = {pool.submit(_place, jar, Path(staging), cache_dir, fetch): jar for jar in missing}
        done = 0
        try:
            for future in as_completed(work):
                future.result()
                before, done = done, done + work[future].size_bytes
                if done * PROGRESS_STEPS // total > before * PROGRESS_STEPS // total:
                    progress(f"fetching Apache Kafka: {done / MB:.0f} of {total / MB:.0f} MB")
        finally:
            pool.shutdown(cancel_futures=True)


def _staging_dir(cache_dir: Path) -> tempfile.TemporaryDirectory[str]:
    """A folder on the cache's own file system, so that placing a jar is one rename."""
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(dir=cache_dir, prefix=".fetching-")
    except OSError as error:
        raise SettingsError(
            f"the cache folder {cache_dir} cannot be written ({error}); "
            "set TOKENPOOLS_CACHE_DIR to another one"
        ) from error


def _place(
    jar: LockedJar, staging: Path, cache_dir: Path, fetch: Callable[[LockedJar, Path], Path]
) -> None:
    folder = staging / jar.file
    folder.mkdir()
    for attempt in range(1, FETCH_ATTEMPTS + 1):
        try:
            fetched = fetch(jar, folder / str(attempt))
            break
        except (OSError, RuntimeError) as error:  # requests' errors are OSErrors
            if attempt == FETCH_ATTEMPTS:
                raise _unavailable(jar, cache_dir, error) from error
    _verify(fetched, jar)
    ready = folder / "ready.jar"
    ready.write_bytes(fetched.read_bytes())  # a copy: it may lie in the local Maven repository
    ready.replace(cache_dir / jar.file)


def _unavailable(jar: LockedJar, cache_dir: Path, error: Exception) -> JarsUnavailableError:
    return JarsUnavailableError(
        f"Apache Kafka's {jar.file} is not in the cache folder {cache_dir} and could not be "
        f"fetched ({error}). Fill that folder on a machine with network access "
        "(python -m deploy.local.jars), point TOKENPOOLS_CACHE_DIR at a filled one, or set "
        "KAFKA_BOOTSTRAP_SERVERS to a Kafka that already runs."
    )


# --- jgo ----------------------------------------------------------------------------------------


def _fetch_with_jgo(jar: LockedJar, folder: Path) -> Path:
    group, artifact, version = jar.coordinates.split(":")
    project = _maven(folder).project(group, artifact)
    return project.at_version(version).artifact().resolve()


def _maven(repo_cache: Path) -> MavenContext:
    """jgo's context with this machine's own settings; imported here because it takes 0.7 s."""
    from jgo.config import GlobalSettings  # noqa: PLC0415
    from jgo.maven import MavenContext, PythonResolver  # noqa: PLC0415

    machine = GlobalSettings.load()
    context = MavenContext(
        resolver=PythonResolver(),
        repo_cache=repo_cache,
        local_repos=[machine.repo_cache],
        timeout=FETCH_TIMEOUT_S,
    )
    context.remote_repos.update({**_maven_mirror(), **machine.repositories})
    return context


def _maven_mirror() -> dict[str, str]:
    path = Path.home() / ".m2" / "settings.xml"
    mirror = mirror_of_central(path.read_text(encoding="utf-8")) if path.exists() else None
    return {"central": mirror} if mirror else {}


def mirror_of_central(settings_xml: str) -> str | None:
    """The address that a Maven ``settings.xml`` puts in the place of ``central``, if any.

    Credentials of a mirror belong into ``~/.netrc``: ``<servers>`` is not read.
    """
    for mirror in ElementTree.fromstring(settings_xml).iterfind("{*}mirrors/{*}mirror"):
        names = {name.strip() for name in mirror.findtext("{*}mirrorOf", "").split(",")}
        covers = names & {"central", "*", "external:*"} and "!central" not in names
        if covers and mirror.findtext("{*}blocked", "false") != "true":
            return mirror.findtext("{*}url", "").strip().rstrip("/") or None
    return None


def resolve_lock(repo_cache: Path) -> JarLock:
    """Resolve Kafka's coordinates anew and hash what they name (needs the network)."""
    from jgo.maven import Dependency  # noqa: PLC0415

    context = _maven(repo_cache)
    group, name, version = KAFKA_ROOT
    kafka = Dependency(context.project(group, name).at_version(version).artifact())
    inputs, others = context.resolver.resolve([kafka])
    log4j = next(dep.version for dep in others if dep.artifactId == "log4j-core")
    binding = context.project(*LOG_BINDING).at_version(log4j).artifact()
    artifacts = [*(dep.artifact for dep in (*inputs, *others)), binding]
    with ThreadPoolExecutor(FETCHES_AT_ONCE) as pool:
        paths = list(pool.map(lambda artifact: artifact.resolve(), artifacts))
    jars = [
        LockedJar(
            coordinates=f"{artifact.groupId}:{artifact.artifactId}:{artifact.version}",
            file=path.name,
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            size_bytes=path.stat().st_size,
        )
        for artifact, path in zip(artifacts, paths, strict=True)
    ]
    return JarLock(version, tuple(sorted(jars, key=lambda jar: jar.coordinates)))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m deploy.local.jars", description=__doc__)
    parser.add_argument("--relock", action="store_true", help="resolve again, write the lock file")
    if parser.parse_args(argv).relock:
        with tempfile.TemporaryDirectory() as folder:
            lock = resolve_lock(Path(folder))
        LOCK_FILE.write_text(json.dumps(asdict(lock), indent=1) + "\n", encoding="utf-8")
        print(f"{LOCK_FILE}: {len(lock.jars)} jars, {lock.size_bytes / MB:.0f} MB")
    else:
        try:
            jars = ensure_jars(default_cache_dir(os.environ), print)
        except TokenpoolsError as error:
            sys.exit(str(error))
        print(f"{len(jars)} jars verified in {jars[0].parent}")


if __name__ == "__main__":
    main()
