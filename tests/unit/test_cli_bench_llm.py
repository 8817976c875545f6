"""`bench run llm` as a person uses it: real processes against a stand-in in a process of its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from probes.demo.voices import Behaviour
from probes.demo.voices.process import start
from tests.support.forks import Forks
from tests.unit.test_cli_bench_run import Shell

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RUN = ("llm", "localhost", "--url")


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks(kind="bench") as forks:
        yield forks


@pytest.fixture
def shell(tmp_path: Path, forks: Forks) -> Shell:
    return Shell(tmp_path / "home", forks)


def test_a_quick_run_of_a_model(shell: Shell) -> None:
    with start("openai", Behaviour(ttft_s=0.02, token_s=0.002, reply_tokens=12, tokens_per_chunk=2)) as server:
        made, said = shell.measure(*RUN, f"{server.url}/v1", "--quick", "--param", "max-tokens=10")
        # one before the run, a warm-up, ten that are measured
        assert server.counts()["works"] == 12
    assert said == ""
    assert (made["benchmark"]["id"], made["case"], made["options"]["max_tokens"]) == ("llm", "short", 10)
    assert made["counts"]["ok"] == 10
    metrics = made["metrics"]
    assert (metrics["output_tokens"]["min"], metrics["output_tokens"]["max"]) == (10, 10)
    assert metrics["output_chunks"]["mean"] == 5
    assert metrics["ttft"]["n"] == metrics["tpot"]["n"] == 10
    # token 1, the last of the first chunk, is not sent before this; nothing can be measured to be earlier
    assert metrics["ttft"]["min"] >= 0.022
    assert metrics["success_rate"]["value"] == 100
    tokens_per_s, answers_per_s = metrics["output_tokens_per_s"]["value"], metrics["samples_per_s"]["value"]
    assert tokens_per_s == pytest.approx(10 * answers_per_s)
    assert {check["id"] for check in made["checks"]} >= {"streamed", "long_enough_for_p99"}
    # quick mode gives at most an A; a machine that is too busy makes it invalid
    assert made["grade"]["letter"] != "S"


def test_an_open_loop_without_usage(shell: Shell) -> None:
    with start("openai", Behaviour(usage=False, reply_tokens=6)) as server:
        made, _ = shell.measure(*RUN, server.url, "--quick", "--rate", "20", "--param", "api=completions")
    assert (made["load"]["model"], made["counts"]["ok"]) == ("open", 10)
    assert made["metrics"]["output_tokens_per_s"]["value"] is None
    why = "no usage block in the stream: the unit is chunks, not tokens"
    assert made["metrics"]["output_tokens_per_s"]["missing"]["value"] == why
    assert made["missing"]["tpot"] == why
    assert "tpot" not in made["metrics"]
    assert made["metrics"]["output_chunks_per_s"]["value"] > 0
    assert made["metrics"]["time_per_chunk"]["n"] == 10
    assert made["grade"]["letter"] is None


def test_a_configured_service_with_a_key(shell: Shell) -> None:
    with start("openai", Behaviour(reply_tokens=3)) as server:
        file = shell.home / "fleet.toml"
        file.write_text(f"""
            schema = 1
            [[hosts]]
            id = "box"
            address = "127.0.0.1"
            local = true
            services = [{{ name = "vllm", port = {server.port}, kind = "openai" }}]
            [bench.llm]
            api_key = "$BOX_KEY"
            max_tokens = 2
            prompts = ["Why is the sky blue?"]
        """)
        shell.env |= {"QUARTERDECK_CONFIG": str(file), "BOX_KEY": "sk-0123456789abcdef"}
        process = shell.start("run", "llm", "box", "--quick", "--param", "cache=same")
        out, err = process.communicate(timeout=50)
    (made,) = json.loads(out)
    assert (made["target"]["host"], made["target"]["service"], made["case_text"]) == (
        "box", "vllm", "Why is the sky blue?"
    )  # fmt: skip
    assert (made["counts"]["ok"], made["metrics"]["output_tokens"]["max"]) == (10, 2)
    assert "with the key in $BOX_KEY" in made["notes"]
    assert "sk-01" not in out + err
    kept = [path.read_bytes() for path in shell.home.rglob("*") if path.is_file()]
    assert not any(b"sk-01" in raw for raw in kept)


def test_a_check_and_a_model_that_there_is_not(shell: Shell) -> None:
    with start("openai", Behaviour(reply_tokens=3)) as server:
        made, _ = shell.measure(*RUN, server.url, "--check")
        out, said = shell.run("run", *RUN, server.url, "--quick", "--param", "model=gpt-9", code=3)
    assert (made["counts"]["intended"], made["grade"]["letter"]) == (1, None)
    assert out == []
    assert 'no model "gpt-9"' in said
    assert "demo-8b" in said
