"""``experiment`` and ``simulate``: tables, plots and JSON of tiny runs; errors name the option."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from console.cli import main
from simulation.experiments.keys import ENTITLEMENT_KEYS, KEYS
from simulation.traces.reading import survey

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
POOLS = """
pools:
  - name: chat
    model: m
    replicas: {min: 1, max: 2}
    perReplica: {tokensPerSecond: 240, kvCacheGiB: 16, concurrency: 16}
    kvBytesPerToken: 1000
entitlements:
  - uid: acme
    tenantId: acme
    poolRef: {name: chat}
    qos: {serviceClass: guaranteed}
    resources: {tokensPerSecond: 90, kvCacheGiB: 4, concurrency: 6}
  - uid: batch
    tenantId: batch
    poolRef: {name: chat}
    qos: {serviceClass: spot}
replay:
  mapping: {rule: by_share, weights: {acme: 1, batch: 2}}
"""
SECOND_POOL = """
  - name: other
    model: m
    replicas: {min: 1, max: 1}
    perReplica: {tokensPerSecond: 240, kvCacheGiB: 16, concurrency: 16}
    kvBytesPerToken: 1000
entitlements:
"""
AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n" + "".join(
    f"2023-11-16 18:15:{second:02d}.6805900,64,64\n" for second in range(20)
)


@pytest.fixture
def pools(tmp_path: Path) -> Path:
    path = tmp_path / "pools.yaml"
    path.write_text(POOLS)
    return path


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "trace.csv"
    path.write_text(AZURE + "never,1,2\n")
    return path


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments], catch_exceptions=False)


def figures(result: Result) -> Any:
    """What ``--json`` printed, which must be all of stdout."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def experiment(*arguments: str | Path, seeds: int = 2) -> Result:
    return invoke("experiment", "paper-1", "--seeds", str(seeds), "--jobs", "1", *arguments)


def test_an_experiment_prints_only_documented_keys_as_json_alone_on_stdout() -> None:
    policies = ("--policy", "token-pools,none", "--policy", "windowed")
    found = figures(experiment(*policies, "--json", seeds=1))

    assert list(found["policies"]) == ["token-pools", "none", "windowed"]
    assert found["seeds"] == [1]
    for policy, row in found["policies"].items():
        assert row.keys() <= KEYS.keys()
        assert row.keys() == found["confidence_95"][policy].keys()
        for of_entitlement in found["entitlements"][policy].values():
            assert of_entitlement.keys() <= ENTITLEMENT_KEYS.keys()
    assert found["policies"]["token-pools"]["guaranteed_floor_refusals"] == 0
    assert (
        found["policies"]["none"]["waiting_max"] > found["policies"]["token-pools"]["waiting_max"]
    )
    assert found["paper"]["none"]["waiting_max"]["value"] == 34


def test_the_same_seeds_give_the_same_json_in_any_number_of_processes() -> None:
    once = experiment("--policy", "none", "--json")
    again = invoke(
        "experiment", "paper-1", "--seeds", "2", "--jobs", "2", "--policy", "none", "--json"
    )

    assert figures(again) == figures(once)


def test_an_experiment_prints_the_papers_figures_beside_ours_and_names_its_plots(
    tmp_path: Path,
) -> None:
    result = experiment("--policy", "windowed,none", "--out", tmp_path / "plots")

    assert result.exit_code == 0, result.output
    assert "seeds 1 to 2" in result.stdout
    assert "paper: 34" in result.stdout
    assert "guaranteed_p99_ttft_s" in result.stdout
    assert "4 of 4 runs" in result.stderr
    named = [
        Path(line.removeprefix("plot: ")) for line in result.stdout.splitlines() if "plot: " in line
    ]
    assert {path.stem for path in named} >= {"queue", "in-flight", "latency", "refusals"}
    assert sorted(named) == sorted((tmp_path / "plots").iterdir())
    assert all(path.read_bytes().startswith(PNG_MAGIC) for path in named)


def test_json_with_a_folder_draws_and_still_has_stdout_for_itself(tmp_path: Path) -> None:
    result = experiment("--policy", "none", "--json", "--out", tmp_path, "--format", "svg")

    assert figures(result)["experiment"] == "paper-1"
    assert f"plot: {tmp_path / 'queue.svg'}" in result.stderr
    assert (tmp_path / "queue.svg").read_text().startswith("<?xml")


