"""The bench's small terminal reads what a program paints, and when."""

from __future__ import annotations

import signal
import sys

import pytest

from tests.perf.terminal import Screen, Terminal, calibrate, key_to_paint_ms

PROGRAM = """
import os, sys, termios, tty
tty.setraw(0)
at = 4
def paint(row, marked):
    ground = "48;2;40;60;80" if marked else "48;2;0;0;0"
    sys.stdout.write(f"\\x1b[{row + 1};1H\\x1b[{ground}mrow {row:02d} \\x1b[0m")
for row in range(20):
    paint(row, row == at)
sys.stdout.flush()
while (key := os.read(0, 1)) not in (b"", b"q"):
    before, at = at, at + (1 if key == b"j" else -1 if key == b"k" else 0)
    paint(before, False), paint(at, True)
    sys.stdout.flush()
"""


def test_text_positions_and_backgrounds():
    screen = Screen(5, 20)
    assert screen.is_blank()
    screen.feed("\x1b[2;3Hab\x1b[48;2;1;2;3mc\x1b[0md\x1b]0;title\x07e")
    assert screen.line(1) == "  abcde"
    assert screen.ground[1][4] == "48;2;1;2;3"
    assert screen.ground[1][3] == screen.ground[1][5] == ""
    screen.feed("\x1b[2J")
    assert screen.is_blank()


def test_sequences_may_come_in_pieces():
    whole = "\x1b[3;2H\x1b[41mx\x1b[7my\x1b[27m\x1b[49mz\r\nover\x1b[1A\x1b[2Cup"
    pieces = Screen(6, 20)
    for char in whole:
        pieces.feed(char)
    once = Screen(6, 20)
    once.feed(whole)
    assert pieces.text == once.text
    assert pieces.ground == once.ground
    assert once.ground[2][1:4] == ["41", "41r", ""]
    assert once.line(3) == "over"
    assert once.line(2) == " xyz  up"


def test_wide_characters_take_two_columns():
    screen = Screen(2, 10)
    screen.feed("a東b")
    assert [screen.text[0][column] for column in (0, 1, 3)] == ["a", "東", "b"]


def test_a_key_is_timed_to_the_paint_it_caused():
    terminal = Terminal([sys.executable, "-c", PROGRAM], rows=24, columns=40)
    try:
        assert terminal.wait(lambda screen: "row 19" in screen.line(19), 20) is not None
        ground = calibrate(terminal)
        assert ground == "48;2;40;60;80"
        took = key_to_paint_ms(terminal, b"j", ground)
        assert took is not None
        assert took > 0
        assert terminal.screen.ground[5][3] == ground
    finally:
        assert terminal.close() == -signal.SIGTERM


@pytest.mark.parametrize("argv", [[sys.executable, "-c", "raise SystemExit(3)"]])
def test_a_program_that_ends_is_noticed(argv):
    terminal = Terminal(argv)
    assert terminal.wait(lambda screen: not screen.is_blank(), 1.0) is None
    assert terminal.close() == 3
