"""The real command line on a desk of its own: a home, a configuration, an environment, and perhaps a network namespace.

In a namespace the name service is a hosts file, so that forward and reverse names are what the test says, and nobody
else is asked.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.support.netns import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.forks import Forks
    from tests.support.netns import Namespace

#: bind the desk's files over the system's, then run the rest; needs a mount namespace
_WITH_NAMES = 'mount --bind "$0" /etc/hosts && mount --bind "$1" /etc/nsswitch.conf && shift && exec "$@"'
_HEAD = """schema = 1
[ssh]
config_files = []
agent = false
known_hosts = ["known_hosts"]
{ssh}
"""


class Found(NamedTuple):
    """One row of an answer in short; ``command`` is that of the first next action, ``first`` its text."""

    row: int
    layer: str
    service: str | None
    outcome: str
    confidence: str | None
    first: str | None
    command: str | None


class Answer:
    """What a command wrote, and its exit code."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.code = done.returncode
        self.out = done.stdout
        self.err = done.stderr

    @property
    def document(self) -> Any:
        assert self.out.startswith(("{", "[")), (self.code, self.out[-2000:], self.err[-4000:])
        return json.loads(self.out)

    @property
    def rows(self) -> list[Found]:
        return [brief(one) for one in self.document["verdicts"]]

    def row(self, number: int) -> Found:
        """The only verdict of a row."""
        (found,) = [one for one in self.rows if one.row == number]
        return found

    @property
    def layers(self) -> dict[str, str]:
        return {name: end["outcome"] for name, end in self.document["layers"].items()}

    @property
    def states(self) -> dict[int, str]:
        return {one["port"]: one["state"] for one in self.document["probes"]}


def brief(verdict: dict[str, Any]) -> Found:
    actions = verdict["next_actions"]
    first, command = (actions[0]["text"], actions[0]["command"]) if actions else (None, None)
    named = (verdict[name] for name in ("row", "layer", "service", "outcome", "confidence"))
    return Found(*named, first, command)


class Desk:
    """Runs the command. ``space`` None: where the test runs. ``forks``: who runs it, if not a new interpreter each time."""

    def __init__(self, folder: Path, space: Namespace | None = None, *, forks: Forks | None = None, **env: str) -> None:
        self.folder = folder
        self.space = space
        self.forks = forks
        folder.mkdir(exist_ok=True)
        self.known_hosts = folder / "known_hosts"
        self.known_hosts.touch()
        self.hosts_file = folder / "hosts"
        self.hosts_file.write_text("127.0.0.1 localhost\n::1 localhost\n")
        (folder / "nsswitch").write_text("hosts: files\n")
        # nothing of the tester's own, and no metadata service to wait for
        mine = {
            name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "QUARTERDECK", "SSH_"))
        }
        self.env = {
            **{name: value for name, value in mine.items() if not name.upper().endswith("_PROXY")},
            "HOME": str(folder),
            "XDG_CONFIG_HOME": str(folder / "xdg"),
            "XDG_STATE_HOME": str(folder / "state"),
            "PATH": os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin",
            "PYTHONPATH": str(ROOT),
            "AWS_CONFIG_FILE": str(folder / "aws-config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(folder / "aws-credentials"),
            "AWS_EC2_METADATA_DISABLED": "true",
            **env,
        }

    def config(self, text: str, *, ssh: str = "") -> None:
        """Write the configuration: the lines that keep it apart from the tester's, then ``text``."""
        (self.folder / "config.toml").write_text(_HEAD.format(ssh=ssh) + text)

    def names(self, **names: str) -> None:
        """Add names with their addresses; ``_`` in a keyword would be no name, so pass them as ``**{...}``."""
        with self.hosts_file.open("a") as file:
            file.writelines(f"{address} {name}\n" for name, address in names.items())

    def argv(self, *args: str) -> list[str]:
        """The whole command line."""
        command = [sys.executable, "-m", "tui.cli", *args]
        if self.space is None:
            return command
        names = [str(self.hosts_file), str(self.folder / "nsswitch")]
        return [*self.space.enter(), "unshare", "-m", "sh", "-c", _WITH_NAMES, *names, *command]

    def run(self, *args: str, env: dict[str, str] | None = None, timeout_s: float = 50.0) -> Answer:
        """Run the command to its end."""
        whole = {**self.env, **(env or {})}
        if self.forks is not None:
            names = {"/etc/hosts": str(self.hosts_file), "/etc/nsswitch.conf": str(self.folder / "nsswitch")}
            mounts = {} if self.space is None else names
            done = self.forks.run(list(args), cwd=self.folder, env=whole, mounts=mounts, timeout_s=timeout_s)
            return Answer(done)
        return Answer(
            subprocess.run(
                self.argv(*args),
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
                env=whole,
            )
        )

    def together(self, *commands: list[str], env: dict[str, str] | None = None) -> list[Answer]:
        """Run several commands at the same time: most of what they do is wait."""
        with ThreadPoolExecutor(len(commands)) as pool:
            return list(pool.map(lambda args: self.run(*args, env=env), commands))

    def diagnose(self, *args: str, login: bool = False, env: dict[str, str] | None = None) -> Answer:
        """``diagnose ... --json``; without a login unless it is wanted."""
        return self.run("diagnose", *args, "--json", *(() if login else ("--no-login",)), env=env)