WITHOUT_MATPLOTLIB = """
import sys
sys.modules["matplotlib"] = None
from console.cli import main
main(["experiment", "paper-1", "--seeds", "1", "--jobs", "1", "--policy", "none", *sys.argv[1:]])
"""


def test_without_matplotlib_all_but_the_plots_works(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_MATPLOTLIB]

    plain = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    asked = subprocess.run(
        [*command, "--out", "plots"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert "guaranteed_p99_ttft_s" in plain.stdout
    assert "no plots: plots need matplotlib: pip install 'tokenpools[plots]'" in plain.stderr
    assert asked.returncode == 2
    assert "--out: plots need matplotlib" in asked.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_debt_is_drawn_where_there_is_any(tmp_path: Path) -> None:
    arguments = ("--seeds", "1", "--jobs", "1", "--policy", "token-pools", "--out", tmp_path)

    assert invoke("experiment", "paper-2", *arguments).exit_code == 0

    assert (tmp_path / "debt.png").read_bytes().startswith(PNG_MAGIC)


def test_a_published_trace_is_simulated_on_ones_own_pools(pools: Path, trace: Path) -> None:
    result = invoke("simulate", "--pools", pools, "--trace", trace, "--jobs", "1", "--json")

    found = figures(result)
    assert list(found["policies"]) == ["token-pools", "none", "windowed"]
    assert found["policies"]["none"]["requests"] == 20
    assert {uid: row["requests"] for uid, row in found["entitlements"]["none"].items()} == {
        "acme": 7,
        "batch": 13,
    }
    assert f"{trace}:22: TIMESTAMP 'never'" in result.stderr
    assert "Azure LLM inference" in result.stderr
    assert "dealt out by share" in result.stderr


TRACES = Path(os.environ.get("TOKENPOOLS_TRACES", "/nonexistent"))


@pytest.mark.skipif(
    not (TRACES / "azure2023_code.csv.gz").exists(),
    reason="needs traces: set TOKENPOOLS_TRACES to the folder with the public traces",
)
def test_the_public_code_trace_is_simulated(pools: Path) -> None:
    trace = TRACES / "azure2023_code.csv.gz"
    arguments = ("--pools", pools, "--trace", trace, "--limit", "120", "--policy", "none")

    found = figures(invoke("simulate", *arguments, "--jobs", "1", "--json"))

    facts = survey(trace, limit_us=120_000_000)
    assert found["policies"]["none"]["requests"] == facts.rows == 63


def test_a_limit_cuts_and_a_speed_crowds_the_traffic(pools: Path, trace: Path) -> None:
    arguments = ("--pools", pools, "--trace", trace, "--policy", "none", "--jobs", "1", "--json")

    limited = figures(invoke("simulate", *arguments, "--limit", "10"))["policies"]["none"]
    crowded = figures(invoke("simulate", *arguments, "--speed", "20"))["policies"]["none"]
    scaled = figures(invoke("simulate", *arguments, "--speed", "20", "--scale-capacity"))

    assert limited["requests"] == 10
    assert crowded["requests"] == 20
    assert crowded["waiting_max"] > 0
    assert scaled["policies"]["none"]["waiting_max"] == 0


def test_replicas_are_a_number_or_follow_the_autoscaler(pools: Path, trace: Path) -> None:
    arguments = ("--pools", pools, "--trace", trace, "--speed", "20", "--jobs", "1", "--json")

    one = figures(invoke("simulate", *arguments, "--policy", "none"))["policies"]["none"]
    two = figures(invoke("simulate", *arguments, "--policy", "none", "--replicas", "2"))
    auto = figures(invoke("simulate", *arguments, "--policy", "token-pools", "--replicas", "auto"))

    assert two["policies"]["none"]["waiting_max"] < one["waiting_max"]
    assert auto["policies"]["token-pools"]["requests"] == 20


def test_a_workload_is_drawn_anew_for_every_seed_from_the_first_on(pools: Path) -> None:
    arguments = ("--pools", pools, "--workload", "steady", "--limit", "5", "--policy", "none")

    found = figures(
        invoke("simulate", *arguments, "--seed", "7", "--seeds", "3", "--jobs", "1", "--json")
    )

    low, high = found["confidence_95"]["none"]["requests"]
    assert found["seeds"] == [7, 8, 9]
    assert low < high


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["experiment", "paper-3"], "'paper-3' is not one of", id="no experiment"),
        pytest.param(["experiment", "paper-1", "--seeds", "0"], "'--seeds'", id="no seeds"),
        pytest.param(
            ["experiment", "paper-1", "--policy", "none,magic"],
            "'--policy': 'magic' is none of token-pools",
            id="no policy",
        ),
        pytest.param(["experiment", "paper-1", "--format", "pdf"], "'--format'", id="no format"),
        pytest.param(["experiment", "paper-1", "--admitters", "65"], "'--admitters'", id="many"),
        pytest.param(["simulate"], "'--pools'", id="no pools"),
        pytest.param(
            ["simulate", "--pools", "POOLS", "--workload", "magic"],
            "--workload 'magic': known are scene",
            id="no workload",
        ),
        pytest.param(
            ["simulate", "--pools", "POOLS"], "--workload '': known are", id="no traffic at all"
        ),
        pytest.param(
            ["simulate", "--pools", "POOLS", "--trace", "TRACE", "--workload", "scene"],
            "--trace and --workload exclude",
            id="both",
        ),
        pytest.param(
            ["simulate", "--pools", "POOLS", "--trace", "POOLS"], "no known trace", id="no trace"
        ),
        pytest.param(
            ["simulate", "--pools", "POOLS", "--trace", "TRACE", "--replicas", "some"],
            "'--replicas': 'some' is neither 'auto' nor",
            id="no number of replicas",
        ),
        pytest.param(
            ["simulate", "--pools", "POOLS", "--trace", "TRACE", "--speed", "0"],
            "--speed '0'",
            id="no speed",
        ),
        pytest.param(
            ["simulate", "--pools", "POOLS", "--pool", "x", "--trace", "TRACE"],
            "--pool 'x': the file has chat",
            id="no such pool",
        ),
    ],
)
def test_an_error_names_the_option(
    arguments: list[str], message: str, pools: Path, trace: Path
) -> None:
    given = {"POOLS": str(pools), "TRACE": str(trace)}

    result = invoke(*(given.get(each, each) for each in arguments))

    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
    assert result.stdout == ""


