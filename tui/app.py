"""The dashboard application: what a person can do on every screen. What it lives on is in ``base_app``.

What is not needed for the first paint is imported later.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar, cast

from probes.model import LinkState, Severity
from probes.text import clean
from tui import keys, themes
from tui.bench_app import BenchApp
from tui.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from textual.app import App
    from textual.command import Provider

    from probes.config import Settings
    from tui.backend import Backend
    from tui.screens.inquiry import InquiryScreen


def _commands_provider() -> type[Provider]:
    from tui.commands import QuarterdeckProvider  # noqa: PLC0415 - after first paint

    return QuarterdeckProvider


class QuarterdeckApp(BenchApp):
    """The dashboard on a fleet; see ``BaseApp`` for its arguments."""

    CSS_PATH = "theme.tcss"
    TITLE = "quarterdeck"
    BINDINGS = keys.bindings("app")
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {_commands_provider}

    # --- screens ---

    @guarded
    def action_matrix(self) -> None:
        """Open the hosts x services matrix."""
        self.open_matrix()

    @guarded
    def action_help(self) -> None:
        """Open the help screen."""
        self.open_help()

    def open_matrix(self) -> None:
        """Open the hosts x services matrix."""
        from tui.screens.matrix import MatrixScreen  # noqa: PLC0415 - after first paint

        if not isinstance(self.screen, MatrixScreen):
            self.push_screen(MatrixScreen())

    def open_help(self) -> None:
        """Open the help screen."""
        from tui.screens.help import HelpScreen  # noqa: PLC0415 - after first paint

        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen())

    @guarded
    def open_host(self, host_id: str) -> None:
        """Open the Host screen."""
        from tui.screens.host import HostScreen  # noqa: PLC0415 - after first paint

        self.push_screen(HostScreen(host_id))

    @guarded
    def open_triage(self, host_ids: Sequence[str]) -> None:
        """Find out why these hosts are not reached."""
        from tui.screens.triage import TriageScreen  # noqa: PLC0415 - after first paint

        self._open_inquiry(TriageScreen, host_ids)

    @guarded
    def open_audit(self, host_ids: Sequence[str]) -> None:
        """Look at what these hosts expose."""
        from tui.screens.audit import AuditScreen  # noqa: PLC0415 - after first paint

        self._open_inquiry(AuditScreen, host_ids)

    def _open_inquiry(self, kind: Callable[[Sequence[str]], InquiryScreen], host_ids: Sequence[str]) -> None:
        from tui.screens.inquiry import InquiryScreen  # noqa: PLC0415 - after first paint

        if not host_ids:
            self.say("no host is selected", bad=True)
        elif isinstance(self.screen, InquiryScreen):
            self.switch_screen(kind(host_ids))  # never one investigation hidden under another
        else:
            self.push_screen(kind(host_ids))

    def record_soon(self, path: str) -> None:
        """Write the diagnosis or audit on the screen as JSON and Markdown."""
        from tui.screens.inquiry import InquiryScreen  # noqa: PLC0415 - after first paint

        if isinstance(self.screen, InquiryScreen):
            self.screen.record_soon(path)
        else:
            self.say("there is no diagnosis or audit on the screen: t opens one, A the other", bad=True)

    @guarded
    def action_command_line(self) -> None:
        """Open the command line."""
        self._open_command_line()

    async def action_command_palette(self) -> None:  # type: ignore[override]
        """Open the palette; its signs are spelt in ASCII where need be."""
        from textual.command import CommandPalette, SearchIcon  # noqa: PLC0415 - after first paint

        if CommandPalette.is_open(cast("App[object]", self)):
            return
        await self.push_screen(CommandPalette(placeholder="a command or a host", id="--command-palette"))
        if self.ascii:
            self.screen.query_one(SearchIcon).icon = "/"

    def _open_command_line(self, value: str = "", mistake: str = "") -> None:
        from tui.screens.command_line import CommandLine  # noqa: PLC0415 - after first paint

        self.push_screen(CommandLine(value, mistake))

    def run_command(self, line: str) -> None:
        """Run a command; a mistake brings the line back with what is wrong."""
        from tui import commands  # noqa: PLC0415 - after first paint

        try:
            commands.run(self, line)
        except ValueError as error:
            self._open_command_line(line, clean(str(error)))
        except Exception as error:  # noqa: BLE001 - shown, logged and counted by trouble()
            self.trouble(f"command {line}", error)

    @guarded
    def action_events(self) -> None:
        """The event log is part of the fleet screen: go there."""
        while len(self.screen_stack) > 1:
            self.pop_screen()
        self.fleet_screen.action_events()

    # --- looks ---

    @guarded
    def action_clock(self) -> None:
        """UTC or local time."""
        self.switch_clock()

    def switch_clock(self) -> None:
        """UTC or local time."""
        self.utc = not self.utc
        self.screen.refresh(recompose=False, layout=True)
        for widget in self.screen.walk_children():
            widget.refresh()

    @guarded
    def action_next_theme(self) -> None:
        """The next theme."""
        at = themes.NAMES.index(self.theme) if self.theme in themes.NAMES else -1
        self.theme = themes.NAMES[(at + 1) % len(themes.NAMES)]

    # --- hosts ---

    def pause_hosts(self, host_ids: Sequence[str]) -> None:
        """Pause these hosts, or resume them when all are paused."""
        backend = self._need_backend()
        if backend is None or not host_ids:
            return
        paused = [h for h in host_ids if self.fleet.hosts[h].link.state is LinkState.PAUSED]
        resume = len(paused) == len(host_ids)
        for host_id in host_ids:
            (backend.resume if resume else backend.pause)(host_id)
        self.say(f"{'resumed' if resume else 'paused'} {_names(host_ids)}")

    def reconnect_hosts(self, host_ids: Sequence[str]) -> None:
        """Connect these hosts anew."""
        backend = self._need_backend()
        if backend is None or not host_ids:
            return
        for host_id in host_ids:
            backend.reconnect(host_id)
        self.say(f"reconnecting {_names(host_ids)}")

    def _need_backend(self) -> Backend | None:
        if self.backend is None:
            self.say("nothing is being watched (the backend does not run; ':restart' starts it)", bad=True)
        return self.backend

    def yank(self, host_id: str, what: str) -> None:
        """Copy address, error or ssh command by OSC 52."""
        record = self.fleet.hosts[host_id]
        if what == "command":
            backend = self._need_backend()
            if backend is None:
                return
            import shlex  # noqa: PLC0415 - after first paint

            text = shlex.join(backend.ssh_argv(host_id))
        elif what == "error":
            row = self.board.rows.get(host_id)
            link = record.link
            why = "; ".join(row.reasons) if row is not None else ""
            text = f"{why} ({link.next_step})" if why and link.next_step else why
        else:
            text = record.host.address
        text = clean(text, 4000)
        if not text:
            self.say(f"{host_id} has no {what} to copy")
            return
        self.copy_text(text)

    def copy_text(self, text: str) -> None:
        """Copy a text by OSC 52, and say so."""
        self.copy_to_clipboard(text)
        self.say(f"copied (if the terminal allows it): {text}")

    async def shell(self, host_id: str) -> None:
        """Run ssh to a host in the foreground."""
        backend = self._need_backend()
        if backend is None:
            return
        if self.is_headless or self._driver is None or not self._driver.can_suspend:
            self.say("this terminal cannot be handed to ssh", bad=True)
            return
        from tui.shell import run_in_foreground  # noqa: PLC0415 - after first paint

        argv = backend.ssh_argv(host_id)
        self._suspended = True
        try:
            problem = await run_in_foreground(self, argv)
        finally:
            self._suspended = False
        if problem:
            self.say(problem, bad=True)
            self.fleet.event(host_id, Severity.WARNING, "shell", problem)

    def shell_soon(self, host_id: str | None) -> None:
        """The same as a task of its own: keys, signals and timers must not wait for it."""
        if host_id is not None and not self._suspended:
            self.chore(self.shell(host_id), "shell")

    # --- configuration and export ---

    @guarded
    def action_reload(self) -> None:
        """Read the configuration anew."""
        self.reload_soon()

    def reload_soon(self) -> None:
        """Read the configuration anew, in a thread; mistakes are shown and nothing changes."""
        if self._reload_settings is None:
            self.say("there is no configuration file to reload", bad=True)
            return
        self.chore(self._reload(self._reload_settings), "reload")

    async def _reload(self, read: Callable[[], Settings]) -> None:
        from probes.errors import ConfigError  # noqa: PLC0415 - after first paint

        try:
            settings = await in_thread(read)
        except ConfigError as error:
            for line in error.mistakes:
                self.fleet.event(None, Severity.WARNING, "config", clean(line, 500))
            self.say("the configuration has mistakes, nothing was changed:\n" + "\n".join(error.mistakes[:8]), bad=True)
            return
        except OSError as error:
            self.say(f"the configuration cannot be read: {error}", bad=True)
            return
        self.settings = self.board.settings = settings
        if self.backend is not None:
            self.backend.apply(settings)
        else:
            self.fleet.set_hosts(settings.hosts)
        self._take_look()
        self.say(f"configuration reloaded: {len(settings.hosts)} hosts")

    def export_soon(self, path: str) -> None:
        """Write what is known now as JSON."""
        self.chore(self._export(path), "export")

    async def _export(self, path: str) -> None:
        from tui import export_file  # noqa: PLC0415 - after first paint

        document = await export_file.take_snapshot(self.fleet)
        try:
            written = await in_thread(lambda: export_file.write(document, path))
        except OSError as error:
            self.say(f"not written: {error}", bad=True)
        else:
            self.say(f"written: {written}")


async def in_thread(work: Callable[[], Any]) -> Any:
    """Run a blocking call in a thread of its own, not in the pool that others share."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - after first paint

    pool = ThreadPoolExecutor(1, "quarterdeck-chore")
    try:
        return await asyncio.get_running_loop().run_in_executor(pool, work)
    finally:
        pool.shutdown(wait=False)


def _names(host_ids: Sequence[str]) -> str:
    return clean(host_ids[0]) if len(host_ids) == 1 else f"{len(host_ids)} hosts"
