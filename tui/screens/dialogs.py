"""Small modal screens: a question of the connecting machinery, yes or no, pick one or several."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import App, ComposeResult

Answer = TypeVar("Answer")
#: how long a question may stand open before it is taken as declined
ANSWER_S = 300.0


class Dialog(ModalScreen[Answer]):
    """How all of them look."""

    DEFAULT_CSS = """
    Dialog {
        background: $background 40%;
        align: center middle;
        & .dialog {
            width: 72; max-width: 95%; height: auto; max-height: 90%;
            padding: 1 2; background: $panel; border: round $accent;
        }
        & .pick { width: 96; padding: 0 1; }
        & Static { width: 1fr; height: auto; }
        & .title { text-style: bold; color: $accent; margin-bottom: 1; }
        & .hint { color: $secondary; margin-top: 1; }
        & Input { margin-top: 1; background: $surface; border: none; height: 1; }
        & OptionList { background: $panel; border: none; max-height: 24; }
    }
    """


class Ask(Dialog[str | None]):
    """A passphrase or another answer; None when declined. Nothing of it is stored or logged."""

    BINDINGS = [Binding("escape", "decline", "decline", id="dialog_decline")]  # noqa: RUF012 - Textual's convention

    def __init__(self, prompt: str, *, host_id: str, secret: bool, waiting: int = 0) -> None:
        super().__init__()
        self._prompt = clean(prompt)
        self._host = clean(host_id)
        self._secret = secret
        self._waiting = waiting
        self._forsaken = False

    def compose(self) -> ComposeResult:
        """The question and the answer."""
        more = f" ({self._waiting} more questions wait)" if self._waiting else ""
        with Vertical(classes="dialog"):
            yield Static(Content(f"{self._host} asks{more}"), classes="title")
            yield Static(Content(self._prompt), classes="question")
            yield Input(password=self._secret, compact=True)
            yield Static(Content("enter answers, esc declines; it is not stored"), classes="hint")

    def on_mount(self) -> None:
        """Type at once."""
        self.query_one(Input).focus()

    def forsake(self) -> None:
        """Nobody waits for the answer any more: close, now or as soon as this screen is on top again."""
        self._forsaken = True
        if self.is_active:
            self.dismiss(None)

    def on_screen_resume(self) -> None:
        """On top again."""
        if self._forsaken:
            self.dismiss(None)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter."""
        event.stop()
        self.dismiss(event.value)

    def action_decline(self) -> None:
        """Escape."""
        self.dismiss(None)


class Confirm(Dialog[bool]):
    """Yes or no; only ``y`` is yes."""

    BINDINGS = [  # noqa: RUF012 - Textual's convention
        Binding("y", "answer(True)", "yes", id="dialog_yes"),
        Binding("n,escape,enter", "answer(False)", "no", id="dialog_no"),
    ]

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        """The question."""
        with Vertical(classes="dialog"):
            yield Static(Content(self._question), classes="question")
            yield Static(Content("y yes, n no"), classes="hint")

    def action_answer(self, yes: bool) -> None:  # noqa: FBT001 - from the binding
        """Answer."""
        self.dismiss(yes)


