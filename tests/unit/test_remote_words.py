"""What goes over a channel to run a command: read back by real shells, and what comes back read here."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.errors import BenchError
from benchmarks.remote_session import Stream
from benchmarks.remote_words import (
    Program,
    Usage,
    command_line,
    find_marker,
    keeper_line,
    keeper_payload,
    lines,
    new_nonce,
    take_usage,
    token,
)

MARK = "0011223344556677.1."

SHELLS = {
    "dash": ["dash", "-c"],
    "bash": ["bash", "-c"],
    "busybox": ["busybox", "sh", "-c"],
    "zsh": ["zsh", "-c"],
    "fish": ["fish", "-c"],
    "tcsh": ["tcsh", "-f", "-c"],
    "ksh": ["ksh", "-c"],
}


def spoken(program: Program, shell: list[str]) -> subprocess.CompletedProcess[bytes]:
    """Run a program as a host would whose login shell this is."""
    argv = [*shell, command_line(MARK)]
    return subprocess.run(
        argv, input=lines(program, MARK) + program.stdin, capture_output=True, check=False, start_new_session=True
    )


@pytest.mark.parametrize("shell", SHELLS)
def test_every_login_shell_hands_it_on(shell: str) -> None:
    if shutil.which(SHELLS[shell][0]) is None:
        pytest.skip(f"needs {shell}")
    program = Program('printf %s "$A"; pwd; cat; exit 9', "/", {"A": "$(id) `id` \\ ! ' \" \n\t~ %d"}, b"rest")
    done = spoken(program, SHELLS[shell])
    assert done.stdout == f"QDC1 {MARK} start\n".encode() + b"$(id) `id` \\ ! ' \" \n\t~ %d/\nrest"
    assert done.stderr == f"QDC1 {MARK} start\n".encode()
    assert done.returncode == 9


def test_a_shell_that_leads_no_session_becomes_a_leader() -> None:
    """Some servers start commands in their own session, which must not be ended with them."""
    look = 'read -r p c t q g s r </proc/$PPID/stat; [ "$p" = "$s" ] && echo leader'
    done = subprocess.run(
        ["/bin/sh", "-c", command_line(MARK).removeprefix("exec ")],
        input=lines(Program(look), MARK),
        capture_output=True,
        check=False,
    )
    assert done.stdout.endswith(b"start\nleader\n")
    assert done.returncode == 0


@settings(max_examples=60, deadline=None)
@given(text=st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=60))
def test_any_text_arrives_as_it_is(text: str) -> None:
    done = spoken(Program("printenv A", env={"A": text}), ["dash", "-c"])
    assert done.stdout.removeprefix(f"QDC1 {MARK} start\n".encode()) == text.encode() + b"\n"


def test_command_lines_have_nothing_that_a_shell_could_misread() -> None:
    nonce = new_nonce()
    for line in (command_line(token(nonce, 3)), keeper_line(nonce)):
        inner = line.split("'")[1]
        assert line.count("'") == 2
        assert not set(inner) & set("!\\\n'")
    # the keeper must not find itself
    assert f"{nonce}." not in keeper_line(nonce)
    assert command_line(token(nonce, 3)).endswith(f"{nonce}.3.")


def test_the_keeper_is_sent_with_its_length_and_without_comments() -> None:
    count, _, body = keeper_payload("abcdef0123456789", 15.0, 1.0).partition(b"\n")
    assert int(count) == len(body)
    assert body.startswith(b"QD_N=abcdef0123456789\nQD_W=15\nQD_G=10\n")
    assert b"\n#" not in body
    assert subprocess.run(["sh", "-n"], input=body, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(
    "program",
    [
        Program(""),
        Program("a\0b"),
        Program("true", "a\0b"),
        Program("true", env={"1A": "x"}),
        Program("true", env={"A;reboot": "x"}),
        Program("true", env={"A": "x\0"}),
        Program("x" * 300_000),
    ],
)
def test_what_a_shell_cannot_be_told_is_refused(program: Program) -> None:
    with pytest.raises(BenchError) as caught:
        lines(program, MARK)
    assert caught.value.layer == "plan"
    assert caught.value.side == "client"


def test_markers_are_found_behind_noise_and_only_when_whole() -> None:
    assert find_marker(b"Welcome\nQDC1 other start\n", MARK) is None
    assert find_marker(b"Welcome\nQDC1 0011223344556677.1. sta", MARK) is None
    assert find_marker(b"no newline> QDC1 0011223344556677.1. start\nrest", MARK) == ("start", 43)


def test_the_witness_is_taken_out_of_stderr() -> None:
    said = b"oops\n\nQDU1 0011223344556677.1. 0.012500000 21504 0.010000 0\n"
    assert take_usage(said, MARK) == (Usage(0.0125, 21504 * 1024, 0.01), b"oops\n")
    # a peak that may be our own is none
    floor = b"\nQDU1 0011223344556677.1. 0.5 9000 0.25 9000\n"
    assert take_usage(floor, MARK) == (Usage(0.5, None, 0.25, {"peak_rss_bytes": "unsupported"}), b"")
    nothing = b"\nQDU1 0011223344556677.1. none\n"
    assert take_usage(nothing, MARK)[0].missing == dict.fromkeys(("wall_s", "peak_rss_bytes", "cpu_s"), "unsupported")
    for hostile in (b"", b"QDU1", b"\nQDU1 0011223344556677.2. 1 1 1 1\n"):
        usage, rest = take_usage(hostile, MARK)
        assert usage.missing == dict.fromkeys(("wall_s", "peak_rss_bytes", "cpu_s"), "error")
        assert rest == hostile


def test_a_stream_keeps_its_two_ends() -> None:
    stream = Stream(4)
    for part in (b"ab", b"cdef", b"ghijklmnop", b"q"):
        stream.feed(part)
    kept = stream.text()
    assert (kept.head, kept.tail, kept.total_bytes, kept.whole) == (b"abcd", b"nopq", 17, False)
    assert kept.text() == "abcd\n...\nnopq"
    short = Stream(4)
    short.feed(b"abcdef")
    assert short.text().text() == "abcdef"
    assert short.text().whole


@given(parts=st.lists(st.binary(max_size=40), max_size=20), keep=st.integers(1, 30))
def test_a_stream_of_any_parts(parts: list[bytes], keep: int) -> None:
    stream, whole = Stream(keep), b"".join(parts)
    for part in parts:
        stream.feed(part)
    kept = stream.text()
    assert kept.total_bytes == len(whole)
    assert kept.head == whole[:keep]
    assert kept.tail == whole[keep:][-keep:]
