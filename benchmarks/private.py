"""Folders of the state folder that are for their owner alone."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def make_private(folder: Path) -> None:
    """Make a folder and the one it lies in, 0700 both: a mode given to ``mkdir`` is not that of parents it makes.

    Raises:
        OSError: it cannot be made.
    """
    with suppress(FileExistsError):
        folder.parent.mkdir(mode=0o700, parents=True)
    folder.mkdir(mode=0o700, exist_ok=True)
