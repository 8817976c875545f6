"""Running ``ssh`` in the foreground: the screen steps aside, the fleet goes on being watched."""

from __future__ import annotations

import asyncio
import shlex
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from textual.app import App

#: how long the program may take to end when we are told to
GOODBYE_S: Final = 2.0


async def run_in_foreground(app: App[int], argv: list[str]) -> str | None:
    """Give the terminal to a program until it ends.

    The event loop goes on (heartbeats must, or the agents would end), so drawing is held back meanwhile, and Ctrl-C
    belongs to the program.

    Returns:
        What went wrong, in one line; None when the program ended well.
    """
    with app.batch_update(), app.suspend(), _ctrl_c_is_not_ours():
        sys.stdout.write(f"$ {shlex.join(argv)}\n")
        sys.stdout.flush()
        try:
            program = await asyncio.create_subprocess_exec(*argv)
        except OSError as error:
            return f"{argv[0]}: {error.strerror or error}"
        try:
            code = await program.wait()
        except asyncio.CancelledError:
            await _end(program)
            raise
    return None if code == 0 else f"{argv[0]} ended with status {code}"


async def _end(program: asyncio.subprocess.Process) -> None:
    program.terminate()
    try:
        async with asyncio.timeout(GOODBYE_S):
            await program.wait()
    except TimeoutError:
        program.kill()
        await program.wait()


@contextmanager
def _ctrl_c_is_not_ours() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
