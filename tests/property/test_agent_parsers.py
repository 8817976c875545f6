"""No input crashes a parser, no input makes a number out of nothing, and nothing hostile gets through."""

from __future__ import annotations

import contextlib
import json
from fractions import Fraction

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from probes import model
from probes.hosts import agent, smi, smi_text
from probes.hosts.frames import FrameDecoder
from probes.hosts.protocol import LineError, decode

NUMBERS = [getattr(smi, name) for name in ("PERCENT", "FAN", "MEMORY", "CELSIUS", "POWER", "CLOCK", "COUNT", "PID")]
WORDS = st.sampled_from(
    ["[N/A]", "N/A", "[Not Supported]", "[Unknown Error]", "[GPU is lost]", "ERR!", "[Insufficient Permissions]", "", "0",
     "0 MiB", "12", "3.5 W", "100 %", "0x01", "P0", "Active", "Not Active", "GPU-1", "H100", "٣", "1e5", "nan", "-1"]
)  # fmt: skip
CELLS = st.one_of(
    WORDS, st.text(max_size=12).filter(lambda text: not set(text) & set(",\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"))
)
COLUMNS = sorted(
    {column for _, columns in smi.NUMBERS.values() for column in columns} | {"index", "uuid", "name", "pstate"}
)
LETTERS = "BEHhgGALTMDPUWKSCQcmlnda"


@given(st.text(max_size=40), st.sampled_from(NUMBERS))
@example("[GPU is lost]", smi.MEMORY)
def test_a_value_needs_digits_and_comes_from_them(text: str, number: smi.Number) -> None:
    value, reason = number.read(text)
    assert (value is None) != (reason is None)
    if value is not None:
        assert any(char in "0123456789" for char in text)
        assert number.low <= value <= number.high
        if value == 0:
            assert set(text) & set("123456789") == set() or text.strip().startswith(("0", "-0", "+0"))


@given(st.lists(st.sampled_from(COLUMNS), min_size=1, max_size=12, unique=True), st.data())
def test_a_row_never_has_a_value_its_cells_do_not_have(columns: list[str], data: st.DataObject) -> None:
    cells = data.draw(st.lists(CELLS, min_size=len(columns), max_size=len(columns)))
    row = smi.parse_gpu(", ".join(cells), smi.columns_of(columns))
    if row is None:
        return
    gpu = row.gpu
    for field in agent.GPU_FIELDS:
        assert (getattr(gpu, field) is None) == (field in gpu.missing)
    for field, (_, names) in smi.NUMBERS.items():
        value = getattr(gpu, field)
        sources = [cell for name, cell in zip(columns, cells, strict=True) if name in names]
        if value is not None:
            assert any(char in "0123456789" for cell in sources for char in cell)


@given(st.text(max_size=400))
def test_no_text_crashes_the_text_parsers(text: str) -> None:
    smi.parse_gpus(text)
    smi.parse_apps(text)
    smi_text.parse_list(text)
    smi_text.parse_table(text)
    for gpu in smi_text.parse_report("GPU 00000000:01:00.0\n" + text).gpus:
        for field in agent.GPU_FIELDS:
            assert (getattr(gpu, field) is None) == (field in gpu.missing)
    agent.parse_docker(text)
    agent.parse_systemctl(text)
    agent.parse_xid(text)
    agent.docker_reason(text)


@given(
    st.lists(
        st.one_of(
            WORDS,
            st.sampled_from(["    FB Memory Usage", "        Total : 5 MiB", "    Processes", "  x : y", " : ", ":"]),
        ),
        max_size=30,
    )
)
def test_no_report_crashes(lines: list[str]) -> None:
    smi_text.parse_report("GPU 00000000:01:00.0\n" + "\n".join(lines))


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_proc_parsers_in_another_way_than_they_say(data: bytes) -> None:
    for parse in (agent.parse_stat, agent.parse_net, agent.parse_diskstats, agent.parse_process, agent.parse_loadavg):
        with contextlib.suppress(ValueError, IndexError):
            parse(data)
    with contextlib.suppress(ValueError, KeyError, TypeError):
        agent.parse_containers(b"HTTP/1.0 200 OK\r\n\r\n" + data)
    agent.parse_meminfo(data)
    agent.select_mounts(agent.parse_mountinfo(data))
    agent.parse_kmsg(data)
    agent.parse_passwd(data)
    agent.parse_os_release(data)


