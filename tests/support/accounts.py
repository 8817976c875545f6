"""Throw-away accounts whose login shell a test chooses; needs root."""

from __future__ import annotations

import os
import pwd
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

_made = 0

#: what a careless start-up file says
NOISE = "echo 'Welcome [bold]to[/bold] this host'; echo more noise >&2\n"


def shell_program(shell: str) -> Path:
    """The shell's path; the test is skipped without it."""
    program = Path("/usr/bin") / shell
    if not program.exists():
        if os.environ.get("QUARTERDECK_REQUIRE") == "all":
            pytest.fail(f"needs {shell}, and QUARTERDECK_REQUIRE=all makes that a failure")
        pytest.skip(f"needs {shell}")
    return program


def noisy_home(tmp_path: Path, noise: str = NOISE) -> Path:
    """A home whose start-up files talk, which another account may enter."""
    home = tmp_path / "home"
    home.mkdir()
    for parent in home.resolve().parents:
        if parent == Path("/"):
            break
        parent.chmod(parent.stat().st_mode | 0o055)
    for name in (".bashrc", ".zshenv", ".tcshrc", ".cshrc"):
        (home / name).write_text(noise)
    (home / ".config/fish").mkdir(parents=True)
    (home / ".config/fish/config.fish").write_text(noise)
    return home


@contextmanager
def account(shell: Path, home: Path) -> Iterator[str]:
    """An account with this login shell and home; deleted afterwards."""
    global _made  # noqa: PLW0603 - a name of its own for each
    _made += 1
    name = f"qdtest{os.getpid() % 100000}x{_made}"
    subprocess.run(["useradd", "-M", "-d", str(home), "-s", str(shell), name], check=True, capture_output=True)
    try:
        subprocess.run(["usermod", "-p", "*", name], check=True, capture_output=True)
        os.chown(home, pwd.getpwnam(name).pw_uid, pwd.getpwnam(name).pw_gid)
        yield name
    finally:
        subprocess.run(["userdel", name], check=False, capture_output=True)
