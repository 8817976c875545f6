"""Results on stdout: a card each where a person looks, a JSON array where a program does."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Any

from tui.cli_shared import print_out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.result import Result


def json_text(value: Any) -> str:
    """One line of JSON."""
    import msgspec  # noqa: PLC0415

    return msgspec.json.encode(value).decode() + "\n"


def print_results(results: Sequence[Result], *, json_: bool) -> bool:
    """Print results on stdout, on a terminal as cards unless ``json_``; false: nobody reads it."""
    if json_ or not sys.stdout.isatty():
        from benchmarks.export import documents  # noqa: PLC0415

        return print_out(json_text(documents(results)))
    from benchmarks.card import cards  # noqa: PLC0415

    return print_out(cards(results, shutil.get_terminal_size().columns))
