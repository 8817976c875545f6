"""Streams of server-sent events, cut anywhere: the events are those of a plain reading of the whole."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.llm.answer import Answer, BadAnswerError
from benchmarks.sse import Event, Parser, TooMuchError
from probes.text import clean

pieces = st.sampled_from(
    [b"data:", b"data: ", b"data", b"event: ", b"event:error", b"id: 7", b": comment", b"\n", b"\r", b"\r\n", b"\n\n",
     b"\r\n\r\n", b"\xef\xbb\xbf", "塔は高い".encode(), "🗼".encode(), b"[DONE]", b" ", b":", b"{}", b"x"]
)  # fmt: skip
streams = st.lists(st.one_of(pieces, st.binary(max_size=6)), max_size=40).map(b"".join)


def plainly(raw: bytes) -> list[Event]:
    """The rules of WHATWG read off the page, over a stream that is all there."""
    lines = re.split(rb"\r\n|\n|\r", raw.removeprefix(b"\xef\xbb\xbf"))[:-1]
    found: list[Event] = []
    data: list[bytes] = []
    name = b""
    for line in lines:
        if line == b"":
            if b"\n".join(data):
                found.append(Event(b"\n".join(data), name))
            data, name = [], b""
            continue
        field, value = [*line.split(b":", 1), b""][:2]
        value = value[1:] if value[:1] == b" " else value
        if field == b"data":
            data.append(value)
        if field == b"event":
            name = value
    return found


def cut(raw: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(raw) + 1) for place in places), len(raw)]
    return [raw[start:end] for start, end in pairwise(edges)]


@given(streams, st.lists(st.integers(0, 500), max_size=30))
@settings(max_examples=600)
def test_any_cut_gives_the_events_of_the_whole(raw: bytes, places: list[int]) -> None:
    parser = Parser()
    assert [event for part in cut(raw, places) for event in parser.feed(part)] == plainly(raw)


@given(streams)
def test_byte_by_byte_too(raw: bytes) -> None:
    parser = Parser()
    found = [event for at in range(len(raw)) for event in parser.feed(raw[at : at + 1])]
    assert found == plainly(raw)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=30), st.integers(1, 40))
def test_what_is_held_back_is_bounded(parts: list[bytes], most: int) -> None:
    parser = Parser(max_event_bytes=most)
    held = 0
    try:
        for part in parts:
            for event in parser.feed(part):
                assert len(event.data) <= most
            held = sum(map(len, (*parser._line, *parser._data)))
            assert held <= most
    except TooMuchError as error:
        assert str(error) == f"more than {most} bytes in one event"


@pytest.mark.parametrize("wrap", [lambda raw: raw, lambda raw: b"data: " + raw.replace(b"\n", b"") + b"\n\n"])
@given(st.one_of(st.binary(max_size=200), st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["choices", "delta", "content", "usage", "error", "finish_reason", "completion_tokens", "x"]),
        inner, max_size=4),
).map(lambda value: json.dumps(value).encode())))  # fmt: skip
@settings(max_examples=300)
def test_any_answer_is_judged(wrap, raw: bytes) -> None:
    answer = Answer(0, 10_000)
    try:
        answer.feed(wrap(raw), 5)
        answer.check("text/event-stream")
    except BadAnswerError as error:
        assert clean(str(error), 600) == str(error)
    else:
        assert answer.values()["ttft"] == 5e-9
