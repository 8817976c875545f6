from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.hosts.protocol import JsonDecoder, LineError, LineSplitter
from probes.model import Hello, Note, Processes, Sample

_SAMPLE = {
    "t": "s",
    "seq": 3,
    "uptime_s": 99.5,
    "interval_s": 1.001,
    "echo": [7, 12],
    "cpu": [2, 12.5, [10.0, None], 0.5, 0.4, 0.3],
    "memory": [100, 40, 60, 0, 0],
    "agent": [0.03, 9000000],
    "disks": [["/", "sda1", 100, 50, None, 1.0, {"read_bytes_per_s": "not_yet"}]],
    "net": [["eth0", 1.0, 2.0, {}]],
    "gpus": [],
    "xid_events": None,
    "missing": {"xid_events": "denied", "gpus": "unsupported"},
}


def _line(value: object) -> bytes:
    return json.dumps(value).encode()


def test_a_sample_keeps_its_numbers_and_its_reasons() -> None:
    (sample,) = JsonDecoder().feed(_line(_SAMPLE))
    assert isinstance(sample, Sample)
    assert sample.cpu.utilization_pct == 12.5
    assert sample.cpu.per_core_pct == (10.0, None)
    assert sample.memory.used_bytes == 40
    assert sample.disks[0].read_bytes_per_s is None
    assert sample.disks[0].missing == {"read_bytes_per_s": "not_yet"}
    assert sample.xid_events is None
    assert sample.missing["xid_events"] == "denied"
    assert sample.echo == (7, 12)


def test_every_text_of_a_line_is_cleaned() -> None:
    hostile = "ev\x1b[2Jil\u202e\n[red]x"
    lines = [
        {
            "t": "h",
            "mode": hostile,
            "hostname": hostile,
            "units": [["docker", hostile, "up", hostile]],
            "missing": {hostile: "error"},
        },
        {"t": "p", "total": 1, "top": [[1, hostile, hostile, None, None]], "gpu": [[0, 1, hostile, hostile, None]]},
        {"t": "n", "layer": hostile, "text": hostile},
        {**_SAMPLE, "disks": [[hostile, hostile, None, None, None, None, {}]]},
    ]
    wanted = "ev[2Jil [red]x"
    hello, processes, note, sample = (JsonDecoder().feed(_line(line))[0] for line in lines)
    assert isinstance(hello, Hello)
    assert hello.hostname == wanted
    assert hello.units is not None
    assert hello.units[0].detail == wanted
    assert hello.missing == {wanted: "error"}
    assert isinstance(processes, Processes)
    assert processes.top[0].name == processes.top[0].user == wanted
    assert processes.gpu is not None
    assert processes.gpu[0].name == wanted
    assert isinstance(note, Note)
    assert note.text == wanted
    assert isinstance(sample, Sample)
    assert sample.disks[0].mount == wanted


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"null",
        b'{"t":"x"}',
        b'{"t":"s","seq":"one"}',
        b"\xff\xfe\x00binary",
        b"[" * 5000,
        _line({**_SAMPLE, "missing": {"cpu": "because"}}),
        _line({**_SAMPLE, "cpu": [2, float("nan"), None, None, None, None]}),
    ],
)
def test_a_bad_line_is_a_line_error_with_clean_words(line: bytes) -> None:
    with pytest.raises(LineError) as caught:
        JsonDecoder().feed(line)
    assert str(caught.value).isprintable()


def test_more_gpus_than_any_host_has_are_refused() -> None:
    gpu = [0, *[None] * 19, [], {}]
    with pytest.raises(LineError, match="more than 64 GPUs"):
        JsonDecoder().feed(_line({**_SAMPLE, "gpus": [gpu] * 65}))


@given(st.binary(max_size=400))
def test_no_bytes_raise_anything_but_a_line_error(raw: bytes) -> None:
    try:
        JsonDecoder().feed(raw)
    except LineError as error:
        assert str(error)


@given(
    st.lists(st.binary(max_size=30).filter(lambda b: b"\n" not in b and not b.endswith(b"\r")), max_size=20), st.data()
)
def test_lines_survive_any_chunking(lines: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    splitter = LineSplitter()
    out: list[bytes] = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        out += splitter.feed(stream[:size])
        stream = stream[size:]
    assert out == lines
    assert splitter.overlong == 0


def test_an_endless_line_costs_no_memory_and_the_next_line_is_read() -> None:
    splitter = LineSplitter(limit_bytes=1000)
    for _ in range(1000):
        assert splitter.feed(b"x" * 1000) == []
    assert len(splitter._buffer) <= 1000
    assert splitter.feed(b"tail\nnext\n") == [b"next"]
    assert splitter.overlong == 1
