from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.fleet import Fleet
from probes.hosts import agent
from probes.hosts.protocol import LineError, LineSplitter, decode, decode_brief, whole_sample
from probes.model import Brief, Hello, Host, Note, Processes, Sample

if TYPE_CHECKING:
    from collections.abc import Callable

_GPU = [
    0, 97.0, 1000, 400, 61.0, 250.5, 300.0, [], 0, {"fan_pct": "unsupported"}, "GPU-0", "NVIDIA L4", 600, 10, 1830.0,
    2619.0, None, "P0", 0, 5, 16, [],
]  # fmt: skip

_SAMPLE = {
    "t": "s",
    "seq": 3,
    "uptime_s": 99.5,
    "interval_s": 1.001,
    "echo": [7, 12],
    "cpu": [2, 12.5, 0.5, 0.4, 0.3, [10.0, None]],
    "memory": [100, 40, 60, 0, 0],
    "agent": [0.03, 9000000],
    "disks": [["/", "sda1", 100, 50, None, 1.0, {"read_bytes_per_s": "not_yet"}]],
    "net": [["eth0", 1.0, 2.0, {}]],
    "gpus": [],
    "xid_events": None,
    "missing": {"xid_events": "denied", "gpus": "unsupported"},
}


def _line(value: dict[str, Any]) -> bytes:
    """As the agent cuts it, but with whatever it would not say itself."""
    parts = agent.two_parts(value) if value["t"] == "s" else (value,)
    return b"\t".join(json.dumps(part).encode() for part in parts)


def test_a_sample_keeps_its_numbers_and_its_reasons() -> None:
    sample = decode(_line(_SAMPLE))
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
    hello, processes, note, sample = (decode(_line(line)) for line in lines)
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
        _line(_SAMPLE).replace(b"\t", b" "),
    ],
)
@pytest.mark.parametrize("way", [decode, decode_brief])
def test_a_bad_line_is_a_line_error_with_clean_words(line: bytes, way: Callable[[bytes], object]) -> None:
    with pytest.raises(LineError) as caught:
        way(line)
    assert str(caught.value).isprintable()


def test_more_gpus_than_any_host_has_are_refused() -> None:
    line = _line({**_SAMPLE, "gpus": [_GPU] * 65})
    for way in (decode, decode_brief):
        with pytest.raises(LineError, match="more than 64 GPUs"):
            way(line)


@given(st.binary(max_size=400))
def test_no_bytes_raise_anything_but_a_line_error(raw: bytes) -> None:
    for way in (decode, decode_brief):
        try:
            way(raw)
        except LineError as error:
            assert str(error)


def test_the_brief_has_the_values_of_the_whole_and_leaves_the_rest_in_the_line() -> None:
    line = _line({**_SAMPLE, "gpus": [_GPU, _GPU]})
    brief, whole = decode_brief(line), decode(line)
    assert isinstance(brief, Brief)
    assert not isinstance(brief, Sample)
    assert isinstance(whole, Sample)
    assert whole_sample(brief, line) == (whole, "")
    for name in Brief.__struct_fields__:
        if name not in ("cpu", "gpus"):
            assert getattr(brief, name) == getattr(whole, name)
    for one, other in ((brief.cpu, whole.cpu), *zip(brief.gpus, whole.gpus, strict=True)):
        assert {name: getattr(one, name) for name in one.__struct_fields__} == {
            name: getattr(other, name) for name in one.__struct_fields__
        }
    assert brief.gpus[0].power_w == 250.5
    assert whole.gpus[1].name == "NVIDIA L4"
    assert whole.cpu.per_core_pct == (10.0, None)


@pytest.mark.parametrize("at", range(10, 22))
def test_what_is_wrong_beyond_the_brief_is_missing_with_a_reason_and_said(at: int) -> None:
    bad: list[object] = [*_GPU]
    bad[at] = {"not": "this"}
    line = _line({**_SAMPLE, "gpus": [bad]})
    brief = decode_brief(line)
    assert isinstance(brief, Brief)
    sample, wrong = whole_sample(brief, line)
    assert "gpus" in wrong
    gpu = sample.gpus[0]
    assert (gpu.power_w, gpu.utilization_pct) == (250.5, 97.0)
    assert gpu.name is None
    assert gpu.missing["name"] == gpu.missing["sm_clock_mhz"] == gpu.missing["mig"] == "error"
    assert gpu.missing["fan_pct"] == "error"
    assert sample.cpu.per_core_pct is None
    assert sample.missing["cpu.per_core_pct"] == "error"
    assert sample.memory.used_bytes == 40


def test_the_store_decodes_the_rest_of_a_sample_when_it_is_asked_for_and_counts_what_it_cannot_use() -> None:
    fleet = Fleet([Host("a", "a")])
    record = fleet.hosts["a"]
    good, bad = _line({**_SAMPLE, "gpus": [_GPU]}), _line({**_SAMPLE, "gpus": [[*_GPU[:11], 5, *_GPU[12:]]]})
    for line, name, wrong in ((good, "NVIDIA L4", 0), (bad, None, 1), (good, "NVIDIA L4", 1)):
        brief = decode_brief(line)
        assert isinstance(brief, Brief)
        fleet.ingest("a", brief, 1.0, None, line)
        assert record.brief == brief
        assert record.brief is record.brief
        assert record.sample is not None
        assert record.sample.gpus[0].name == name
        assert record.sample is record.sample
        assert record.bad_lines == wrong
    assert "gpus" in record.bad_text


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (_line(_SAMPLE).split(b"\t")[0], "without its second part"),
        (_line(_SAMPLE) + b"\t{}", "malformed"),
        (_line(_SAMPLE).split(b"\t")[0] + b"\t" + _line({**_SAMPLE, "gpus": [_GPU]}).split(b"\t")[1], "1 GPUs for 0"),
    ],
)
def test_a_second_part_that_does_not_fit_costs_its_values_and_not_the_sample(text: bytes, wrong: str) -> None:
    brief = decode_brief(text)
    assert isinstance(brief, Brief)
    sample, said = whole_sample(brief, text)
    assert said
    assert wrong in said
    assert sample.memory.used_bytes == 40
    assert sample.missing["cpu.load5"] == "error"
    with pytest.raises(LineError, match=wrong):
        decode(text)


def test_a_brief_without_its_line_is_refused() -> None:
    brief = decode_brief(_line(_SAMPLE))
    assert isinstance(brief, Brief)
    with pytest.raises(TypeError, match="line"):
        Fleet([Host("a", "a")]).ingest("a", brief, 1.0, None)


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
