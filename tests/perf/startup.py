"""Starting: first paint against an empty Textual application, and ``--help`` against importing click.

``python -m tests.perf.startup --rounds 15``. First paint is the time from starting the process to the first character on
the screen of a pseudo-terminal; the two programs are started in turn, and medians are compared.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from tests.perf.harness import COMMAND, Fleet, machine, show, spread
from tests.perf.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Sequence


def first_paint_s(argv: Sequence[str]) -> float:
    """Start a program in a terminal; seconds until something is on the screen."""
    terminal = Terminal(argv)
    try:
        seen = terminal.wait(lambda screen: not screen.is_blank(), 30)
        if seen is None:
            raise RuntimeError(f"{argv[0]} painted nothing: {terminal.raw!r}")
        return seen - terminal.started_s
    finally:
        terminal.close()


def run_s(argv: Sequence[str]) -> float:
    """Run a program to its end."""
    start = time.perf_counter()
    subprocess.run(list(argv), check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--hosts", type=int, default=20, help="in the configuration of the dashboard")
    options = parser.parse_args()
    # an installed program has its bytecode, as Textual has here; a checkout gets its own in the first round
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    before = machine()
    paint: dict[str, list[float]] = {"quarterdeck": [], "empty_textual_app": []}
    with Fleet({"ok": options.hosts}) as fleet:
        config = str(fleet.config())
        for number in range(options.rounds + 1):
            times = {
                "quarterdeck": first_paint_s([str(COMMAND), "--config", config]),
                "empty_textual_app": first_paint_s([sys.executable, "-m", "tests.perf.idle", "empty"]),
            }
            for name, seconds in times.items():
                if number:  # the first round warms the page cache
                    paint[name].append(seconds)
    commands = {"help": [str(COMMAND), "--help"], "import_click": [sys.executable, "-c", "import click"]}
    ran: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(2 * options.rounds + 1):
        for name, argv in commands.items():
            seconds = run_s(argv)
            if number:
                ran[name].append(seconds)
    medians = {name: statistics.median(values) for name, values in (*paint.items(), *ran.items())}
    show(
        {
            "machine": before,
            "first_paint_s": {name: spread(values, 4) for name, values in paint.items()},
            "first_paint_ratio": round(medians["quarterdeck"] / medians["empty_textual_app"], 2),
            "help_s": {name: spread(values, 4) for name, values in ran.items()},
            "help_ratio": round(medians["help"] / medians["import_click"], 2),
        }
    )


if __name__ == "__main__":
    main()
