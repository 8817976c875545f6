"""What is planned for whom, and which prompts: by hand."""

from __future__ import annotations

import re
from typing import Any

import pytest

from benchmarks import registry
from benchmarks.errors import BenchError
from benchmarks.llm.definition import DEFINITION
from benchmarks.llm.prompts import FIXED, LONG_WORDS, MIXED_WORDS, fresh, mixed_words, prompt_of, words
from benchmarks.model import Case, Side
from probes.model import Service, ServiceKind
from tests.support.llm import planned, service_of

ONE = service_of(8000)
TWO = Service("other", 8001, ServiceKind.OPENAI)
WEB = Service("web", 80, ServiceKind.HTTP)
VOICE = Service("voice", 50021, ServiceKind.VOICEVOX)


def mistake(*services: Service, **asked: Any) -> BenchError:
    with pytest.raises(BenchError) as caught:
        planned(*services, **asked)
    assert (caught.value.layer, caught.value.side) == ("plan", Side.CLIENT)
    assert caught.value.next_step
    return caught.value


def test_it_is_registered_with_the_policy_s_boundaries() -> None:
    assert registry.definition("llm") is DEFINITION
    ttft, tpot = DEFINITION.ladders
    assert (ttft.tag, ttft.s, ttft.a, ttft.b, ttft.c) == ("ttft", 0.5, 2.0, 4.0, 8.0)
    assert (tpot.tag, tpot.s, tpot.a, tpot.b, tpot.c) == ("tpot", 0.03, 0.1, 0.2, 0.4)
    assert {(ladder.percentile, ladder.tail) for ladder in DEFINITION.ladders} == {(0.9, 0.99)}
    tags = [metric.tag for metric in DEFINITION.metrics]
    assert len(set(tags)) == len(tags)
    # chunks are never called tokens
    assert not any("token" in f"{m.title}{m.unit}" for m in DEFINITION.metrics if "chunk" in m.tag)


@pytest.mark.parametrize(
    ("asked", "cases"),
    [
        ({}, ["short", "long", "mixed"]),
        ({"mode": "quick"}, ["short"]),
        ({"mode": "check"}, ["short"]),
        ({"params": {"prompt": "long"}, "mode": "quick"}, ["long"]),
        ({"texts": ("a", "b")}, ["text-1", "text-2"]),
        ({"texts": ("a", "b"), "mode": "check"}, ["text-1"]),
        ({"options": {"prompts": ["a"]}}, ["text-1"]),
        ({"options": {"prompts": ["a"]}, "params": {"prompt": "mixed"}}, ["mixed"]),
        ({"options": {"prompts": ["a"]}, "texts": ("b", "c")}, ["text-1", "text-2"]),
    ],
)  # fmt: skip
def test_which_prompts(asked: dict[str, Any], cases: list[str]) -> None:
    assert [spec.case.id for spec in planned(ONE, **asked)] == cases


def test_loads_and_options() -> None:
    spec = planned(ONE)[0]
    assert (spec.load.n, spec.load.min_s, spec.load.timeout_s, spec.load.warmup_n) == (30, 5.0, 120.0, 2)
    assert spec.options == {
        "model": "", "api": "chat", "max_tokens": 128, "seed": 0, "temperature": 0, "cache": "fresh", "ttft_s": 2.0,
        "tpot_s": 0.1,
    }  # fmt: skip
    given = {"model": "m", "api": "completions", "max-tokens": "16", "seed": "3", "cache": "same", "ttft": "0.5",
             "tpot": "0.05"}  # fmt: skip
    (spec,) = planned(ONE, params=given, mode="quick", rate_per_s=5.0, options={"model": "x", "max_tokens": 7})
    assert spec.load.model == "open"
    assert spec.options == {
        "model": "m", "api": "completions", "max_tokens": 16, "seed": 3, "temperature": 0, "cache": "same",
        "ttft_s": 0.5, "tpot_s": 0.05,
    }  # fmt: skip
    assert planned(ONE, options={"model": "x", "max_tokens": 7})[0].options["max_tokens"] == 7
    assert planned(ONE, options={"model": "x"})[0].options["model"] == "x"


