"""Slow readers, dead file servers, formulas in names: the headless parts at their worst hour."""

from __future__ import annotations

import asyncio
import csv
import io
import os
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from probes import exposition, headless
from probes.config import Settings
from probes.config.find import carries_schema, find, user_path
from probes.errors import ConfigError, LinkError
from probes.fleet import MAX_EVENTS, Fleet
from probes.hosts.files import FileThreads
from probes.hosts.ssh_config import plan_for
from probes.judge.condition import Condition, Level
from probes.model import Host, PortState, ServiceState, Severity
from probes.outlet import Outlet

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_reader_that_pauses_stops_nobody_else_and_loses_no_byte() -> None:
    source, sink = os.pipe()
    data = b"x" * 1_000_000
    with Outlet(sink) as outlet:
        writing = asyncio.ensure_future(outlet.write(data))
        for _ in range(50):
            await asyncio.sleep(0)
        assert not writing.done()  # and we are here: the loop is free
        got = b""
        while len(got) < len(data):
            got += await asyncio.to_thread(os.read, source, 65536)
        await writing
        assert got == data
        os.set_blocking(sink, False)
        writing = asyncio.ensure_future(outlet.write(data))
        got = b""
        while len(got) < len(data):
            got += await asyncio.to_thread(os.read, source, 65536)
        await writing
        os.close(source)
        with pytest.raises(BrokenPipeError):
            await outlet.write(b"more")
    os.close(sink)


def test_a_reader_that_was_too_slow_is_told_how_many_events_it_missed() -> None:
    fleet = Fleet([Host(id="a", address="a")])
    for n in range(MAX_EVENTS + 500):
        fleet.event("a", Severity.INFO, "link", str(n))
    lines = headless._new_events(fleet, fleet.event_count)
    assert len(lines) == MAX_EVENTS + 1
    assert lines[0]["text"].startswith("500 events before these were lost")
    assert lines[1]["text"] == "500"
    assert lines[1]["time"] <= lines[-1]["time"]  # the event's own time, not that of printing


def test_a_service_that_could_not_be_probed_is_not_fine() -> None:
    record: Any = SimpleNamespace(
        services={"web": ServiceState("web", 80, PortState.NOT_PROBED, detail="no connection to the jump host")}
    )
    verdict = headless._with_unprobed(record, Condition(Level.FINE, ()))
    assert verdict.level is Level.UNKNOWN
    assert "web :80 not probed (no connection" in verdict.reasons[0]
    assert headless._with_unprobed(record, Condition(Level.DOWN, ("x",))).level is Level.DOWN


async def test_a_file_that_never_comes_holds_up_neither_the_others_nor_the_end() -> None:
    threads = FileThreads(2)
    loop, held = asyncio.get_running_loop(), threading.Event()
    hung = loop.run_in_executor(threads, held.wait)
    assert await loop.run_in_executor(threads, lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await loop.run_in_executor(threads, lambda: 1 / 0)
    threads.shutdown()  # returns though one hangs
    assert not hung.done()
    held.set()
    assert await hung


def test_a_name_that_a_spreadsheet_would_run_is_text() -> None:
    service = {"name": "=cmd()", "state": "open", "connect_ms": -1.5, "health": "ok", "detail": "@x", "age_s": 1.0}
    host = {"id": "-h", "link": {"state": "live", "cause": '+"1,2"\n'}, "sample": None, "services": [service]}
    rows = list(csv.reader(io.StringIO(exposition.csv_text({"hosts": [host]}))))
    assert all(len(row) == 7 for row in rows)
    texts = [cell for row in rows for cell in row]
    assert not [cell for cell in texts if cell[:1] in {"=", "+", "@"}]
    assert "-1.5" in texts
    assert "'=cmd()" in texts


def test_without_a_home_there_is_no_configuration_and_a_clear_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import platformdirs

    def homeless(*_: object, **__: object) -> None:
        raise RuntimeError("could not determine the home directory")

    monkeypatch.setattr(platformdirs, "user_config_path", homeless)
    assert find(None, {}, tmp_path) is None
    with pytest.raises(ConfigError, match="no home folder"):
        user_path({})
    os.mkfifo(tmp_path / "config.toml")
    assert not carries_schema(tmp_path / "config.toml")


def test_nobody_known_as_user_is_said_and_a_named_one_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 45678")

    monkeypatch.setattr("getpass.getuser", nobody)
    ssh = Settings(hosts=()).ssh
    with pytest.raises(LinkError, match="no user name"):
        plan_for(Host(id="a", address="192.0.2.1"), ssh)
    assert plan_for(Host(id="a", address="192.0.2.1", user="me"), ssh).user == "me"


@pytest.mark.parametrize(
    "text",
    ["Include {here}\nInclude {here}\n", "Host *\n Port many\n", "Match nonsense x\n", "\x00\xff\n", "Host\n"],
)
def test_an_ssh_config_that_makes_no_sense_is_one_clear_failure(tmp_path: Path, text: str) -> None:
    config = tmp_path / "ssh_config"
    config.write_text(text.format(here=config))
    ssh = Settings(hosts=()).ssh
    import msgspec

    ssh = msgspec.structs.replace(ssh, config_files=(str(config),))
    try:
        plan_for(Host(id="a", address="192.0.2.1", user="me"), ssh)
    except LinkError as error:
        assert "ssh_config" in str(error)
        assert "\n" not in str(error)


def test_tokens_and_none_in_ssh_config(tmp_path: Path) -> None:
    import msgspec

    config = tmp_path / "ssh_config"
    config.write_text(
        "Host short\n HostName %h.example.org\n ProxyCommand none\n IdentityAgent none\nHost jumped\n ProxyJump none\n"
    )
    ssh = msgspec.structs.replace(Settings(hosts=()).ssh, config_files=(str(config),))
    plan = plan_for(Host(id="a", address="short", user="me"), ssh)
    assert plan.address == "short.example.org"
    assert plan.proxy_command is None
    assert plan.identity_agent is None
    assert plan_for(Host(id="b", address="jumped", user="me"), ssh).proxy_jump is None
