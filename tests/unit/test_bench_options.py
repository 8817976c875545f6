"""The ``[bench]`` tables: what each mistake says, and what a right table means."""

from __future__ import annotations

import tomllib
from typing import Any

import msgspec
import pytest

from benchmarks.benchmark import Definition
from benchmarks.model import Ladder, Metric
from benchmarks.options import BenchOptions, Preset, Steps, is_production, mistakes_in, options_of
from probes.config import default_settings
from probes.errors import ConfigError
from probes.model import Host


def mistakes(text: str) -> list[str]:
    settings = msgspec.structs.replace(default_settings(), bench=tomllib.loads(text), source="c.toml")
    return mistakes_in(settings)


def options(text: str) -> BenchOptions:
    return options_of(tomllib.loads(text))


def test_without_a_table_the_defaults_hold():
    found = options("")
    assert (found.at_once, found.baseline_s, found.target_s) == (4, 15.0, 2.0)
    assert found.api_latency.target_s == 0.05
    assert found.command.presets["akios"].env == {"AKIOS_MOCK_LLM": "1"}
    assert mistakes("") == []


def test_what_is_given_takes_the_place_of_the_default():
    found = options("""
        at_once = 8
        api-latency = { target_s = 0.2 }
        llm = { model = "m", max_tokens = 16, api_key = "$KEY" }
        [synthesis]
        texts = ["今日は"]
        style = "3"
        [ladders.synthesis.response_time]
        s = 1
        a = 2
        b = 3
        c = 4
        [command.presets.mine]
        command = "sh -c 'exit 3'"
        expect_exit = 3
        [synthesis.templates.studio]
        path = "/say"
        json = { input = "{text}" }
    """)
    assert found.at_once == 8
    assert found.ladders == {"synthesis": {"response_time": Steps(1, 2, 3, 4)}}
    assert found.for_benchmark("synthesis")["texts"] == ["今日は"]
    assert found.for_benchmark("synthesis")["templates"]["studio"]["json"] == {"input": "{text}"}
    assert found.for_benchmark("api-latency") == {"target_s": 0.2, "path": ""}
    assert found.for_benchmark("llm")["model"] == "m"
    assert found.command.presets["mine"] == Preset("sh -c 'exit 3'", expect_exit=3)
    assert set(found.for_benchmark("command")["presets"]) == {"akios", "akios-startup", "mine"}
    assert found.for_benchmark("stream") == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("at_onec = 4", 'bench.at_onec: is unknown (did you mean "at_once"?); expected at_once, '),
        ("at_once = 0", "bench.at_once: 0 is not a number of hosts; expected 1 to 64"),
        ("target_s = 0", "bench.target_s: 0 is not a usable number of seconds; expected above 0, at most 86400"),
        ('baseline_s = "15"', 'bench.baseline_s: "15" is not a number; expected a number, above 0, at most 86400'),
        ("synthesis = 3", "bench.synthesis: 3 is not a table; expected a table"),
        ('synthesis = { texts = [""] }', "bench.synthesis.texts[0]: is empty; expected text in quotes"),
        (
            "ladders = { synthesys = { x = { s = 1, a = 2, b = 3, c = 4 } } }",
            'bench.ladders.synthesys: is no benchmark (did you mean "synthesis"?); expected synthesis, ',
        ),
        (
            "ladders = { synthesis = { response_time = { s = 1, a = 3, b = 2, c = 4 } } }",
            "bench.ladders.synthesis.response_time: 1, 3, 2, 4 do not follow each other; expected s, a, b and c each beyond",
        ),
        (
            "ladders = { synthesis = { response_time = { s = 1, a = 2, b = 3 } } }",
            "bench.ladders.synthesis.response_time.c: is missing; expected a value",
        ),
        ("kpi = { llm = { ttft = nan } }", "bench.kpi.llm.ttft: nan is not a usable figure; expected "),
        ('llm = { api_key = "sk-123" }', 'bench.llm.api_key: "sk-123" does not fit; expected "$NAME", the environment'),
        ("command = { presets = { a = {} } }", "bench.command.presets.a.command: is missing; expected a text for /bin/sh"),
        (
            'command = { presets = { a = { command = " " } } }',
            'bench.command.presets.a.command: " " does not fit; expected a text for /bin/sh',
        ),
        (
            'command = { presets = { a = { command = "a", env = { API_KEY = "123" } } } }',
            'bench.command.presets.a.env.API_KEY: looks like a secret, which would stand in results; expected "$NAME"',
        ),
        (
            'synthesis = { templates = { a = { path = "/x" } } }',
            "bench.synthesis.templates.a: never says {text}; expected {text} in path, query, json or form",
        ),
        (
            'synthesis = { templates = { a = { path = "/{text}", headers = { Authorization = "Bearer 1" } } } }',
            "bench.synthesis.templates.a.headers.Authorization: looks like a secret",
        ),
        (
            'synthesis = { templates = { a = { path = "/{text}", json = {}, form = {} } } }',
            "bench.synthesis.templates.a.form: is a second body beside json; expected json or form",
        ),
        (
            'synthesis = { templates = { a = { path = "/{text}", json = {}, method = "GET" } } }',
            'bench.synthesis.templates.a.json: is a body, which GET has not; expected method = "POST"',
        ),
        (
            'projections = { "g4dn xlarge" = { x = 1 } }',
            'bench.projections."g4dn xlarge": "g4dn xlarge" does not fit; expected an instance type',
        ),
    ],
)  # fmt: skip
def test_each_mistake_is_one_line_with_what_was_expected(text, said):
    (line,) = mistakes(text)
    assert line.startswith(f"c.toml: {said}")


