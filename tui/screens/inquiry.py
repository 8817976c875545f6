"""What the triage and the audit screen share: one investigation at a time, its task, its hosts, its record.

The task belongs to the screen: it is cancelled when the screen is left or asks again, and its errors are shown.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual.screen import Screen

from probes.text import clean
from tui.guard import guarded
from tui.inquiry import Inquiry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual import events
    from textual.containers import VerticalScroll

    from probes.evidence import Evidence
    from tui.app import QuarterdeckApp
    from tui.backend import Backend

#: below this nothing but a few words is shown
TINY = (40, 10)
NO_BACKEND = "nothing is being watched (the backend does not run; ':restart' starts it)"


class InquiryScreen(Screen[None]):
    """One investigation of some hosts.

    Args:
        host_ids: what is investigated, at least one host; shown is one at a time.
    """

    WHAT: ClassVar[str] = "investigation"
    #: whether the hosts are diagnosed and the diagnoses remembered
    JUDGES: ClassVar[bool] = True

    def __init__(self, host_ids: Sequence[str]) -> None:
        super().__init__()
        self._wanted = tuple(dict.fromkeys(host_ids))
        self.host_id = self._wanted[0]
        #: set when the screen is mounted and asks
        self.inquiry: Inquiry
        self._asked = False
        self._asking: asyncio.Task[None] | None = None
        self._draw_waits = False
        self._second = -1

    @property
    def deck(self) -> QuarterdeckApp:
        """The application with its own type."""
        return cast("QuarterdeckApp", self.app)

    @property
    def tiny(self) -> bool:
        """Whether the terminal is too small for more than a few words."""
        return self.size.width < TINY[0] or self.size.height < TINY[1]

    # --- the investigation ---

    @guarded
    def on_mount(self) -> None:
        """Ask at once."""
        self.ask()

    @guarded
    def on_unmount(self) -> None:
        """Nobody waits for the answers any more."""
        self._cancel()

    def ask(self) -> None:
        """Begin anew; what ran before is cancelled."""
        self._cancel()
        deck = self.deck
        services = {h: deck.fleet.hosts[h].host.services for h in self._wanted if h in deck.fleet.hosts}
        inquiry = self.inquiry = Inquiry(self._wanted, services, deck.boot_s(), deck.remembered)
        if deck.backend is None:
            inquiry.fail(NO_BACKEND, deck.boot_s())
        elif gone := [host_id for host_id in self._wanted if host_id not in services]:
            inquiry.fail(f"no longer configured: {', '.join(map(clean, gone))}", deck.boot_s())
        else:
            self._asking = deck.chore(self._investigate(inquiry, deck.backend), self.WHAT)
        self._asked = True
        self.draw_soon()

    def _cancel(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None

    async def _investigate(self, inquiry: Inquiry, backend: Backend) -> None:
        def arrived(host_id: str, evidence: Evidence) -> None:
            inquiry.take(host_id, evidence)
            self.draw_soon()

        try:
            evidence = await backend.investigate(inquiry.host_ids, arrived)
            await inquiry.finish(evidence, self.deck.boot_s(), judge=self.JUDGES)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            inquiry.fail(clean(f"{type(error).__name__}: {error}"), self.deck.boot_s())
            raise
        finally:
            self.draw_soon()
        diagnoses = [inquiry.diagnosis(host_id) for host_id in inquiry.host_ids if self.JUDGES]
        for diagnosis in diagnoses:
            if diagnosis is not None:
                self.deck.remembered.keep(diagnosis)

    # --- drawing ---

    def draw_soon(self) -> None:
        """Draw when the event loop comes to it; parts that arrive together are drawn together."""
        if self._asked and self.is_mounted and not self._draw_waits:
            self._draw_waits = True
            self.call_after_refresh(self._draw)

    @guarded
    def _draw(self) -> None:
        self._draw_waits = False
        if self.is_mounted and self.is_current:
            self.set_class(self.tiny, "tiny")
            self.draw()

    def draw(self) -> None:
        """Bring every part of the screen up to date."""
        raise NotImplementedError

    @guarded
    def hosts_changed(self, _dirty: set[str]) -> None:
        """The app's tick: the time that goes by while answers are awaited, and the clock."""
        second = int(self.deck.wall_s())
        if not self._asked:
            return
        if self.inquiry.running or second != self._second:
            self._second = second
            self.draw_soon()

    @guarded
    def on_screen_resume(self) -> None:
        """What arrived while another screen was on top."""
        self.draw_soon()

    @guarded
    def on_resize(self, event: events.Resize) -> None:
        """Lay out for the new size."""
        del event
        self.draw_soon()

    # --- what a person does ---

    @guarded
    def action_back(self) -> None:
        """Leave."""
        self.dismiss()

    @guarded
    def action_probe(self) -> None:
        """Ask everything again."""
        self.ask()

    @guarded
    def action_host_step(self, step: int) -> None:
        """The next host of this investigation, round and round."""
        at = self._wanted.index(self.host_id)
        self.host_id = self._wanted[(at + step) % len(self._wanted)]
        self.host_changed()
        self.draw_soon()

    def host_changed(self) -> None:
        """Another host is shown."""

    @property
    def scrolled(self) -> VerticalScroll:
        """What the scrolling keys move."""
        raise NotImplementedError

    @guarded
    def action_scroll_page(self, pages: int) -> None:
        """Scroll by pages."""
        body = self.scrolled
        body.scroll_relative(y=pages * max(body.size.height - 1, 1), animate=False)

    @guarded
    def action_scroll_edge(self, edge: int) -> None:
        """Scroll to the first or last line."""
        body = self.scrolled
        body.scroll_to(y=0 if edge < 0 else body.max_scroll_y, animate=False)

    def show_rows(self, rows: tuple[int, int] | None) -> None:
        """Scroll so that these rows can be seen, with a little of what stands above."""
        if rows is None:
            return
        body, (start, end) = self.scrolled, rows
        height = body.size.height
        if start - 3 < body.scroll_y:
            body.scroll_to(y=max(start - 3, 0), animate=False)
        elif end > body.scroll_y + height:
            body.scroll_to(y=end - height, animate=False)

    # --- the record ---

    @guarded
    def action_record(self) -> None:
        """Write the record into the state folder."""
        self.record_soon("")

    def record_soon(self, path: str) -> None:
        """Write what is known of the host on the screen; an empty path: into the state folder."""
        texts = self.record()
        if texts is None:
            why = "answers are still awaited" if self.inquiry.running else "there is no evidence of this host"
            self.deck.say(f"nothing to write: {why}", bad=True)
            return
        self.deck.chore(self._write(self.host_id, texts, path), "record")

    def record(self) -> dict[str, Any] | None:
        """The record by the ending of its file; None: there is nothing to write yet."""
        raise NotImplementedError

    async def _write(self, host_id: str, texts: dict[str, Any], path: str) -> None:
        from tui import export_file  # noqa: PLC0415 - when first used
        from tui.app import in_thread  # noqa: PLC0415 - app imports the screens

        stem = f"{self.WHAT}-{host_id}"
        at = self.deck.wall_s()
        try:
            written = await in_thread(lambda: export_file.write_record(texts, path, stem, at))
        except OSError as error:
            self.deck.say(f"not written: {error}", bad=True)
        else:
            self.deck.say("written:\n" + "\n".join(written))
