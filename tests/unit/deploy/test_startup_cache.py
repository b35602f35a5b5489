"""What Java learnt of a start is used for the very jars that it was learnt of, and made once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from deploy.local.startup_cache import cache_of, held, options

HOLD = """
import sys
from pathlib import Path
from deploy.local.startup_cache import held
with held(Path(sys.argv[1])) as is_ours:
    print(is_ours, flush=True)
    sys.stdin.read()
"""


def test_other_jars_have_another_cache_beside_them(tmp_path: Path) -> None:
    one = cache_of([tmp_path / "kafka-1.jar"])

    assert one.parent == tmp_path
    assert cache_of([tmp_path / "kafka-1.jar"]) == one
    assert cache_of([tmp_path / "kafka-2.jar"]) != one


def test_java_reads_a_cache_that_is_there_and_writes_one_when_told(tmp_path: Path) -> None:
    cache = tmp_path / "kafka.aot"

    assert options(cache) == []
    assert options(cache, record_to=tmp_path / "made") == [f"-XX:AOTCacheOutput={tmp_path}/made"]
    cache.touch()
    assert options(cache) == [f"-XX:AOTCache={cache}"]


def test_one_process_makes_it_and_nobody_makes_it_again(tmp_path: Path) -> None:
    cache = tmp_path / "kafka.aot"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(cache)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"True\n"
        with held(cache) as is_ours:
            assert not is_ours, "another process makes it"
        other.communicate()

    with held(cache) as is_ours:
        assert is_ours
        cache.touch()
    with held(cache) as is_ours:
        assert not is_ours, "it is there"