def test_all_mistakes_are_said_at_once():
    found = mistakes('at_once = 0\ntarget_s = -1\nsynthesis = { style = 3 }\nllm = { model = "", x = 1 }')
    assert [line.split(": ")[1] for line in found] == [
        "bench.at_once", "bench.target_s", "bench.synthesis.style", "bench.llm.x",
    ]  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        options("at_once = 0\ntarget_s = -1")
    assert len(caught.value.mistakes) == 2


def test_a_secret_by_its_variable_is_right():
    assert mistakes('command = { presets = { a = { command = "a", env = { API_KEY = "$MY_KEY" } } } }') == []


# --- ladders ---


def definition(benchmark_id: str, *ladders: Ladder) -> Definition:
    metrics = (Metric("response_time", "s", "lower", ""), Metric("rtfx", "x", "higher", ""))
    nothing: Any = None
    return Definition(benchmark_id, 1, "", "", metrics, ladders, nothing, nothing)


def test_a_configured_ladder_takes_the_place_of_the_benchmarks_own():
    own = Ladder("response_time", "s", 1, 2, 5, 10, percentile=0.9, tail=0.99)
    found = options("ladders = { synthesis = { response_time = { s = 2, a = 4, b = 6, c = 8 } } }")
    assert found.ladders_of(definition("synthesis", own)) == (
        Ladder("response_time", "s", 2, 4, 6, 8, percentile=0.9, tail=0.99),
    )
    assert options("").ladders_of(definition("synthesis", own)) == (own,)


def test_a_metric_without_a_ladder_of_its_own_gets_one():
    found = options("ladders = { synthesis = { rtfx = { s = 8, a = 4, b = 2, c = 1 } } }")
    assert found.ladders_of(definition("synthesis")) == (Ladder("rtfx", "x", 8, 4, 2, 1, better="higher"),)


def test_the_ladder_of_latency_follows_its_target():
    own = Ladder("response_time", "s", 0.025, 0.05, 0.1, 0.2)
    (found,) = options("api-latency = { target_s = 0.2 }").ladders_of(definition("api-latency", own))
    assert (found.s, found.a, found.b, found.c) == (0.1, 0.2, 0.4, 0.8)


@pytest.mark.parametrize(
    ("labels", "groups", "asks"),
    [
        ({}, (), False),
        ({"env": "production"}, (), True),
        ({"stage": "Prod"}, (), True),
        ({"env": "staging"}, (), False),
        ({"production": "true"}, (), True),
        ({"production": "no"}, (), False),
        ({}, ("gpu", "production"), True),
        ({"env": "preproduction"}, ("products",), False),
    ],
)
def test_which_hosts_ask_before_they_are_loaded(labels, groups, asks):
    assert is_production(Host("a", "a", labels=labels, groups=groups)) is asks
