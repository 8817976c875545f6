"""The configuration: what each mistake says, and what a right file means."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from benchmarks.options import BenchOptions, Steps, options_of
from probes.config import (
    AwsOptions,
    Intervals,
    Settings,
    Ssh,
    Thresholds,
    TriageOptions,
    default_settings,
    find,
    load,
    user_path,
)
from probes.config.commands import check, init, reference_text, show
from probes.config.hosts import HTTP_KINDS
from probes.errors import ConfigError
from probes.model import Host, Service, ServiceKind
from probes.reach.kinds import expectation

ROOT = Path(__file__).parents[2]
HOST = '[[hosts]]\nid = "a"\n'


@pytest.fixture
def written(tmp_path):
    def write(text: str | bytes, schema: str = "schema = 1\n") -> Path:
        path = tmp_path / "config.toml"
        path.write_bytes(text if isinstance(text, bytes) else (schema + text).encode())
        return path

    return write


# --- mistakes ---

MISTAKES = [
    (HOST + "port = 70000", "hosts[0].port: 70000 is not a port; expected 1 to 65535"),
    (HOST + "port = 0", "hosts[0].port: 0 is not a port; expected 1 to 65535"),
    (HOST + "port = 22.0", "hosts[0].port: 22.0 is not a whole number; expected a whole number, 1 to 65535"),
    (HOST + "port = true", "hosts[0].port: true is not a whole number; expected a whole number, 1 to 65535"),
    (HOST + 'port = "22"', 'hosts[0].port: "22" is not a whole number; expected a whole number, 1 to 65535'),
    (HOST + 'address = ""', "hosts[0].address: is empty; expected a host name, an ssh_config alias or an IP address"),
    (HOST + 'address = "u@h"', 'hosts[0].address: "u@h" carries a user; expected the address alone, and the user as user = ...'),
    (HOST + 'address = "h:22"', 'hosts[0].address: "h:22" carries a port; expected the address alone, and the port as port = ...'),
    (HOST + 'address = "-oProxyCommand=x"', 'hosts[0].address: "-oProxyCommand=x" is not an address; expected a host name, an ssh_config alias or an IP address'),
    (HOST + 'adress = "h"', 'hosts[0].adress: is unknown (did you mean "address"?); expected id, address, port, user, groups, labels, services, identity_files, known_hosts, proxy_jump or local'),
    (HOST + 'user = "a b"', 'hosts[0].user: "a b" does not fit; expected a user name'),
    (HOST + "labels = { rack = 4 }", "hosts[0].labels.rack: 4 is not text; expected text in quotes"),
    (HOST + 'groups = "gpu"', 'hosts[0].groups: "gpu" is not a list; expected a list of group names'),
    (HOST + 'groups = ["a"]', 'hosts[0].groups[0]: "a" is also the id of a host; expected a name of its own'),
    (HOST + 'proxy_jump = "u@a:22"', 'hosts[0].proxy_jump: "a" would be reached through itself; expected another host'),
    (HOST + 'proxy_jump = "b:0"', 'hosts[0].proxy_jump: "b:0": "0" is not a port (1 to 65535); expected [user@]host[:port], several separated by commas'),
    (HOST + "local = true\nport = 22", "hosts[0].port: means nothing to a local host; expected no SSH options beside local = true"),
    ('[[hosts]]\naddress = "h"', "hosts[0].id: is missing; expected a name without spaces or commas, not starting with -"),
    ('[[hosts]]\nid = "a b"', 'hosts[0].id: "a b" does not fit; expected a name without spaces or commas, not starting with -'),
    ('[[hosts]]\nid = "a\\u001b[2J"', 'hosts[0].id: "a[2J" has control or invisible characters; expected a name without spaces or commas, not starting with -'),
    ('[[hosts]]\nid = "a\\u202eb"', 'hosts[0].id: "ab" has control or invisible characters; expected a name without spaces or commas, not starting with -'),
    (HOST + HOST, 'hosts[1].id: "a" is already the id of hosts[0]; expected each id once'),
    (HOST + 'services = ["web"]', 'hosts[0].services[0]: no service is called "web"; expected the name of a [[services]] table'),
    (HOST + 'services = ["wbe"]\n[[services]]\nname = "web"\nport = 80', 'hosts[0].services[0]: no service is called "wbe" (did you mean "web"?); expected one of web'),
    (HOST + 'services = ["web", "web"]\n[[services]]\nname = "web"\nport = 80', 'hosts[0].services[1]: service "web" is already hosts[0].services[0]; expected each service once a host'),
    (HOST + "services = [5]", "hosts[0].services[0]: 5 is not a service; expected the name of a service or a table with name and port"),
    ('[[services]]\nname = "web"', "services[0].port: is missing, and kind tcp has no usual one; expected 1 to 65535"),
    ('[[services]]\nname = "web"\nport = 80\nkind = "htp"', 'services[0].kind: "htp" is unknown (did you mean "http"?); expected "tcp", "http", "ssh", "voicevox", "openvoice" or "openai"'),
    ('[[services]]\nname = "web"\nport = 80\npath = "/x"', "services[0].path: means nothing to kind tcp; expected kind http, voicevox, openvoice or openai"),
    ('[[services]]\nname = "web"\nport = 80\nkind = "http"\npath = "x"', 'services[0].path: "x" does not fit; expected a path that starts with /'),
    ('[[services]]\nname = "web"\nport = 80\nkind = "http"\ntls_verify = false', "services[0].tls_verify: means nothing without TLS; expected tls = true beside it"),
    ('[[services]]\nname = "web"\nport = 80\nkind = "http"\npin = "' + "a" * 64 + '"', "services[0].pin: means nothing without TLS; expected tls = true beside it"),
    ('[[services]]\nname = "ssh"\nkind = "ssh"\npin = "' + "a" * 64 + '"', "services[0].pin: means nothing to kind ssh; expected kind http, voicevox, openvoice or openai"),
    ('[[services]]\nname = "web"\nport = 80\nkind = "http"\ntls = true\npin = "SHA1:ab"', 'services[0].pin: "SHA1:ab" is no fingerprint; expected the SHA-256 fingerprint of a certificate: 64 hexadecimal digits, with or without SHA256: and colons'),
    ('[[services]]\nname = "web"\nport = 80\nkind = "http"\nexpect = { status = 20 }', 'services[0].expect.status: 20 is not an HTTP status; expected 100 to 599, a range such as "200-299", or a list of these'),
    ('[[services]]\nname = "web"\nport = 80\nkind = "http"\nexpect = { status = ["299-200"] }', 'services[0].expect.status[0]: "299-200" is not an HTTP status; expected 100 to 599, a range such as "200-299", or a list of these'),
    ('[[services]]\nname = "web"\nport = 80\nkind = "http"\nexpect = { json = { status = [] } }', "services[0].expect.json.status: a list cannot be compared with; expected text, a number, true, false, or a list of these"),
    ('[[services]]\nname = "w"\nport = 80\n[[services]]\nname = "w"\nport = 81', 'services[1].name: "w" is already the name of services[0]; expected each name once'),
    ("[thresholds]\ntemperature_warn_c = 95", "thresholds.temperature_warn_c: 95 is not below temperature_crit_c = 90; expected a value below it, since a warning comes before it is critical"),
    ("[thresholds]\ndisk_warn_pct = 120", "thresholds.disk_warn_pct: 120 is not a percentage; expected above 0, at most 100"),
    ("[thresholds]\ndisk_warn_pct = nan", "thresholds.disk_warn_pct: nan is not a percentage; expected above 0, at most 100"),
    ("[thresholds]\ntemp_warn_c = 80", 'thresholds.temp_warn_c: is unknown (did you mean "temperature_warn_c"?); expected temperature_warn_c, temperature_crit_c, gpu_memory_warn_pct, memory_warn_pct, memory_crit_pct, disk_warn_pct or disk_crit_pct'),
    ("[intervals]\nsample_s = -1", "intervals.sample_s: -1 is not a usable number of seconds; expected 0.1 to 3600"),
    ("[intervals]\nsample_s = inf", "intervals.sample_s: inf is not a usable number of seconds; expected 0.1 to 3600"),
    ("[intervals]\nsample_s = 10", "intervals.sample_s: 10 is not below stale_s = 5; expected a value below it, since samples become stale, and then the link is given up"),
    ("[intervals]\nsilence_s = 4", "intervals.silence_s: 4 is not above stale_s = 5; expected a value above it, since samples become stale, and then the link is given up"),
    ("[intervals]\nheartbeat_s = 15", "intervals.heartbeat_s: 15 is not a usable number of seconds; expected 0.5 to 7"),
    ("[ssh]\nstrict_host_key_checking = false", "ssh.strict_host_key_checking: is unknown; expected connect_concurrency, config_files, known_hosts, accept_new, identity_files or agent"),
    ('[ssh]\naccept_new = "no"', 'ssh.accept_new: "no" is neither true nor false; expected true or false'),
    ('[theme]\nname = "drak"', 'theme.name: "drak" is unknown (did you mean "dark"?); expected "dark", "light", "mono" or "colour-blind"'),
    ("[theme]\nascii = 1", 'theme.ascii: 1 is unknown; expected "auto", true or false'),
    ('[keys]\nopen = "f5,f5"', 'keys.open: "f5" is twice here; expected each key once'),
    ('[keys]\nopen = ""', 'keys.open: is empty; expected a key such as "f5" or "ctrl+r"; several separated by commas'),
    ("[bench]\nwhen = 1979-05-27", "bench.when: 1979-05-27 has no place here; expected text, a finite number, true, false, a list or a table"),
    ('[aws]\nregoin = "x"', 'aws.regoin: is unknown (did you mean "region"?); expected enabled, profile, region, my_address, ask_my_address or allow_ssm'),
    ('[aws]\nregion = "Tokyo"', 'aws.region: "Tokyo" does not fit; expected the name of a region, such as ap-northeast-1'),
    ('[aws]\nmy_address = "1.2.3.4/32"', 'aws.my_address: "1.2.3.4/32" is not an IP address; expected an IP address'),
    ('[triage]\nanchors = ["1.2.3.4"]', 'triage.anchors[0]: "1.2.3.4" is no address with a port; expected host:port, an IPv6 address in brackets'),
    ('[triage]\nanchors = ["a:0", "[::1]:22"]', 'triage.anchors[0]: "a:0" is no address with a port; expected host:port, an IPv6 address in brackets'),
    ('[aws]\nallow_ssm = "yes"', 'aws.allow_ssm: "yes" is neither true nor false; expected true or false'),
    (HOST + 'labels = { instance_id = "i-12" }', 'hosts[0].labels.instance_id: "i-12" does not fit; expected an instance id, such as i-0123456789abcdef0'),
    (HOST + 'labels = { address = "1.2.3.4, gpu" }', 'hosts[0].labels.address: "gpu" is not an IP address; expected an IP address, several separated by commas'),
    (HOST + 'labels = { address = "" }', "hosts[0].labels.address: is empty; expected an IP address, several separated by commas"),
    ("hosts = 3", "hosts: 3 is not a list; expected a list of [[hosts]] tables"),
    ("hosts = [3]", "hosts[0]: 3 is not a table; expected a table with an id"),
    ("[host]", 'host: is unknown (did you mean "hosts"?); expected schema, hosts, services, thresholds, intervals, ssh, theme, keys, triage, aws or bench'),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line"), MISTAKES, ids=[line.split(":")[0] for _, line in MISTAKES])
def test_mistake_is_one_clear_line(written, text, line):
    path = written(text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert caught.value.mistakes == [f"{path}: {line}"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "schema: is missing; expected schema = 1"),
        ("schema = 2", "schema: 2 is unknown; expected 1"),
        ("schema = true", "schema: true is unknown; expected 1"),
        (
            "schema = 1\n[[hosts]\n",
            r"line 2, column 8: Expected ']]' at the end of an array declaration; expected TOML",
        ),
        ("schema = 1\nx = ", "line 2 (the end): Invalid value; expected TOML"),
        (b"schema = 1\nx = '\xff'", "line 2: is not UTF-8; expected a text file in UTF-8"),
        ("schema = 1\nx = " + "[" * 20000, "is nested too deeply; expected tables and lists a few levels deep"),
    ],
)
def test_whole_file_mistakes(written, text, line):
    path = written(text, schema="")
    assert check(path) == [f"{path}: {line}"]


def test_all_mistakes_are_shown_in_the_order_of_the_file(written):
    path = written('[[hosts]]\nid = "a"\nport = 0\nusr = "x"\n[intervals]\ntcp_s = 0\n[theme]\nutc = "no"\n')
    keys = [line.removeprefix(f"{path}: ").split(":")[0] for line in check(path)]
    assert keys == ["hosts[0].port", "hosts[0].usr", "intervals.tcp_s", "theme.utc"]


def test_a_wrong_service_is_not_also_an_unknown_one(written):
    lines = check(written(HOST + 'services = ["web"]\n[[services]]\nname = "web"\nport = 0\n'))
    assert [line.split(": ")[1] for line in lines] == ["services[0].port"]


def test_a_wrong_list_of_services_makes_no_name_unknown(written):
    lines = check(written("services = 3\n" + HOST + 'services = ["web"]\n'))
    assert [line.split(": ")[1] for line in lines] == ["services"]


def test_jumps_in_a_circle(written):
    text = '[[hosts]]\nid = "a"\nproxy_jump = "b"\n[[hosts]]\nid = "b"\nproxy_jump = "x,a"\n'
    lines = check(written(text))
    assert [line.split(": ", 1)[1] for line in lines] == [
        'hosts[0].proxy_jump: "a" would be reached through hosts that need it in turn; expected another host',
        'hosts[1].proxy_jump: "b" would be reached through hosts that need it in turn; expected another host',
    ]


def test_many_mistakes_are_bounded_and_counted(written):
    lines = check(written("".join(f"key{at} = 1\n" for at in range(1000))))
    assert len(lines) == 201
    assert lines[-1].endswith("and 800 more mistakes")


def test_a_key_that_no_terminal_sends_is_a_mistake(written):
    path = written('[keys]\nback = "esc"\nfaults = "f5,ctrl+zz"\nmark = "F5"\npage_up = "pgup"\npause = "Ctrl+R"\n')
    what = 'expected a character, or a name such as "f5", "ctrl+r" or "escape"'
    assert check(path) == [
        f'{path}: keys.back: "esc" is not a key (did you mean "escape"?); {what}',
        f'{path}: keys.faults: "ctrl+zz" is not a key; {what}',
        f'{path}: keys.mark: "F5" is not a key (did you mean "f5"?); {what}',
        f'{path}: keys.page_up: "pgup" is not a key (did you mean "pageup"?); {what}',
        f'{path}: keys.pause: "Ctrl+R" is not a key (did you mean "ctrl+r"?); {what}',
    ]


def test_every_key_that_is_used_has_a_name_that_is_accepted(written):
    from tui.keys import KEYS

    used = sorted({one for key in KEYS for one in key.keys.split(",")})
    more = ["?", "F", "+", "é", "漢", "ctrl+plus", "shift+f5", "alt+x", "ctrl+shift+left", "comma", "number_sign"]
    lines = "".join(f'a{at} = "{one}"\n' for at, one in enumerate([*used, *more]))
    assert check(written(f"[keys]\n{lines}")) == []


def test_actions_and_clashes_are_checked_when_the_actions_are_known(written):
    path = written('[keys]\nfiltr = "f7"\nopen = "f5"\nfilter = "f6, f5"\nscroll = "f5"\n')
    assert check(path) == []
    actions = {"filter": ["fleet"], "open": ["fleet", "matrix"], "scroll": ["host"]}
    assert check(path, actions) == [
        f'{path}: keys.filtr: no such action (did you mean "filter"?); expected a name from the help (?) or README.md',
        f'{path}: keys.filter: "f5" is already bound to open; expected each key once on a screen',
    ]


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda _path: None, "does not exist; expected a configuration file (quarterdeck config init writes one)"),
        (lambda path: path.mkdir(), "is a folder; expected a configuration file"),
        (
            lambda path: path.symlink_to(path),
            "cannot be read: Too many levels of symbolic links; expected a readable file",
        ),
    ],
)
def test_files_that_cannot_be_read(tmp_path, make, line):
    path = tmp_path / "config.toml"
    make(path)
    assert check(path) == [f"{path}: {line}"]


def test_a_folder_in_the_way_and_a_name_with_a_zero_byte(tmp_path):
    (tmp_path / "file").write_text("")
    assert check(tmp_path / "file" / "x") == [
        f"{tmp_path}/file/x: cannot be read: Not a directory; expected a readable file"
    ]
    (line,) = check(Path("a\0b"))
    assert line.startswith("ab: cannot be read: ")


def test_a_file_name_cannot_write_to_the_terminal(tmp_path):
    (line,) = check(tmp_path / "a\x1b[2Jb\nc")
    assert line.startswith(f"{tmp_path}/a[2Jb c: does not exist")


# --- what a right file means ---


def test_empty_configuration_watches_this_machine(written):
    path = written("")
    assert msgspec.structs.replace(load(path), source=None) == default_settings()
    assert load(path).source == str(path)
    assert default_settings().hosts == (Host(id="localhost", address="localhost", local=True),)


def test_everything_at_once(written, tmp_path):
    settings = load(
        written(
            """
