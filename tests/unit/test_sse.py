"""Server-sent events by hand, and their bounds."""

from __future__ import annotations

import pytest

from benchmarks.sse import Event, Parser, TooMuchError


@pytest.mark.parametrize(
    ("raw", "events"),
    [
        (b"data: a\n\n", [Event(b"a")]),
        (b"data:a\r\n\r\ndata:  b\r\r", [Event(b"a"), Event(b" b")]),
        (b": ping\n\n: pong\n\ndata: a\n\n", [Event(b"a")]),
        (b"data: one\ndata: two\ndata\n\n", [Event(b"one\ntwo\n")]),
        (b"event: error\nid: 3\nretry: 10\ndata: x\n\ndata: y\n\n", [Event(b"x", b"error"), Event(b"y")]),
        (b"event: nothing\n\ndata:\n\n", []),
        (b"\xef\xbb\xbfdata: a\n\n", [Event(b"a")]),
        (b"data: never ended\n", []),
        (b"data: never ended", []),
        (b'{"data": 1}\n\n', []),
        (b"", []),
    ],
)
def test_events(raw: bytes, events: list[Event]) -> None:
    assert Parser().feed(raw) == events


def test_a_character_and_a_line_end_cut_in_two() -> None:
    parser = Parser()
    tower = "塔".encode()
    assert parser.feed(b"data: " + tower[:1]) == []
    assert parser.feed(tower[1:] + b"\r") == []
    assert parser.feed(b"\n\r") == [Event(tower)]
    assert parser.feed(b"\ndata: b\n\n") == [Event(b"b")]


def feed_all(parser: Parser, raw: bytes, step: int) -> None:
    for at in range(0, len(raw), step):
        parser.feed(raw[at : at + step])


def test_an_event_is_bounded_however_it_comes() -> None:
    for raw in (b"data: " + b"x" * 100, b"data: 123\n" * 12, b": 12345678\n" * 10):
        for step in (1, 7, 1000):
            parser = Parser(max_event_bytes=99)
            with pytest.raises(TooMuchError, match="more than 99 bytes in one event"):
                feed_all(parser, raw, step)


def test_comments_between_events_add_up_to_nothing() -> None:
    parser = Parser(max_event_bytes=20)
    for _ in range(100):
        assert parser.feed(b": keep-alive\n\n") == []
    assert parser.total == 1400


def test_a_stream_is_bounded() -> None:
    parser = Parser(max_bytes=2 * 2**20)
    with pytest.raises(TooMuchError, match="more than 2 MiB in one answer"):
        feed_all(parser, (b"data: " + b"x" * 8000 + b"\n\n") * 300, 8192)