def test_a_key_never_stands_in_a_plan() -> None:
    assert "KEY" not in repr(planned(ONE, options={"api_key": "$KEY"}))


def test_which_services() -> None:
    assert [spec.service for spec in planned(WEB, ONE, TWO, mode="quick")] == ["model", "other"]
    assert [spec.service for spec in planned(WEB, ONE, mode="quick", service="web")] == ["web"]
    (spec,) = planned(mode="quick", url="http://127.0.0.1:8000/v1")
    assert (spec.service, spec.url) == (None, "http://127.0.0.1:8000/v1")


@pytest.mark.parametrize(
    ("services", "asked", "words"),
    [
        ((WEB, VOICE), {}, "node has no service with OpenAI's API"),
        ((ONE,), {"service": "nobody"}, 'node has no service "nobody"'),
        ((ONE, VOICE), {"service": "voice"}, "voice of node is of kind voicevox"),
        ((ONE,), {"service": "model", "url": "http://127.0.0.1"}, "both a service and a URL"),
        ((), {"url": "http://me:secret@127.0.0.1"}, "a user or a password"),
        ((ONE,), {"texts": (" ",)}, "the prompt is empty"),
        ((ONE,), {"texts": ("a\x1b[0m",)}, r"a control character (U+001B)"),
        ((ONE,), {"texts": ("x" * 100_001,)}, "the prompt has 100001 characters"),
        ((ONE,), {"texts": ("a",), "params": {"prompt": "short"}}, "both a text and a prompt"),
        ((ONE,), {"params": {"prompt": "huge"}}, 'prompt "huge" is unknown'),
        ((ONE,), {"params": {"tokens": "1"}}, 'no parameter "tokens"'),
        ((ONE,), {"params": {"max-tokens": "0"}}, 'max-tokens "0"'),
        ((ONE,), {"params": {"max-tokens": "1e3"}}, 'max-tokens "1e3"'),
        ((ONE,), {"params": {"seed": "-1"}}, 'seed "-1"'),
        ((ONE,), {"params": {"ttft": "nan"}}, 'ttft "nan"'),
        ((ONE,), {"params": {"tpot": "soon"}}, 'tpot "soon"'),
        ((ONE,), {"params": {"model": "a\nb"}}, "model has control characters"),
    ],
)
def test_mistakes_are_named(services: tuple[Service, ...], asked: dict[str, Any], words: str) -> None:
    assert words in mistake(*services, **asked).cause


# --- prompts ---


def test_generated_text_is_the_same_everywhere() -> None:
    # written down once: a run of today is compared with one of next year, on another version of Python
    assert words(9, "long") == "New paper road followed some small the carried garden."
    assert len(words(500, "a").split()) == 500
    assert words(500, "a") != words(500, "b")
    assert words(500, "long").startswith(words(9, "long")[:40])


def test_fixed_prompts_have_the_lengths_they_say() -> None:
    short, long, mixed = FIXED
    assert 15 <= len(short.text.split()) <= 20
    assert len(long.text.partition("\n\n")[2].split()) == LONG_WORDS == 500
    assert "16, 32, 64, 128, 256, 512, 1024 words" in mixed.text


def test_a_mixture_depends_on_the_number_alone() -> None:
    mixed = FIXED[2]
    assert [mixed_words(i) for i in range(8)] == [16, 1024, 32, 1024, 128, 128, 64, 16]
    lengths = [mixed_words(i) for i in range(700)]
    # each of seven is drawn about a hundred times
    assert all(60 <= lengths.count(size) <= 140 for size in MIXED_WORDS)
    for i in range(20):
        assert prompt_of(mixed, i) == prompt_of(mixed, i)
        assert len(prompt_of(mixed, i).partition("\n\n")[2].split()) == mixed_words(i)
    assert prompt_of(Case("text-1", "", "as it is"), 7) == "as it is"


def test_fresh_prompts_differ_in_their_beginning_and_not_in_their_length() -> None:
    made = [fresh("why?") for _ in range(50)]
    assert len(set(made)) == 50
    assert all(re.fullmatch(r"\[\d{12}\] why\?", one) for one in made)