def test_a_file_with_several_pools_needs_to_be_told_which(pools: Path, trace: Path) -> None:
    pools.write_text(POOLS.replace("\nentitlements:\n", SECOND_POOL, 1))
    arguments = ("simulate", "--pools", pools, "--trace", trace, "--policy", "none", "--json")

    refused = invoke(*arguments)
    chosen = figures(invoke(*arguments, "--pool", "chat", "--jobs", "1"))

    assert refused.exit_code == 2
    assert "--pool: say which of chat, other" in refused.output
    assert chosen["policies"]["none"]["requests"] == 20


def test_requests_that_the_mapping_gives_to_nobody_are_counted_and_never_all(
    pools: Path, trace: Path
) -> None:
    trace.write_text(
        "offset_ms,tenant,model,input_tokens,output_tokens\n0,acme,m,64,64\n9,other,m,64,64\n"
    )
    pools.write_text(POOLS.replace("{rule: by_share, weights: {acme: 1, batch: 2}}", "{}"))
    arguments = ("simulate", "--pools", pools, "--trace", trace, "--policy", "none", "--jobs", "1")

    some = invoke(*arguments, "--out", trace.parent / "plots")
    found = figures(invoke(*arguments, "--json"))
    trace.write_text(trace.read_text().replace("acme", "nobody"))
    none = invoke(*arguments)

    assert "1 of 2 requests were left out" in some.stdout
    assert (found["requests"], found["left_out"]) == (1, 1)
    assert none.exit_code == 2
    assert "replay.mapping: 2 of 2 requests were left out" in " ".join(none.output.split())


def test_an_empty_trace_is_said(pools: Path, trace: Path) -> None:
    trace.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n")

    result = invoke("simulate", "--pools", pools, "--trace", trace)

    assert result.exit_code == 2
    assert "has no requests to simulate" in result.output
