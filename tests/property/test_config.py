"""Whatever a file says, loading it ends in settings or in clear lines; what is shown can be loaded again."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.config.build import load, settings_from
from probes.config.commands import check, show
from probes.config.settings import AwsOptions, Intervals, Settings, Ssh, Thresholds
from probes.errors import ConfigError
from probes.inventory.targets import parse_target
from probes.model import Host, Service, ServiceKind
from probes.text import clean

FILE = Path("/etc/quarterdeck.toml")
KEYS = [
    *("schema", "hosts", "services", "thresholds", "intervals", "ssh", "theme", "keys", "triage", "aws", "bench"),
    *Host.__struct_fields__,
    *Service.__struct_fields__,
    *Thresholds.__struct_fields__,
    *Intervals.__struct_fields__,
    *Ssh.__struct_fields__,
    *AwsOptions.__struct_fields__,
    *("instance_id", "region"),
    *("expect", "status", "json", "utc", "ascii", "name"),
]
scalars = st.one_of(
    st.none(),  # not TOML, but no reason to crash
    st.booleans(),
    st.integers(),
    st.sampled_from([1, 22, 70000, 0, -1, 2**63, 10**400, -(10**4000)]),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        ["a", "b", "http", "tcp", "none", "[::1]:22", "u@h:1", "-x", "a,b", "\x1b[2J", "200-299", "é", "\u202e"]
    ),
    st.dates(),
    st.datetimes(),
)
names = st.one_of(st.sampled_from(KEYS), st.text(max_size=8))
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(names, inner, max_size=5)),
    max_leaves=25,
)


def _field(name: str) -> st.SearchStrategy:
    return st.one_of(anything, st.sampled_from(["a", "b", 80, True, ["a"], {"status": 200}])) if name else anything


hosts = st.dictionaries(
    st.sampled_from([*Host.__struct_fields__, "x"]),
    anything.flatmap(lambda v: st.one_of(st.just(v), _field("v"))),
    max_size=6,
)
services = st.dictionaries(
    st.sampled_from(["name", "port", "kind", "path", "tls", "tls_verify", "expect"]), _field("v"), max_size=6
)
likely = st.fixed_dictionaries(
    {"schema": st.just(1)},
    optional={
        "hosts": st.lists(hosts, max_size=3),
        "services": st.lists(services, max_size=3),
        "thresholds": st.dictionaries(st.sampled_from(Thresholds.__struct_fields__), scalars, max_size=4),
        "intervals": st.dictionaries(st.sampled_from(Intervals.__struct_fields__), scalars, max_size=4),
        "ssh": st.dictionaries(st.sampled_from(Ssh.__struct_fields__), anything, max_size=4),
        "theme": st.dictionaries(st.sampled_from(["name", "utc", "ascii"]), scalars, max_size=3),
        "keys": st.dictionaries(names, scalars, max_size=4),
        "triage": st.one_of(anything, st.fixed_dictionaries({"anchors": anything})),
        "aws": st.one_of(anything, st.dictionaries(st.sampled_from(AwsOptions.__struct_fields__), scalars, max_size=4)),
        "bench": anything,
    },
)


def check_lines(lines: list[str], file: Path) -> None:
    assert lines
    for line in lines:
        assert line.startswith(f"{file}: ")
        assert clean(line, 2000) == line, "one line, bounded, and nothing a terminal would act on"


@given(st.one_of(st.dictionaries(names, anything, max_size=6), likely))
def test_settings_or_clear_lines(table):
    before = copy.deepcopy(table)
    result, lines = None, []
    try:
        result = settings_from(table, FILE)
    except ConfigError as error:
        lines = error.mistakes
    if result is None:
        check_lines(lines, FILE)
    else:
        assert isinstance(result, Settings)
        assert result.hosts
    assert repr(table) == repr(before), "the input is left alone"


@given(st.binary(max_size=200).map(lambda raw: b"schema = 1\n" + raw))
@settings(max_examples=100)
def test_any_file(raw):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.toml"
        path.write_bytes(raw)
        lines = check(path)
        if lines:
            check_lines(lines, path)
        else:
            assert load(path).hosts


words = st.from_regex(r"[A-Za-z0-9_.][A-Za-z0-9_.-]{0,12}", fullmatch=True)
# half of the characters are those TOML must escape
texts = st.text(
    st.one_of(st.sampled_from("\"'\\#=[]{} é€𝄞"), st.characters(codec="utf-8", exclude_categories=["C"])), max_size=15
).filter(lambda text: clean(text) == text)
http_services = st.builds(
    Service,
    name=words,
    port=st.integers(1, 65535),
    kind=st.sampled_from([ServiceKind.HTTP, ServiceKind.OPENAI]),
    path=st.from_regex(r"/[!-~]{0,20}", fullmatch=True),
    tls=st.just(True),
    tls_verify=st.booleans(),
    expect_status=st.sets(st.integers(100, 599), min_size=1, max_size=5).map(lambda found: tuple(sorted(found))),
    expect_json=st.dictionaries(
        words.filter(lambda word: all(word.split("."))),
        st.lists(st.one_of(st.booleans(), st.integers(-(2**60), 2**60), texts), min_size=1, max_size=3).map(tuple),
        max_size=3,
    ),
)
tcp_services = st.builds(
    Service, name=words, port=st.integers(1, 65535), kind=st.sampled_from(["tcp", "ssh"]).map(ServiceKind)
)
configured = st.builds(
    Host,
    id=words.map(lambda word: f"h.{word}"),
    address=words,
    port=st.none() | st.integers(1, 65535),
    user=st.none() | words,
    identity_files=st.lists(texts.map(lambda text: f"/{text}"), max_size=2).map(tuple),
    known_hosts=st.lists(texts.map(lambda text: f"~/{text}"), max_size=2).map(tuple),
    proxy_jump=st.none() | words.map(lambda word: f"jump@j-{word}:22"),
    groups=st.lists(words.map(lambda word: f"g-{word}"), max_size=3).map(tuple),
    labels=st.dictionaries(words, texts, max_size=3),
    services=st.lists(st.one_of(http_services, tcp_services), max_size=3, unique_by=lambda service: service.name).map(
        tuple
    ),
)


@given(
    hosts=st.lists(configured, min_size=1, max_size=4, unique_by=lambda host: host.id),
    shared=st.booleans(),
    theme=st.sampled_from(["light", "colour-blind"]),
    ascii_only=st.none() | st.booleans(),
    keys=st.dictionaries(
        st.sampled_from(["open", "filter"]), st.sampled_from(["f5", 'quotation_mark,"', "\\"]), max_size=1
    ),
)
def test_what_is_shown_can_be_loaded(hosts, shared, theme, ascii_only, keys):
    built = Settings(
        hosts=tuple(hosts), ssh=Ssh(accept_new=shared), theme=theme, ascii=ascii_only, keys=keys, utc=shared
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.toml"
        path.write_text(show(built), encoding="utf-8")
        assert load(path) == msgspec.structs.replace(built, source=str(path))


@given(st.one_of(st.text(max_size=30), st.text(alphabet="ab@:[]1.-%/ ", max_size=12)))
def test_targets_are_taken_apart_or_refused(text):
    target, refusal = None, ""
    try:
        target = parse_target(text)
    except ValueError as error:
        refusal = str(error)
    if target is None:
        assert refusal
        assert clean(refusal) == refusal
        return
    assert not target.address.startswith("-"), "never an option of ssh"
    assert not (target.user or "").startswith("-")
    assert clean(target.address) == target.address
    assert target.port is None or 1 <= target.port <= 65535
    address = f"[{target.address}]" if ":" in target.address else target.address
    again = (f"{target.user}@" if target.user else "") + address + (f":{target.port}" if target.port else "")
    assert parse_target(again) == target
