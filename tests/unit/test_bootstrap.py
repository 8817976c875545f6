"""The bootstrap: one command for every login shell, the marker, the payload read exactly."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from probes.hosts import agent, bootstrap
from probes.model import Hello, Sample
from tests.support.agent_run import AgentRun

SHELLS = ["sh", "dash", "bash", "zsh", "fish", "tcsh", "busybox"]


def run_through(shell: str, nonce: str, *, python: bool = True, **more: object) -> AgentRun:
    head = ["busybox", "sh"] if shell == "busybox" else [shell]
    return AgentRun([*head, "-c", bootstrap.command(nonce, python=python)], nonce, **more)


@pytest.mark.parametrize("python", [True, False], ids=["python", "sh"])
def test_the_command_holds_nothing_that_shells_read_differently(python: bool) -> None:
    command = bootstrap.command("0123456789abcdef", python=python)
    assert command.startswith("exec /bin/sh -c '")
    assert command.endswith("'")
    assert not re.search(r"[!\\\n']", command[len("exec /bin/sh -c '") : -1])
    assert len(command) < 1024  # an old csh takes no longer word


@pytest.mark.parametrize("shell", [pytest.param(name, marks=pytest.mark.needs(name)) for name in SHELLS])
@pytest.mark.parametrize("python", [True, False], ids=["python", "sh"])
def test_every_login_shell_starts_either_agent(shell: str, python: bool) -> None:
    nonce = bootstrap.new_nonce()
    with run_through(shell, nonce, python=python) as run:
        assert run.boot is not None
        assert run.boot.kind == ("python" if python else "sh")
        # the heartbeat stands directly behind the payload: its echo proves that not a byte too many was read
        assert run.wait(Sample, lambda sample: sample.echo is not None).echo[0] == 7
        assert run.wait(Hello).hostname == os.uname().nodename
        assert run.bad == []
        assert run.noise == []


def test_noise_before_the_marker_does_not_matter() -> None:
    nonce = bootstrap.new_nonce()
    script = f"echo Welcome; printf 'no newline here: '; {bootstrap.command(nonce)}"
    with AgentRun(["/bin/sh", "-c", script], nonce) as run:
        assert run.noise == [b"Welcome\n"]
        assert run.boot is not None
        assert run.boot.kind == "python"
        run.wait(Sample)


def test_the_local_agent_speaks_the_same_protocol() -> None:
    nonce = bootstrap.new_nonce()
    with AgentRun(bootstrap.local_argv(nonce, sys.executable), nonce) as run:
        assert run.boot == bootstrap.Boot("python", sys.version.split()[0])
        assert run.wait(Sample, lambda sample: sample.seq == 1).interval_s


def tools(folder: Path, *, without: tuple[str, ...] = ()) -> str:
    """A PATH with the standard tools of a small system, but no Python."""
    for name in ("dd", "sleep", "df", "ls", "tail", "grep", "dmesg", "uname", "getconf", "awk"):
        program = shutil.which(name)
        if program is not None and name not in without:
            (folder / name).symlink_to(program)
    return str(folder)


def test_without_python_it_falls_to_sh_and_says_why(tmp_path: Path) -> None:
    nonce = bootstrap.new_nonce()
    with run_through("/bin/sh", nonce, environ={"PATH": tools(tmp_path)}) as run:
        assert run.boot == bootstrap.Boot("sh", "no-python")
        run.wait(Sample, lambda sample: sample.seq == 1)


@pytest.mark.parametrize("body", ["exit 1", "echo broken >&2; exit 127", "kill -11 $$"])
def test_an_unusable_python_falls_to_sh_and_says_which(tmp_path: Path, body: str) -> None:
    fake = tmp_path / "python3"
    fake.write_text(f"#!/bin/sh\n{body}\n", encoding="ascii")
    fake.chmod(0o755)
    nonce = bootstrap.new_nonce()
    with run_through("/bin/sh", nonce, environ={"PATH": tools(tmp_path)}) as run:
        assert run.boot == bootstrap.Boot("sh", "python3-unusable")
        run.wait(Sample)


def test_where_nothing_can_run_the_marker_says_why(tmp_path: Path) -> None:
    nonce = bootstrap.new_nonce()
    with run_through("/bin/sh", nonce, environ={"PATH": tools(tmp_path, without=("dd",))}) as run:
        assert run.boot == bootstrap.Boot("none", "no-python and no dd")
        assert run.wait_end() != 0
    with run_through("/bin/sh", nonce, python=False, environ={"PATH": str(tmp_path)}) as run:
        assert run.boot == bootstrap.Boot("none", "no dd")


def old_pythons() -> list[str]:
    found = [shutil.which("python3.6"), *map(str, Path.home().glob(".pyenv/versions/3.6.*/bin/python"))]
    return [
        path
        for path in found
        if path and subprocess.run([path, "-V"], capture_output=True, check=False).returncode == 0
    ]


def test_python_3_6_runs_the_agent() -> None:
    found = old_pythons()
    if not found:
        pytest.skip("no Python 3.6 on this machine")
    nonce = bootstrap.new_nonce()
    with AgentRun(bootstrap.local_argv(nonce, found[0]), nonce) as run:
        assert run.boot is not None
        assert run.boot.detail.startswith("3.6.")
        assert run.wait(Hello).python == run.boot.detail
        sample = run.wait(Sample, lambda sample: sample.seq == 2)
        assert sample.cpu.per_core_pct is not None
        assert run.bad == []


def test_the_agent_is_valid_python_3_6() -> None:
    source = Path(agent.__file__).read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 6))


@pytest.mark.parametrize(
    ("line", "boot"),
    [
        (b"QDK1 abcdefgh python 3.6.15\n", bootstrap.Boot("python", "3.6.15")),
        (b"QDK1 abcdefgh sh no-python\r\n", bootstrap.Boot("sh", "no-python")),
        (b"$ QDK1 abcdefgh sh", bootstrap.Boot("sh", "")),
        (b"QDK1 abcdefgh none no \x1b[31mdd", bootstrap.Boot("none", "no [31mdd")),
        (b"QDK1 otherone python 3.6.15", None),
        (b"QDK1 abcdefgh perl 5", None),
        (b"QDK1 abcdefgh", None),
        (b"motd without end QDK1 abcdefgh python 3.9.1", bootstrap.Boot("python", "3.9.1")),
        (b"", None),
        (b"\xff\xfe QDK1", None),
    ],
)
def test_markers(line: bytes, boot: bootstrap.Boot | None) -> None:
    assert bootstrap.parse_marker(line, "abcdefgh") == boot


@pytest.mark.parametrize("nonce", ["", "short", "with space in it", "quote'quote", "x" * 65, "a$(id)bcdef"])
def test_a_nonce_that_could_break_out_is_refused(nonce: str) -> None:
    with pytest.raises(ValueError, match="nonce"):
        bootstrap.command(nonce)


def test_an_unknown_kind_has_no_payload() -> None:
    with pytest.raises(ValueError, match="no agent of kind"):
        bootstrap.payload("perl", 1.0)


# --- pynvml ---


def test_what_is_sent_of_pynvml_has_all_the_agent_calls_and_is_small() -> None:
    source = bootstrap.pynvml_source()
    module = agent.module_from(source)
    try:
        called = set(re.findall(r'"(nvml[A-Z]\w+|nvmlMemory_v2)"', Path(agent.__file__).read_text(encoding="utf-8")))
        called -= {"nvmlDeviceGet%sRunningProcesses%s"}
        optional = {"nvmlDeviceGetCurrentClocksThrottleReasons"}
        assert {name for name in called - optional if not hasattr(module, name)} == set()
        assert module.NVMLError(15).value == 15
        for kind in ("Compute", "Graphics"):
            assert callable(getattr(module, f"nvmlDeviceGet{kind}RunningProcesses_v3"))
    finally:
        sys.modules.pop("pynvml", None)
    assert len(bootstrap.pynvml_payload()) < 20_000
    head, _, body = bootstrap.pynvml_payload().partition(b"\n")
    assert head == b"m %d" % len(body)


def test_pruning_keeps_what_is_reached_verbatim() -> None:
    source = (
        "import sys\nA = 1\nB = A + 1\n\n\ndef deco(f):\n    return f\n\n\ndef used(x):\n    return helper(x) + B\n\n\n"
        "@deco\ndef helper(x):\n    return x  # as it stands\n\n\ndef unused():\n    return C\n\n\nC = 3\n"
    )
    kept = bootstrap.prune(source, {"used"})
    space: dict[str, object] = {}
    exec(kept, space)  # noqa: S102
    assert space["used"](1) == 3
    assert "# as it stands" in kept
    assert "unused" not in kept
    assert "C = 3" not in kept
