"""Planning commands: parameters, presets, secrets, and what is wrong with how one ended."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from benchmarks import registry
from benchmarks.benchmark import Request
from benchmarks.command_plan import environment, fault, plan, resolved
from benchmarks.errors import BenchError
from benchmarks.options import BenchOptions
from benchmarks.remote import Ended, Text, Times
from probes.model import Host

HOST = Host(id="h", address="127.0.0.1")
PRESETS = BenchOptions().for_benchmark("command")


def planned(*, mode: Any = "full", options: Any = None, texts: tuple[str, ...] = (), **extra: str) -> Any:
    request = Request("command", mode=mode, texts=texts, extra=extra)
    return plan(request, HOST, PRESETS if options is None else options)


def ended(code: int | None = 0, out: bytes = b"", err: bytes = b"", **over: Any) -> Ended:
    return Ended(code, None, Text(out, b"", len(out)), Text(err, b"", len(err)), Times(0), **over)


def test_a_command_with_its_parameters() -> None:
    (spec,) = planned(
        command="  make -j4 ",
        cwd="/srv/app",
        env="A=1 B='two words' TOKEN=env:MY_TOKEN",
        stdin="@/tmp/in",
        expect_exit="0,3",
        expect_stdout="re:ok$",
    )
    assert (spec.benchmark, spec.case.id, spec.case.text) == ("command", "command", "make -j4")
    assert spec.options == {
        "cwd": "/srv/app",
        "env": {"A": "1", "B": "two words", "TOKEN": "env:MY_TOKEN"},
        "stdin": "@/tmp/in",
        "expect_exit": [0, 3],
        "expect_stdout": "re:ok$",
        "usage": 5,
    }
    assert msgspec.json.decode(msgspec.json.encode(spec.options)) == spec.options


def test_the_documented_preset_calls_no_paid_model() -> None:
    specs = planned(preset="akios,akios-startup", cwd="/opt/akios")
    assert [spec.case.id for spec in specs] == ["akios", "akios-startup"]
    assert specs[0].case.text == "akios run templates/hello-workflow.yml --quiet --force"
    assert all(spec.options["env"] == {"AKIOS_MOCK_LLM": "1"} for spec in specs)
    assert all(spec.options["cwd"] == "/opt/akios" for spec in specs)


def test_what_is_given_wins_over_the_preset() -> None:
    own = {"presets": {"p": {"command": "x", "env": {"A": "1", "B": "2"}, "expect_exit": 4, "stdin": "s", "cwd": "/a"}}}
    (spec,) = planned(options=own, preset="p", env="B=3 C=4")
    assert spec.options["env"] == {"A": "1", "B": "3", "C": "4"}
    assert (spec.options["expect_exit"], spec.options["stdin"], spec.options["cwd"]) == ([4], "s", "/a")
    (other,) = planned(options=own, preset="p", expect_exit="5", stdin="t", cwd="/b")
    assert (other.options["expect_exit"], other.options["stdin"], other.options["cwd"]) == ([5], "t", "/b")


def test_several_commands_are_never_pooled() -> None:
    specs = planned(texts=("true", "false"))
    assert [(spec.case.id, spec.case.text) for spec in specs] == [("command-1", "true"), ("command-2", "false")]


def test_a_check_watches_no_extra_runs() -> None:
    (spec,) = planned(mode="check", command="true")
    assert spec.options["usage"] == 0
    assert (spec.load.n, spec.load.warmup_n) == (1, 0)
    (full,) = planned(command="true", usage="0")
    assert full.options["usage"] == 0


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({}, "no command"),
        ({"command": "x", "preset": "akios"}, "at once"),
        ({"preset": "nosuch"}, "no preset 'nosuch'"),
        ({"command": "a\0b"}, "NUL"),
        ({"command": "x", "env": "A"}, "no NAME=VALUE"),
        ({"command": "x", "env": "A='"}, "taken apart"),
        ({"command": "x", "env": "API_KEY=abc"}, "looks like a secret"),
        ({"command": "x", "env": "MY_TOKEN=abc"}, "looks like a secret"),
        ({"command": "x", "expect_exit": "0,x"}, "expect_exit 'x'"),
        ({"command": "x", "expect_exit": "256"}, "expect_exit '256'"),
        ({"command": "x", "expect_stdout": "re:("}, "no pattern"),
        ({"command": "x", "usage": "-1"}, "usage '-1'"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(extra: dict[str, str], words: str) -> None:
    with pytest.raises(BenchError, match=words) as caught:
        planned(**extra)
    assert caught.value.layer == "plan"
    assert caught.value.side == "client"


def test_the_environment_is_taken_from_here_only_when_it_runs() -> None:
    assert environment("") == {}
    env, secrets = resolved(
        {"A": "1", "KEY": "env:MINE", "OTHER": "$MINE", "SHORT": "env:N"}, {"MINE": "s3cret", "N": "1"}
    )
    assert env == {"A": "1", "KEY": "s3cret", "OTHER": "s3cret", "SHORT": "1"}
    assert secrets == ("s3cret", "s3cret")
    with pytest.raises(BenchError, match=r"\$MINE, which is not set"):
        resolved({"KEY": "env:MINE"}, {})


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (ended(), ""),
        (ended(3), "exit 3, nothing on stderr"),
        (ended(3, err=b"first\nlast \x1b[31mwords\x1b[0m\n\n"), "exit 3: last [31mwords[0m"),
        (ended(127, err=b"sh: 1: x: not found\n"), "exit 127: command not found sh: 1: x: not found"),
        (ended(126), "exit 126: no permission to execute it, or it is a directory"),
        (ended(137), "exit 137: killed (out of memory?)"),
        (ended(130), "exit 130: interrupted"),
        (ended(None, problem="no such directory: /x"), "no such directory: /x"),
    ],
)
def test_what_is_wrong_is_said(how: Ended, words: str) -> None:
    assert fault(how, [0], "") == words


def test_the_signal_that_sshd_names() -> None:
    killed = msgspec.structs.replace(ended(None), signal="KILL")
    assert fault(killed, [0], "") == "ended by SIGKILL"


def test_the_output_is_looked_at() -> None:
    assert fault(ended(out=b"hello world\n"), [0], "world") == ""
    assert fault(ended(out=b"hello 42\n"), [0], r"re:hello \d+") == ""
    assert fault(ended(out=b"hello"), [0], "world") == "exit 0, but its output has no 'world': 'hello'"
    long = msgspec.structs.replace(ended(), stdout=Text(b"aa", b"bb", 1000))
    assert "its first and last 64 KiB" in fault(long, [0], "cc")
    assert fault(ended(1, out=b"world"), [0], "world").startswith("exit 1")
    assert fault(ended(1, out=b"world"), [0, 1], "world") == ""


def test_it_is_listed_and_never_graded_by_itself() -> None:
    definition = registry.definition("command")
    assert (definition.id, definition.on, definition.ladders) == ("command", "host", ())
    tags = [metric.tag for metric in definition.metrics]
    assert len(tags) == len(set(tags))
    assert {
        "commands_per_s",
        "exec_to_exit",
        "channel_open",
        "over_baseline",
        "baseline_true",
        "peak_rss_bytes",
    } <= set(tags)
