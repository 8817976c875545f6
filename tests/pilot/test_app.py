"""The application around the screens: life and death of the backend, errors of our own, commands, dialogs, looks."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import threading

import pytest
from msgspec.structs import replace
from rich.style import Style
from textual.widgets import Input

from probes.errors import ConfigError
from probes.fleet import new_link
from probes.model import LinkState
from tests.support.fleets import FakeBackend, fleet_of, host, mixed_fleet, settings_of
from tests.support.screens import NOW_S, WALL_S, app_of, screen_text, screen_widths, until, until_text
from tui import base_app, commands, keys, themes
from tui.app import QuarterdeckApp
from tui.painter import Painter
from tui.screens.dialogs import Confirm, DialogAsker
from tui.screens.matrix import MatrixScreen


def with_backend(fleet, backend, **over):
    async def factory():
        return backend

    return app_of(fleet, backend_factory=factory, **over)


# --- the backend ---


async def test_the_backend_is_started_and_ended_with_the_application():
    backend = FakeBackend()
    app = with_backend(fleet_of(2, at_boot_s=NOW_S), backend)
    async with app.run_test() as pilot:
        await asyncio.wait_for(backend.started.wait(), 5)
        assert app.backend is backend
        await pilot.press("q")
    assert backend.cancelled
    assert app.return_code == 0


async def test_ctrl_c_quits():
    backend = FakeBackend()
    app = with_backend(fleet_of(2, at_boot_s=NOW_S), backend)
    async with app.run_test() as pilot:
        await asyncio.wait_for(backend.started.wait(), 5)
        await pilot.press("ctrl+c")
        await until(pilot, lambda: not app.is_running, "it ends")
    assert backend.cancelled


async def test_ctrl_c_quits_from_a_prompt_too():
    app = app_of(fleet_of(2, at_boot_s=NOW_S))
    async with app.run_test() as pilot:
        await pilot.press("slash", "a", "ctrl+c")
        await until(pilot, lambda: not app.is_running, "it ends")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
async def test_a_signal_quits_cleanly(name):
    import signal

    backend = FakeBackend()
    app = with_backend(fleet_of(2, at_boot_s=NOW_S), backend)
    async with app.run_test() as pilot:
        await asyncio.wait_for(backend.started.wait(), 5)
        os.kill(os.getpid(), getattr(signal, name))
        await until(pilot, lambda: not app.is_running, "it ends")
    assert backend.cancelled
    assert app.return_code == 0


async def test_a_crash_of_the_backend_is_shown_and_can_be_restarted(caplog):
    backend = FakeBackend()
    backend.fail = RuntimeError("boom [/b]")
    app = with_backend(fleet_of(2, at_boot_s=NOW_S), backend)
    async with app.run_test(size=(160, 30), notifications=True) as pilot:
        text = await until_text(pilot, "boom [/b]")
        assert "nothing is watched any more" in text
        assert "boom" in caplog.text
        assert app.backend is None
        await pilot.press("e")
        await until_text(pilot, "error in backend")
        backend.fail = None
        await pilot.press("colon", *"restart", "enter")
        await until(pilot, lambda: app.backend is backend, "it runs again")
        await pilot.press("ctrl+x")
        await until(pilot, lambda: not app.fleet_screen.query_one("#banner").display, "the banner is gone")


async def test_a_factory_that_fails_and_a_backend_that_just_ends_are_shown_too():
    async def broken():
        raise ImportError("no asyncssh")

    app = app_of(fleet_of(1, at_boot_s=NOW_S), backend_factory=broken)
    async with app.run_test(size=(160, 30), notifications=True) as pilot:
        await until_text(pilot, "no asyncssh")

    class Ends(FakeBackend):
        async def run(self):
            return

    app = with_backend(fleet_of(1, at_boot_s=NOW_S), Ends())
    async with app.run_test(size=(160, 30), notifications=True) as pilot:
        await until_text(pilot, "it ended")


async def test_a_backend_that_does_not_end_is_left_after_a_while(monkeypatch, caplog):
    monkeypatch.setattr(base_app, "GOODBYE_S", 0.05)
    release = asyncio.Event()

    class Stubborn(FakeBackend):
        async def run(self):
            self.started.set()
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    self.cancelled = True

    backend = Stubborn()
    app = with_backend(fleet_of(1, at_boot_s=NOW_S), backend)
    async with app.run_test() as pilot:
        await asyncio.wait_for(backend.started.wait(), 5)
        await pilot.press("q")
    assert backend.cancelled
    assert "did not end within" in caplog.text
    release.set()
    await app._backend_task


# --- errors of our own ---


async def test_an_error_in_the_timer_is_shown_once_and_nothing_ends(monkeypatch):
    fleet = fleet_of(3, at_boot_s=NOW_S)
    app = app_of(fleet)
    async with app.run_test(size=(160, 30), notifications=True) as pilot:
        await until_text(pilot, "gpu-001")
        real = app.board.take

        def broken(*_args):
            raise RuntimeError("tick [/b]")

        monkeypatch.setattr(app.board, "take", broken)
        await until_text(pilot, "tick [/b]")
        await until(pilot, lambda: app._troubles[next(iter(app._troubles))] >= 3, "it came again")
        assert sum("tick" in event.text for event in fleet.events) == 1, "the log is not flooded"
        monkeypatch.setattr(app.board, "take", real)
        fleet.set_link("gpu-001", new_link(LinkState.UNREACHABLE, cause="after that"))
        await until_text(pilot, "after that")
        assert "times" in app.banner


async def test_an_error_in_drawing_a_row_is_shown_in_its_place(monkeypatch):
    fleet = fleet_of(3, at_boot_s=NOW_S)
    app = app_of(fleet)
    real = Painter.row

    def broken(self, row, *args, **kwargs):
        if row.host_id == "gpu-001":
            raise ValueError("row [/b]")
        return real(self, row, *args, **kwargs)

    monkeypatch.setattr(Painter, "row", broken)
    async with app.run_test(size=(160, 30), notifications=True) as pilot:
        text = await until_text(pilot, "this line could not be drawn")
        assert "gpu-000" in text
        assert "gpu-002" in text
        await until_text(pilot, "row [/b]")
        assert screen_widths(app) == {160}


async def test_an_error_in_an_action_or_a_handler_is_shown(monkeypatch):
    app = app_of(fleet_of(3, at_boot_s=NOW_S))
    async with app.run_test(size=(160, 30), notifications=True) as pilot:
        monkeypatch.setattr(app.board, "next_grouping", lambda: 1 / 0)
        await pilot.press("g")
        await until_text(pilot, "ZeroDivisionError")
        assert app.is_running


async def test_an_error_in_the_header_is_shown_and_the_rows_go_on(monkeypatch):
    from tui.widgets.header import HeaderBar

    monkeypatch.setattr(HeaderBar, "_gpus", lambda *_: {}["no"])
    app = app_of(fleet_of(3, at_boot_s=NOW_S))
    async with app.run_test(size=(160, 30), notifications=True) as pilot:
        await until_text(pilot, "KeyError")
        await until_text(pilot, "gpu-002")


# --- commands ---


async def command(pilot, text):
    await pilot.press("colon")
    await until(pilot, lambda: type(pilot.app.screen).__name__ == "CommandLine", "the command line")
    pilot.app.screen.query_one(Input).value = text
    await pilot.press("enter")
    await pilot.pause()


async def test_commands_do_what_they_say(tmp_path):
    app = app_of(mixed_fleet(NOW_S))
    async with app.run_test(size=(160, 40)) as pilot:
        await command(pilot, "sort temp")
        assert app.board.sort == "temp"
        await command(pilot, "filter host~=fine")
        assert len(app.board.lines) == 2
        await command(pilot, "filter")
        assert len(app.board.lines) == 19
        await command(pilot, "group state")
        assert app.board.grouping == "state"
        await command(pilot, "faults")
        assert app.board.faults_only
        await command(pilot, "theme mono")
        assert app.theme == "mono"
        await command(pilot, "clock")
        assert app.utc is False
        await command(pilot, "events")
        assert app.fleet_screen.query("EventLog")
        await command(pilot, "host hot")
        await until(pilot, lambda: type(app.screen).__name__ == "HostScreen", "the host screen")
        await command(pilot, "mat")
        await until(pilot, lambda: type(app.screen).__name__ == "MatrixScreen", "a unique beginning is enough")
        await command(pilot, "q")
        await until(pilot, lambda: not app.is_running, "it ends")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("nosuch", "no command 'nosuch': sort,"), ("sort", "sort needs COLUMN"), ("sort [/b]", "no column '[/b]'"),
        ("re", "no command 're': reconnect, record, reload, restart"), ("quit now", "takes no argument"), ("theme pink", "themes are dark"),
        ("filter tmep>1", "did you mean temp"), ("host nobody", "no host 'nobody'"), ("group by", "no grouping"),
        ("yank what", "yank what?"), ("pause nobody", "no host 'nobody'"),
    ],
)  # fmt: skip
async def test_a_wrong_command_comes_back_with_what_is_wrong(line, says):
    app = app_of(mixed_fleet(NOW_S))
    async with app.run_test(size=(200, 30)) as pilot:
        await command(pilot, line)
        text = await until_text(pilot, says)
        assert f":{line}" in text
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.fleet_screen, "gone")
        assert not app.banner


async def test_the_command_line_completes():
    app = app_of(mixed_fleet(NOW_S))
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        await pilot.press("colon", *"the", "tab", *" mo")
        await until_text(pilot, "theme mono")
        await pilot.press("tab", "enter")
        await until(pilot, lambda: app.theme == "mono", "completed")
    assert commands.completions(app, "so") == ["sort"]
    assert commands.completions(app, "host fine") == ["host fine-1", "host fine-2"]
    assert commands.completions(app, "nosuch x") == []
    assert len(commands.completions(app_of(fleet_of(100)), "host ")) == commands.MAX_HITS


async def test_the_palette_caps_its_hits_and_parses_nothing():
    fleet = fleet_of(200, at_boot_s=NOW_S)
    fleet.set_hosts([*(record.host for record in fleet.hosts.values()), host("[/kworker]x")])
    app = app_of(fleet)
    async with app.run_test(size=(120, 50)) as pilot:
        await pilot.press("ctrl+p", *"kworker")
        await until_text(pilot, "host [/kworker]x")
        await pilot.press("enter", "enter")
        await until(pilot, lambda: type(app.screen).__name__ == "HostScreen", "the host screen")
        provider = commands.QuarterdeckProvider(app.screen)
        hits = [hit async for hit in provider.search("gpu")]
        assert len(hits) <= commands.MAX_HITS + len(commands.COMMANDS)
        assert sum("host" in hit.match_display.plain for hit in hits if hasattr(hit.match_display, "plain")) <= 21


async def test_export_writes_a_new_private_file_and_never_over_another(tmp_path):
    app = app_of(mixed_fleet(NOW_S))
    path = tmp_path / "out.json"
    async with app.run_test(size=(160, 30), notifications=True) as pilot:
        await command(pilot, f"export {path}")
        await until_text(pilot, "written:")
        document = json.loads(path.read_text())
        assert document["schema_version"] == 1
        assert [each["id"] for each in document["hosts"]] == list(app.fleet.hosts)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        await command(pilot, f"export {path}")
        await until_text(pilot, "not written:")


# --- yank, shell, asker ---


async def test_yank_goes_to_the_clipboard(monkeypatch):
    copied = []
    monkeypatch.setattr(QuarterdeckApp, "copy_to_clipboard", lambda _self, text: copied.append(text))
    app = with_backend(mixed_fleet(NOW_S), FakeBackend())
    async with app.run_test(size=(160, 30), notifications=True) as pilot:
        await until(pilot, lambda: app.backend is not None, "running")
        await pilot.press("down", "y", "Y", "ctrl+y")
        assert copied[0] == "key-changed.example"
        assert "is not the known key" in copied[1]
        assert "verify the host before you trust it" in copied[1]
        assert copied[2] == "true key-changed"
        await pilot.press("end", "Y")
        await until_text(pilot, "has no error to copy")
        assert len(copied) == 3


async def test_shell_without_a_terminal_says_so():
    app = with_backend(fleet_of(1, at_boot_s=NOW_S), FakeBackend())
    async with app.run_test(size=(160, 30), notifications=True) as pilot:
        await until(pilot, lambda: app.backend is not None, "running")
        await pilot.press("S")
        await until_text(pilot, "this terminal cannot be handed to ssh")


async def test_questions_come_one_at_a_time_and_parse_nothing():
    app = app_of(fleet_of(2, at_boot_s=NOW_S))
    async with app.run_test(size=(100, 30)) as pilot:
        assert isinstance(app.asker, DialogAsker)
        first = asyncio.create_task(app.asker.ask("Passphrase [/b] for key:", host_id="[red]a", secret=True))
        second = asyncio.create_task(app.asker.ask("Code:", host_id="b", secret=False))
        text = await until_text(pilot, "Passphrase [/b] for key:")
        assert "[red]a asks" in text
        assert "Code:" not in text
        await pilot.press(*"geheim")
        await pilot.pause()
        assert "geheim" not in screen_text(app)
        await pilot.press("enter")
        assert await asyncio.wait_for(first, 5) == "geheim"
        await until_text(pilot, "Code:")
        await pilot.press(*"42")
        await until_text(pilot, "42")
        await pilot.press("escape")
        assert await asyncio.wait_for(second, 5) is None
        await until(pilot, lambda: app.screen is app.fleet_screen, "closed")


async def test_a_question_nobody_waits_for_any_more_goes_away():
    app = app_of(fleet_of(2, at_boot_s=NOW_S))
    async with app.run_test(size=(100, 30)) as pilot:
        asked = asyncio.create_task(app.asker.ask("Code:", host_id="b", secret=False))
        await until_text(pilot, "Code:")
        asked.cancel()
        await until(pilot, lambda: app.screen is app.fleet_screen, "closed")
        with pytest.raises(asyncio.CancelledError):
            await asked
        again = asyncio.create_task(app.asker.ask("Again:", host_id="b", secret=False))
        await until_text(pilot, "Again:")
        await pilot.press("x", "enter")
        assert await asyncio.wait_for(again, 5) == "x"


async def test_an_unanswered_question_is_declined():
    app = app_of(fleet_of(2, at_boot_s=NOW_S))
    async with app.run_test(size=(100, 30)) as pilot:
        assert await DialogAsker(app, 0.05).ask("Code:", host_id="b", secret=False) is None
        await until(pilot, lambda: app.screen is app.fleet_screen, "closed")


async def test_the_fleet_goes_on_behind_a_dialog():
    fleet = fleet_of(3, at_boot_s=NOW_S)
    app = app_of(fleet)
    async with app.run_test(size=(160, 40)) as pilot:
        asked = asyncio.create_task(app.asker.ask("Code:", host_id="b", secret=False))
        await until_text(pilot, "Code:")
        fleet.set_link("gpu-002", new_link(LinkState.UNREACHABLE, cause="meanwhile"))
        await until_text(pilot, "meanwhile")
        await pilot.press("escape")
        assert await asked is None


async def test_only_y_is_yes():
    app = app_of(fleet_of(2, at_boot_s=NOW_S))
    async with app.run_test(size=(100, 30)) as pilot:
        answers = []
        for key in ("enter", "y", "escape", "n"):
            await app.push_screen(Confirm("Really [/b]?"), answers.append)
            await until_text(pilot, "Really [/b]?")
            await pilot.press(key)
        assert answers == [False, True, False, False]


# --- reload ---


async def test_reload_takes_the_new_configuration_and_keeps_the_old_one_on_mistakes():
    fleet = fleet_of(3, at_boot_s=NOW_S)
    backend = FakeBackend()
    answers = [
        ConfigError(
            ["config.toml: hosts[0].port: 'x' is not a port; expected 1 to 65535 [/b]", "config.toml: theme: no"]
        ),
        replace(settings_of(fleet), hosts=(host("new"),), theme="light", utc=False, keys={"group": "f5"}, ascii=True),
    ]
    threads = []

    def reload_settings():
        threads.append(threading.current_thread())
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def factory():
        return backend

    app = QuarterdeckApp(
        settings_of(fleet), fleet, factory, reload_settings=reload_settings, boot_s=lambda: NOW_S, wall_s=lambda: WALL_S
    )
    before = app.settings
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        await until(pilot, lambda: app.backend is not None, "running")
        await pilot.press("R")
        await until_text(pilot, "the configuration has mistakes")
        assert any("expected 1 to 65535 [/b]" in event.text for event in fleet.events), "the whole line is in the log"
        assert app.settings is before
        await pilot.press("R")
        await until(pilot, lambda: app.settings is not before, "taken")
        assert backend.calls == [("apply", app.settings)]
        assert (app.theme, app.ascii, app.board.settings) == ("light", True, app.settings)
        await pilot.press("f5")
        assert app.board.grouping == "group"
        assert all(thread is not threading.main_thread() for thread in threads)


async def test_reload_without_a_file_says_so():
    app = app_of(fleet_of(1, at_boot_s=NOW_S))
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        await pilot.press("R")
        await until_text(pilot, "there is no configuration file")


# --- looks ---


async def test_keys_are_remapped_by_id():
    fleet = fleet_of(3, at_boot_s=NOW_S)
    app = QuarterdeckApp(settings_of(fleet, keys={"faults": "f9,ctrl+t", "down": "n"}), fleet, boot_s=lambda: NOW_S)
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        await pilot.press("f")
        assert not app.board.faults_only
        await pilot.press("f9")
        assert app.board.faults_only
        await pilot.press("ctrl+t")
        assert not app.board.faults_only
        await pilot.press("n")
        assert app.fleet_screen.selected == "gpu-001"
        assert "f9 faults" in screen_text(app)


async def test_a_bound_key_is_taken_from_the_action_that_had_it_on_the_screen_in_the_footer_and_in_the_help():
    fleet = fleet_of(3, at_boot_s=NOW_S)
    mine = {"matrix": "p", "mark": "q"}
    app = QuarterdeckApp(settings_of(fleet, keys=mine), fleet, boot_s=lambda: NOW_S)
    async with app.run_test(size=(180, 60)) as pilot:
        await pilot.press("q")
        assert app.board.marked == {"gpu-000"}
        footer = screen_text(app).splitlines()[-1]
        assert "q mark" in footer
        assert "ctrl+c quit" in footer.replace("^c", "ctrl+c")
        assert "p matrix" in footer
        assert "pause" not in footer
        await pilot.press("p")
        await until(pilot, lambda: isinstance(app.screen, MatrixScreen), "the matrix")
        await pilot.press("question_mark")
        await until_text(pilot, "(no key)")
    assert keys.effective(mine) == {"matrix": "p", "mark": "q", "pause": "", "quit": "ctrl+c"}
    assert keys.effective({"faults": "?,f5", "help": "F"}) == {"faults": "question_mark,f5", "help": "F"}
    assert keys.effective({}) == {}


def test_every_key_has_one_id_a_description_and_an_action():
    ids = [(key.section, key.id) for key in keys.KEYS]
    assert len(ids) == len(set(ids))
    assert all(key.description and key.action and key.keys for key in keys.KEYS)


@pytest.mark.parametrize("theme", themes.NAMES)
async def test_every_theme_draws(theme):
    fleet = mixed_fleet(NOW_S)
    app = QuarterdeckApp(settings_of(fleet, theme=theme), fleet, boot_s=lambda: NOW_S)
    async with app.run_test(size=(160, 40)) as pilot:
        await until_text(pilot, "KEY CHANGED")
        await pilot.press("e", "colon", "escape", "s", "escape", "slash")
        assert app.theme == theme
        assert not app.banner
        if theme == "mono":
            assert colours_of(app) == set()


def colours_of(app):
    found = set()
    for strip in app.screen._compositor.render_strips():
        for segment in strip:
            style = segment.style or Style.null()
            for colour in (style.color, style.bgcolor):
                if colour is not None and not colour.is_default:
                    found.add(colour.name)
    return found


async def test_no_color_is_honoured(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    fleet = mixed_fleet(NOW_S)
    app = QuarterdeckApp(settings_of(fleet, theme="dark"), fleet, boot_s=lambda: NOW_S)
    async with app.run_test(size=(160, 40)) as pilot:
        await until_text(pilot, "KEY CHANGED")
        assert app.theme == "mono"
        await pilot.press("e", "slash", *"zz<", "escape")
        assert colours_of(app) == set()


async def test_ascii_everywhere():
    fleet = fleet_of(60, at_boot_s=NOW_S)
    app = app_of(fleet, ascii_only=True)
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        for pressed in (
            ["e"],
            ["g"],
            ["slash", "a"],
            ["escape"],
            ["s"],
            ["escape"],
            ["p"],
            ["colon", "s"],
            ["escape"],
            ["ctrl+p"],
        ):
            await pilot.press(*pressed)
            await pilot.pause(0.05)
            text = screen_text(app)
            assert text.isascii(), [line for line in text.split("\n") if not line.isascii()]


async def test_the_clock_is_switched():
    app = app_of(fleet_of(1, at_boot_s=NOW_S))
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        await until_text(pilot, "22:13:20Z")
        await pilot.press("c")
        await until(pilot, lambda: "22:13:20Z" not in screen_text(app), "local time")


async def test_a_screen_on_top_gets_the_changes_and_the_fleet_rests():
    fleet = fleet_of(3, at_boot_s=NOW_S)
    app = app_of(fleet)
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        await pilot.press("m")
        await until(pilot, lambda: type(app.screen).__name__ == "MatrixScreen", "the matrix")
        calls = []
        app.fleet_screen.hosts_changed = calls.append
        fleet.set_link("gpu-001", new_link(LinkState.UNREACHABLE))
        await until(pilot, lambda: app.board.rows["gpu-001"].rank == 3, "the board knows")
        assert calls == []
