"""`bench run` as a person and a script use it: real processes, a real server on loopback, a real store."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.samples_file import read_samples
from benchmarks.store import Store
from tests.support.forks import Forks
from tests.support.latency_server import serving
from tests.support.sshd import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


@pytest.fixture
def server() -> Iterator[str]:
    with serving() as (url, _):
        yield url


class Shell:
    """Runs commands with a home of their own: those that go to their end by ``forks``."""

    def __init__(self, home: Path, forks: Forks) -> None:
        self.home = home
        self.forks = forks
        home.mkdir()
        self.env = {
            **os.environ, "HOME": str(home), "XDG_STATE_HOME": str(home / "state"), "PYTHONPATH": str(ROOT),
            "XDG_CONFIG_HOME": str(home / "config"), "QUARTERDECK_CONFIG": "", "COLUMNS": "200",
        }  # fmt: skip

    def start(self, *words: str, **more: Any) -> subprocess.Popen[str]:
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
        return subprocess.Popen(
            [sys.executable, "-m", "tui.cli", "bench", *words], cwd=self.home, env=self.env, text=True, **pipes
        )

    def run(self, *words: str, code: int = 0) -> tuple[Any, str]:
        """JSON of stdout and what stderr said."""
        done = self.finish(*words)
        out, err = done.stdout, done.stderr
        assert done.returncode == code, (done.returncode, out[-1000:], err[-2000:])
        return (json.loads(out) if out.startswith("[") else out), err

    def finish(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.forks.run(["bench", *words], cwd=self.home, env=self.env)

    def measure(self, *words: str, passed: int = 0) -> tuple[Any, str]:
        """The only result of a run. A machine too busy to be trusted makes it invalid, which is no fault of the code."""
        done = self.finish("run", *words)
        (made,) = json.loads(done.stdout)
        valid = made["validity"]["verdict"] == "valid"
        assert done.returncode == (passed if valid else 3), (done.returncode, made["validity"], done.stderr[-2000:])
        return made, done.stderr

    @property
    def store(self) -> Store:
        return Store.open(self.home / "state" / "quarterdeck" / "results.sqlite3")


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks(kind="bench") as forks:
        yield forks


@pytest.fixture
def shell(tmp_path: Path, forks: Forks) -> Shell:
    return Shell(tmp_path / "home", forks)


API = ("api-latency", "localhost", "--url")
RUN = ("run", *API)


def test_a_run_is_printed_stored_shown_compared_and_exported(shell, server):
    first, said = shell.measure(*API, server, "--quick", "--label", "night", "--param", "path=/x")
    assert said == ""
    assert (first["benchmark"]["id"], first["label"], first["case_text"]) == ("api-latency", "night", "/x")
    assert first["counts"] == {
        "intended": 10, "ok": 10,
        "by_outcome": {"ok": 10, "http_error": 0, "transport": 0, "timeout": 0, "invalid_body": 0, "cancelled": 0,
                       "dropped": 0},
    }  # fmt: skip
    second, _ = shell.measure(*API, server, "--quick", "--label", "night", "--param", "path=/x")
    rows, _ = shell.run("list-runs", "--label", "night", "--json")
    assert [row["run_id"] for row in rows] == [second["run_id"], first["run_id"]]
    shown, _ = shell.run("show", first["run_id"])
    assert shown == [first]
    compared, _ = shell.run("compare", first["run_id"], second["run_id"], "--json")
    assert {row["outcome"] for row in compared[0]["rows"]} == {"too_few"}
    lines, _ = shell.run("export", first["run_id"], "--format", "jsonl")
    assert len(lines.splitlines()) == 11  # ten and a warm-up
    assert len(read_samples(shell.store.samples_folder / first["samples_file"]).samples) == 11
    assert (shell.home / "state" / "quarterdeck").stat().st_mode & 0o777 == 0o700


def test_a_letter_that_is_worse_than_wanted_ends_with_99(shell):
    with serving(0.06) as (url, _):
        made, _ = shell.measure(*API, url, "--quick", "--fail-under", "S", passed=99)
    assert made["grade"]["letter"] in {"B", "C", "D", None}


def test_a_check_makes_one_request_and_gives_no_letter(shell):
    with serving() as (url, asked):
        made, _ = shell.measure(*API, url, "--check")
    assert made["grade"]["letter"] is None
    assert made["counts"]["intended"] == 1
    assert 1 <= len(asked) <= 2  # what preflight asked for, and the one


def test_a_check_that_fails_is_no_pass(shell):
    with serving(status=500) as (url, _):
        out, said = shell.run(*RUN, url, "--check", code=3)
    assert out == []
    assert "HTTP 500" in said


def test_a_service_that_is_down_ends_with_3_and_the_next_step(shell):
    out, said = shell.run(*RUN, f"http://127.0.0.1:{free_port()}", "--quick", code=3)
    assert out == []
    assert said.startswith("localhost get: ")
    assert "refused" in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_it_in_order_and_keeps_what_there_is(shell, number):
    with serving() as (url, asked):
        process = shell.start(*RUN, url, "--n", "5000")
        try:
            until(lambda: len(asked) > 20, process)
            process.send_signal(number)
            out, said = process.communicate(timeout=40)
            assert process.returncode == 130, said
            (made,) = json.loads(out)
            assert made["validity"]["verdict"] == "invalid"
            assert any("cancelled" in reason for reason in made["validity"]["reasons"])
            assert 0 < made["counts"]["ok"] < 5000
            assert shell.store.get(made["run_id"]).counts.ok == made["counts"]["ok"]
            seen = len(asked)
        finally:
            process.kill()
            process.wait()
    assert len(asked) == seen


def until(held: Any, process: subprocess.Popen[str]) -> None:
    """Wait until something is so; the process ending first is a failure."""
    end = time.monotonic() + 40
    while not held():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


def test_nobody_reading_the_results_loses_none(shell, server):
    reader, writer = os.pipe()
    os.close(reader)
    process = shell.start(*RUN, server, "--quick", stdout=writer)
    os.close(writer)
    _, said = process.communicate(timeout=50)
    (row,) = shell.store.find()
    assert process.returncode == (0 if row.verdict == "valid" else 3), said
    assert said == f"nobody read the results; they are stored: {row.run_id}\n"


def test_a_full_disk_behind_stdout_loses_none(shell, server):
    with Path("/dev/full").open("w") as full:
        process = shell.start(*RUN, server, "--quick", stdout=full)
        _, said = process.communicate(timeout=50)
    assert process.returncode == 1
    (row,) = shell.store.find()
    assert said == f"stdout cannot be written: No space left on device; they are stored: {row.run_id}\n"


def test_a_store_that_cannot_be_used_costs_no_result(shell, server):
    path = shell.home / "state" / "quarterdeck" / "results.sqlite3"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no database" * 100)
    made, said = shell.measure(*API, server, "--quick")
    assert made["counts"]["ok"] == 10
    assert said.startswith("results will only be printed: store: ")
    assert path.read_bytes() == b"no database" * 100


def test_two_runs_at_once_are_both_kept(shell, server):
    hosts = ("127.0.0.2", "127.0.0.3")
    both = [shell.start("run", "api-latency", host, "--url", server, "--quick") for host in hosts]
    made = [json.loads(process.communicate(timeout=50)[0])[0] for process in both]
    assert {process.returncode for process in both} <= {0, 3}
    assert sorted(row.run_id for row in shell.store.find()) == sorted(one["run_id"] for one in made)
    assert [one["target"]["host"] for one in made] == list(hosts)


def test_on_a_terminal_there_is_progress_and_a_card(shell, server):
    mine, theirs = pty.openpty()
    process = shell.start(*RUN, server, "--n", "200", stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = b""
    try:
        while chunk := os.read(mine, 65536):
            said += chunk
    except OSError:  # the other side is closed
        pass
    os.close(mine)
    assert process.wait(timeout=20) in {0, 3}
    text = said.decode()
    assert "localhost get: measure " in text
    assert "api-latency get on localhost: " in text.rpartition("\x1b[K")[2]
    assert "/200" in text


def test_a_host_labelled_production_is_asked_about_on_a_terminal(shell, server):
    (shell.home / "config.toml").write_text(
        'schema = 1\n[[hosts]]\nid = "p"\nlocal = true\nlabels = { env = "production" }\n'
    )
    mine, theirs = pty.openpty()
    process = shell.start("run", "api-latency", "p", "--url", server, "--quick", stdin=theirs, stderr=theirs)
    os.close(theirs)
    os.write(mine, b"n\n")
    out, _ = process.communicate(timeout=40)
    os.close(mine)
    assert (process.returncode, out) == (130, "")
    made, _ = shell.measure("api-latency", "p", "--url", server, "--quick", "--yes")
    assert made["target"]["host"] == "p"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_spoils_nothing(shell, server, closed):
    words = f"{sys.executable} -m tui.cli bench {' '.join(RUN)} {server} --check {closed}"
    done = subprocess.run(
        ["/bin/sh", "-c", words], cwd=shell.home, env=shell.env, capture_output=True, text=True, timeout=50, check=False
    )
    assert "Traceback" not in done.stderr
    assert done.returncode in {0, 3}, done.stderr  # 3: this machine was too busy
    (row,) = shell.store.find()
    assert row.benchmark == "api-latency"
