"""The host names an ssh_config file offers. What they mean (HostName, User, ...) is the SSH transport's business."""

from __future__ import annotations

import glob
import re
import shlex
from fnmatch import translate
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

from probes.text import clean

_MAX_FILE_BYTES: Final = 1024 * 1024
_MAX_FILES: Final = 256
_MAX_DEPTH: Final = 16  # as ssh's own
_MAX_NAMES: Final = 20_000


class Aliases(Struct):
    """Concrete ``Host`` names in file order, and the pattern lines; ``in`` asks whether a name is spoken of at all.

    A line ``Host *`` alone makes no name known: it holds for everything.
    """

    names: list[str] = field(default_factory=list[str])
    _known: set[str] = field(default_factory=set[str])
    _patterns: list[tuple[list[re.Pattern[str]], list[re.Pattern[str]]]] = field(
        default_factory=list[tuple[list[re.Pattern[str]], list[re.Pattern[str]]]]
    )

    def add(self, words: list[str]) -> None:
        """Take the patterns of one ``Host`` line."""
        no = [_compiled(word[1:]) for word in words if word.startswith("!")]
        yes: list[re.Pattern[str]] = []
        for word in words:
            if word.startswith(("!", "-")) or set(word) <= {"*", "?"} or clean(word) != word:
                continue
            if "*" in word or "?" in word:
                yes.append(_compiled(word))
            elif word not in self._known and len(self.names) < _MAX_NAMES:
                self._known.add(word)
                self.names.append(word)
        if yes and len(self._patterns) < _MAX_NAMES:
            self._patterns.append((yes, no))

    def __contains__(self, name: str) -> bool:
        if name in self._known:
            return True
        if not name or name.startswith("-") or clean(name) != name or re.search(r"[\s@:/]", name):
            return False
        return any(_any(yes, name) and not _any(no, name) for yes, no in self._patterns)


def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern.replace("[", "[[]")), re.IGNORECASE)


def _any(patterns: list[re.Pattern[str]], name: str) -> bool:
    return any(pattern.match(name) for pattern in patterns)


def read_aliases(files: Iterable[str]) -> Aliases:
    """Collect the names of ``Host`` lines, ``Include`` files in place; what cannot be read offers no names.

    (The transport reads the same files and says so when one is broken; here they only offer names.)
    """
    aliases = Aliases()
    budget = [_MAX_FILES]
    for name in files:
        for words in _host_lines(_expanded(name), 0, budget):
            aliases.add(words)
    return aliases


def _expanded(name: str) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError:  # no such home: then no such file either
        return Path(name)


def _host_lines(path: Path, depth: int, budget: list[int]) -> Iterator[list[str]]:
    if depth > _MAX_DEPTH or budget[0] <= 0:
        return
    budget[0] -= 1
    try:
        if not path.is_file():  # a FIFO would block for ever
            return
        with path.open("rb") as file:
            text = file.read(_MAX_FILE_BYTES).decode("utf-8", "replace")
    except OSError:
        return
    for line in text.splitlines():
        keyword, words = _split(line)
        if keyword == "host":
            yield words
        elif keyword == "include":
            for word in words:
                for included in _included(word, path):
                    yield from _host_lines(included, depth + 1, budget)


def _split(line: str) -> tuple[str, list[str]]:
    """``Keyword word word`` or ``Keyword=word``, quotes respected, comments dropped."""
    found = re.match(r"\s*([A-Za-z]+)(?:\s*=\s*|\s+)(.*)", line)
    if found is None:
        return "", []
    try:
        words = shlex.split(found[2], comments=True)
    except ValueError:  # unbalanced quotes: ssh refuses the line, it names nothing
        return "", []
    return found[1].lower(), words


def _included(word: str, parent: Path) -> list[Path]:
    """The files an Include names: relative to ~/.ssh as ssh says, sorted as glob(3) sorts."""
    pattern = _expanded(word)
    if not pattern.is_absolute():
        base = Path("/etc/ssh") if str(parent).startswith("/etc/ssh/") else _expanded("~/.ssh")
        pattern = base / pattern
    return [Path(name) for name in sorted(glob.glob(str(pattern)))[:_MAX_FILES]]  # noqa: PTH207 - a whole path