[[hosts]]
id = "g1"
address = "[fe80::1%eth0]"
port = 2222
user = "ops"
groups = ["gpu", "tokyo"]
labels = { rack = "r 4", empty = "" }
services = ["web", { name = "vv", kind = "voicevox" }, { name = "shell", kind = "ssh" }]
identity_files = ["~/.ssh/k", "keys/k", "/k"]
known_hosts = ["kh"]
proxy_jump = "ops@bastion:22, [::1]:23"

[[hosts]]
id = "alias"

[[services]]
name = "web"
port = 8080
kind = "http"
path = "/api/health?x=1"
tls = true
tls_verify = false
pin = "AA:0B:0B:0B:0B:0B:0B:0B:0B:0B:0B:0B:0B:0B:0B:0B:0B:0B:0B:0B:0B:0B:0B:0B:0B:0B:0B:0B:0B:0B:0B:0B"
expect = { status = ["200-202", 204], json = { status = ["healthy", "ok"], gpu = { "n.of" = 2 }, up = true } }

[thresholds]
temperature_warn_c = 70
[intervals]
sample_s = 0.5
[ssh]
accept_new = true
known_hosts = ["kh2"]
[theme]
name = "mono"
utc = true
ascii = true
[keys]
open = "f5,f6"
[triage]
anchors = ["one.example:443", "[2001:db8::1]:22"]
[aws]
region = "ap-northeast-1"
[bench.voice]
n = 3
"""
        )
    )
    assert settings.hosts == (
        Host(
            id="g1",
            address="fe80::1%eth0",
            port=2222,
            user="ops",
            identity_files=("~/.ssh/k", f"{tmp_path}/keys/k", "/k"),
            known_hosts=(f"{tmp_path}/kh",),
            proxy_jump="ops@bastion:22, [::1]:23",
            groups=("gpu", "tokyo"),
            labels={"rack": "r 4", "empty": ""},
            services=(
                Service(
                    name="web",
                    port=8080,
                    kind=ServiceKind.HTTP,
                    path="/api/health?x=1",
                    tls=True,
                    tls_verify=False,
                    pin=f"SHA256:aa{'0b' * 31}",
                    expect_status=(200, 201, 202, 204),
                    expect_json={"status": ("healthy", "ok"), "gpu.n.of": (2,), "up": (True,)},
                ),
                Service("vv", 50021, ServiceKind.VOICEVOX, "/version", expect_status=(200,)),
                Service("shell", 22, ServiceKind.SSH),
            ),
        ),
        Host(id="alias", address="alias"),
    )
    assert settings.thresholds == Thresholds(temperature_warn_c=70.0)
    assert settings.intervals == Intervals(sample_s=0.5)
    assert settings.ssh == Ssh(accept_new=True, known_hosts=(f"{tmp_path}/kh2",))
    assert (settings.theme, settings.utc, settings.ascii) == ("mono", True, True)
    assert settings.keys == {"open": "f5,f6"}
    assert settings.triage.anchors == ("one.example:443", "[2001:db8::1]:22")
    assert settings.aws == AwsOptions(region="ap-northeast-1")
    assert settings.bench == {"voice": {"n": 3}}


@pytest.mark.parametrize(
    ("kind", "port", "path", "status", "fields"),
    [
        ("tcp", 1, None, (), {}),
        ("ssh", 22, None, (), {}),
        ("http", 1, "/", tuple(range(200, 400)), {}),
        ("voicevox", 50021, "/version", (200,), {}),
        ("openvoice", 8001, "/health", (200,), {"status": ("healthy",)}),
        ("openai", 1, "/v1/models", (200,), {}),
    ],
)
def test_kinds_bring_what_healthy_means(written, kind, port, path, status, fields):  # noqa: PLR0917
    given = "" if port != 1 else "port = 1\n"
    settings = load(written(HOST + f'services = ["x"]\n[[services]]\nname = "x"\nkind = "{kind}"\n{given}'))
    assert settings.hosts[0].services == (
        Service("x", port, ServiceKind(kind), path, expect_status=status, expect_json=fields),
    )


PATHS = [
    *((kind.value, None) for kind in ServiceKind),
    *((kind.value, path) for kind in HTTP_KINDS for path in ("/api/version?x", "/voice/health", "/other")),
]


@pytest.mark.parametrize(("kind", "path"), sorted(PATHS, key=str))
def test_health_is_what_the_prober_makes_of_the_kind_alone(written, kind, path):
    """The defaults stand in the configuration (to be shown) and in the prober (to be used): they must not differ."""
    more = f'path = "{path}"\n' if path else ""
    service = f'[[services]]\nname = "x"\nport = 1\nkind = "{kind}"\n{more}'
    (loaded,) = load(written(HOST + f'services = ["x"]\n{service}')).hosts[0].services
    assert expectation(loaded) == expectation(Service("x", 1, ServiceKind(kind), path))


def test_byte_order_mark_is_no_mistake(written):
    assert check(written(b"\xef\xbb\xbfschema = 1\n")) == []


# --- the shipped reference ---


def test_the_reference_is_the_defaults():
    settings = load(ROOT / "config.toml")
    assert msgspec.structs.replace(settings, source=None, bench={}) == default_settings()
    assert options_of(settings.bench) == options_of(default_settings().bench) == BenchOptions()


def test_the_reference_says_every_default_itself():
    """Equal by leaving it out would not document it."""
    import tomllib

    table = tomllib.loads(reference_text())
    for name, struct in (
        ("thresholds", Thresholds()),
        ("intervals", Intervals()),
        ("ssh", Ssh()),
        ("triage", TriageOptions()),
        ("aws", AwsOptions()),
    ):
        written = {key: tuple(value) if isinstance(value, list) else value for key, value in table[name].items()}
        assert written == msgspec.structs.asdict(struct)
    assert table["theme"] == {"name": "dark", "utc": False, "ascii": "auto"}
    defaults = msgspec.json.decode(msgspec.json.encode(BenchOptions()))
    examples = {"ladders", "kpi", "projections"}
    assert table["bench"].keys() == defaults.keys() - examples
    for name in ("at_once", "baseline_s", "target_s", "api-latency", "llm"):
        assert table["bench"][name] == defaults[name]
    assert table["bench"]["synthesis"].keys() == defaults["synthesis"].keys() - {"templates"}
    assert table["bench"]["command"]["presets"]["akios"] == defaults["command"]["presets"]["akios"]


def uncommented(text: str) -> str:
    """The reference with its examples in force: comments that hold TOML, which start a table or follow such a line."""
    lines, example = [], False
    for line in text.splitlines():
        bare = line.removeprefix("# ")
        example = line.startswith("# ") and (
            re.fullmatch(r"\[\[\w+\]\]|\[bench\.\S+\]", bare) is not None
            or (example and re.match(r"\w+ = ", bare) is not None)
            or (lines[-1:] == ["[keys]"] and " = " in bare)
        )
        lines.append(bare if example else line)
    return "\n".join(lines) + "\n"


def test_the_examples_in_the_reference_work(tmp_path):
    from tui.keys import actions

    path = tmp_path / "config.toml"
    path.write_text(uncommented(reference_text()))
    settings = load(path, actions())
    assert [host.id for host in settings.hosts] == ["here", "tokyo-gpu-1", "lab-1"]
    tokyo, lab = settings.hosts[1], settings.hosts[2]
    assert {s.name: s.port for s in tokyo.services} == {
        "ssh": 22,
        "backend": 55433,
        "openvoice": 8001,
        "voicevox": 50021,
        "frontend": 55434,
    }
    assert tokyo.services[1].expect_json == {"status": ("healthy",)}
    assert lab.proxy_jump == "ops@bastion.example.org:22"
    assert lab.services[1] == Service("llm", 8000, ServiceKind.OPENAI, "/v1/models", expect_status=(200,))
    assert settings.keys == {"faults": "F", "pause": "p,f8"}
    bench = options_of(settings.bench)
    assert bench.ladders == {"synthesis": {"response_time": Steps(1.0, 2.0, 5.0, 10.0)}}
    assert bench.kpi == {"synthesis": {"rtf": 0.5}}
    assert bench.synthesis.templates["studio"].query == {"voice": "{style}"}
    assert bench.projections == {"t3.large": {"commands_per_s": 44.44, "startup": 0.025}}
    fields = {name for host in settings.hosts for name, value in msgspec.structs.asdict(host).items() if value}
    assert fields == set(Host.__struct_fields__) - {"simulated"}, "a host's option without an example"


def test_every_option_is_explained_in_the_reference():
    text = reference_text()
    for struct in (Thresholds, Intervals, Ssh, TriageOptions, AwsOptions):
        for name in struct.__struct_fields__:
            assert f"\n{name} = " in text
    for name in {*Host.__struct_fields__} - {"simulated"} | {"kind", "path", "tls", "tls_verify", "pin", "expect"}:
        assert re.search(rf"^#   (?:\w+, )*{name}(?:,|  )", text, re.MULTILINE), name


# --- show, init ---


def test_show_can_be_loaded_again(tmp_path):
    path, again = tmp_path / "config.toml", tmp_path / "again.toml"
    path.write_text(uncommented(reference_text()))
    settings = load(path)
    again.write_text(show(settings))
    assert load(again) == msgspec.structs.replace(settings, source=str(again))
    assert show(settings).startswith(f"# from {path}\n")
    assert show(default_settings()).startswith("# no file: the defaults\n")


def test_show_json_has_every_field(tmp_path):
    import json

    settings = load(ROOT / "config.toml")
    shown = json.loads(show(settings, "json"))
    assert msgspec.convert(shown, Settings) == settings
    assert shown["source"] == str(ROOT / "config.toml")


def test_init_writes_the_reference_for_its_owner_alone(tmp_path):
    path = init(tmp_path / "new" / "folder" / "config.toml")
    assert path.read_text() == reference_text() == (ROOT / "config.toml").read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["config.toml"]
    assert check(path) == []


def test_init_never_overwrites(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text("mine")
    with pytest.raises(ConfigError, match="exists already; expected a new file"):
        init(path)
    assert path.read_text() == "mine"
    assert [entry.name for entry in tmp_path.iterdir()] == ["config.toml"]


def test_init_leaves_a_dangling_link_alone(tmp_path):
    path = tmp_path / "config.toml"
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="exists already"):
        init(path)
    assert not (tmp_path / "elsewhere").exists()


def test_init_without_hard_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", refuse)
    path = init(tmp_path / "config.toml")
    assert path.read_text() == reference_text()
    with pytest.raises(ConfigError, match="exists already"):
        init(path)


def test_init_where_a_file_is_in_the_way(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"config.toml: .*; expected a (writable )?folder"):
        init(tmp_path / "file" / "config.toml")


# --- which file ---


def test_find_prefers_flag_then_environment_then_here_then_the_users(tmp_path):
    here, home = tmp_path / "here", tmp_path / "xdg"
    here.mkdir()
    (home / "quarterdeck").mkdir(parents=True)
    users = home / "quarterdeck" / "config.toml"
    environ = {"XDG_CONFIG_HOME": str(home)}
    assert find(None, environ, here) is None
    users.write_text("schema = 1\n")
    assert find(None, environ, here) == users == user_path(environ)
    (here / "config.toml").write_text("schema = 1\n")
    assert find(None, environ, here) == here / "config.toml"
    environ["QUARTERDECK_CONFIG"] = str(tmp_path / "named")
    assert find(None, environ, here) == tmp_path / "named"
    assert find(tmp_path / "flag", environ, here) == tmp_path / "flag"


@pytest.mark.parametrize(
    ("text", "ours"),
    [
        ("schema = 1\n", True),
        ("# ours\n\n  schema=1 # yes\r\n[[hosts]]\n", True),
        ("\ufeffschema = 1", True),
        ("schema = 1\n[[hosts]\nbroken", True),
        ("schema = 12\n", False),
        ("schema = 2\n", False),
        ("[tool]\nschema = 1\n", False),
        ("# schema = 1\n", False),
        ("", False),
    ],
)
def test_a_config_toml_of_something_else_is_not_ours(tmp_path, text, ours):
    (tmp_path / "config.toml").write_text(text, encoding="utf-8", newline="")
    found = find(None, {"XDG_CONFIG_HOME": str(tmp_path / "none")}, tmp_path)
    assert (found is not None) is ours


def test_the_users_folder_is_the_platforms(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert user_path({}) == tmp_path / ".config" / "quarterdeck" / "config.toml"
    assert user_path({"XDG_CONFIG_HOME": "relative"}) == user_path({})


def test_a_tilde_without_a_home_is_left_alone():
    assert find("~nosuchuserhere/x", {}, Path("/")) == Path("~nosuchuserhere/x")