class TypedYes(Dialog[bool]):
    """A question that a slip of the finger cannot answer: only the word ``yes`` is yes."""

    BINDINGS = [Binding("escape", "decline", "no", id="dialog_decline")]  # noqa: RUF012 - Textual's convention

    def __init__(self, title: str, question: str) -> None:
        super().__init__()
        self._title = title
        self._question = question

    def compose(self) -> ComposeResult:
        """The question and the answer."""
        with Vertical(classes="dialog"):
            yield Static(Content(self._title), classes="title")
            yield Static(Content(self._question), classes="question")
            yield Input(compact=True)
            yield Static(Content("yes and enter goes on, esc does not"), classes="hint")

    def on_mount(self) -> None:
        """Type at once."""
        self.query_one(Input).focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter."""
        event.stop()
        self.dismiss(event.value.strip().casefold() == "yes")

    def action_decline(self) -> None:
        """Escape."""
        self.dismiss(False)


class PickMany(Dialog[tuple[str, ...] | None]):
    """Pick any number; None when left.

    Args:
        title: what is picked.
        choices: key and text of each.
        chosen: the keys that are chosen now.
    """

    BINDINGS = [  # noqa: RUF012 - Textual's convention
        Binding("escape,q", "leave", "leave", id="dialog_leave"),
        Binding("j", "step(1)", "down", id="dialog_down"),
        Binding("k", "step(-1)", "up", id="dialog_up"),
        Binding("space", "choose", "choose", id="dialog_toggle", priority=True),
        Binding("a", "choose_all", "all or none", id="dialog_all"),
    ]

    def __init__(self, title: str, choices: Sequence[tuple[str, str]], chosen: Sequence[str]) -> None:
        super().__init__()
        self._title = title
        self._choices = choices
        self._chosen = set(chosen)

    def compose(self) -> ComposeResult:
        """The list."""
        with Vertical(classes="dialog pick"):
            yield Static(Content(self._title), classes="title")
            yield OptionList(*(Option(self._shown(at), id=f"{at}") for at in range(len(self._choices))), compact=True)
            yield Static(Content("space chooses, a all or none, enter takes them, esc leaves"), classes="hint")

    def _shown(self, at: int) -> Content:
        key, text = self._choices[at]
        return Content(f"[{'x' if key in self._chosen else ' '}] {text}")

    @property
    def _options(self) -> OptionList:
        return self.query_one(OptionList)

    def on_mount(self) -> None:
        """Start at the first that is chosen."""
        first = next((at for at, (key, _) in enumerate(self._choices) if key in self._chosen), 0)
        self._options.highlighted = first
        self._options.focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter takes what is chosen; a click chooses."""
        event.stop()
        self.dismiss(tuple(key for key, _ in self._choices if key in self._chosen))

    def action_choose(self) -> None:
        """Choose the one under the cursor, or no longer."""
        at = self._options.highlighted
        if at is not None:
            self._chosen ^= {self._choices[at][0]}
            self._options.replace_option_prompt_at_index(at, self._shown(at))

    def action_choose_all(self) -> None:
        """All, or none where all are chosen."""
        every = {key for key, _ in self._choices}
        self._chosen = set() if every <= self._chosen else every
        for at in range(len(self._choices)):
            self._options.replace_option_prompt_at_index(at, self._shown(at))

    def action_leave(self) -> None:
        """Escape."""
        self.dismiss(None)

    def action_step(self, step: int) -> None:
        """As k9s."""
        self._options.action_cursor_down() if step > 0 else self._options.action_cursor_up()


class Pick(Dialog[str | None]):
    """Pick one of a few; None when left.

    Args:
        title: what is picked.
        choices: key and text of each.
        current: the key that is chosen now.
    """

    BINDINGS = [  # noqa: RUF012 - Textual's convention
        Binding("escape,q,s", "leave", "leave", id="dialog_leave"),
        Binding("j", "down", "down", id="dialog_down"),
        Binding("k", "up", "up", id="dialog_up"),
    ]

    def __init__(self, title: str, choices: Sequence[tuple[str, str]], current: str) -> None:
        super().__init__()
        self._title = title
        self._choices = choices
        self._current = current

    def compose(self) -> ComposeResult:
        """The list."""
        with Vertical(classes="dialog pick"):
            yield Static(Content(self._title), classes="title")
            yield OptionList(*(Option(Content(text), id=key) for key, text in self._choices), compact=True)

    def on_mount(self) -> None:
        """Start at the current one."""
        options = self.query_one(OptionList)
        keys = [key for key, _ in self._choices]
        options.highlighted = keys.index(self._current) if self._current in keys else 0
        options.focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter or click."""
        event.stop()
        self.dismiss(event.option.id)

    def action_leave(self) -> None:
        """Escape."""
        self.dismiss(None)

    def action_down(self) -> None:
        """As k9s."""
        self.query_one(OptionList).action_cursor_down()

    def action_up(self) -> None:
        """As k9s."""
        self.query_one(OptionList).action_cursor_up()


class DialogAsker:
    """Asks the person at the screen, one question at a time; an unanswered one is declined after ``ANSWER_S``."""

    def __init__(self, app: App[int], answer_s: float = ANSWER_S) -> None:
        self._app = app
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._answer_s = answer_s

    async def ask(self, prompt: str, *, host_id: str, secret: bool) -> str | None:
        """Ask; None when declined, unanswered, or the application ends."""
        self._waiting += 1
        try:
            async with self._turn:
                return await self._ask(Ask(prompt, host_id=host_id, secret=secret, waiting=self._waiting - 1))
        finally:
            self._waiting -= 1

    async def _ask(self, dialog: Ask) -> str | None:
        answer: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()

        def done(value: str | None) -> None:
            if not answer.done():
                answer.set_result(value)

        await self._app.push_screen(dialog, done)
        try:
            async with asyncio.timeout(self._answer_s):
                return await answer
        except TimeoutError:
            return None
        finally:
            if not answer.done() or answer.cancelled():
                dialog.forsake()