RAW = st.fixed_dictionaries(
    dict.fromkeys(
        ("stat", "meminfo", "loadavg", "netdev", "diskstats"), st.one_of(st.binary(max_size=80), st.just("denied"))
    )
)


@given(RAW, RAW, st.floats(allow_nan=False, allow_infinity=False, min_value=0, max_value=1e9))
def test_whatever_proc_says_a_sample_comes_out_and_every_null_has_a_reason(
    first: dict[str, bytes | str], second: dict[str, bytes | str], now: float
) -> None:
    host = agent.Host(lambda _layer, _text: None)
    host.sample(first, 1.0, "not_yet")
    fields, more, missing = host.sample(second, now, [("/", "/dev/sda", "8:0", None, None, "error")])
    text = agent.sample_text(1, "1.0", fields, more, "[null,null]", "null", (), None, agent.to_json(missing))
    sample = decode(text.encode("ascii"))
    assert isinstance(sample, model.Sample)
    for name in ("cpu", "memory"):
        part = getattr(sample, name)
        for field in part.__struct_fields__:
            if getattr(part, field) is None:
                assert f"{name}.{field}" in sample.missing
    if sample.cpu.utilization_pct is not None:
        assert 0 <= sample.cpu.utilization_pct <= 100


counters = st.lists(st.integers(0, 10**6), min_size=8, max_size=8)


@given(counters, counters)
def test_a_share_is_a_percentage_or_nothing(one: list[int], two: list[int]) -> None:
    def text(values: list[int]) -> bytes:
        return ("cpu " + " ".join(map(str, values)) + "\ncpu0 1 0 0 1 0 0 0 0\n").encode()

    host = agent.Host(lambda _layer, _text: None)
    nothing = dict.fromkeys(("meminfo", "loadavg", "netdev", "diskstats"), "denied")
    host.sample({**nothing, "stat": text(one)}, 1.0, "not_yet")
    fields, _, missing = host.sample({**nothing, "stat": text(two)}, 2.0, "not_yet")
    value = json.loads("{" + fields + "}")["cpu"][1]
    total = sum(two) - sum(one)
    busy = total - (two[3] + two[4] - one[3] - one[4])
    if value is None:
        assert missing["cpu.utilization_pct"] == "error"
        assert total <= 0 or not 0 <= busy <= total
    else:
        assert abs(Fraction(str(value)) - Fraction(100 * busy, total)) <= Fraction(1, 20)


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=60),
            st.builds(lambda letter, rest: letter.encode() + b" " + rest, st.sampled_from(LETTERS), st.binary(max_size=80)),
            st.sampled_from([b"B 5.0", b"E", b"g index, uuid, name, power.draw [W]", b"g 0, GPU-1, X, 5", b"H smi yes", b"H hostname x",
                             b"M .", b"D .", b"T .", b"L .", b"A .", b"K .", b"K status 0", b"S .", b"P . 5 6.0", b"G x"]),
        ),
        max_size=40,
    )
)  # fmt: skip
@settings(max_examples=300)
def test_the_frame_decoder_raises_line_errors_only_and_its_text_is_clean(lines: list[bytes]) -> None:
    decoder = FrameDecoder()
    for line in lines:
        try:
            found = decoder.feed(line)
        except LineError as error:
            assert str(error).isprintable()
            continue
        for item in found:
            assert decode(agent.encode(msgspec.to_builtins(item)).rstrip()) == item
            _assert_clean(msgspec.to_builtins(item))


def _assert_clean(value: object) -> None:
    if isinstance(value, str):
        assert value.isprintable()
        assert len(value) <= 256
    elif isinstance(value, dict):
        for key, item in value.items():
            _assert_clean(key)
            _assert_clean(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _assert_clean(item)


@given(st.integers(0, 2**64 - 1))
def test_every_bit_of_a_throttle_mask_has_one_name(mask: int) -> None:
    names = agent.throttle_names(mask)
    assert len(names) == len(set(names)) == mask.bit_count()
