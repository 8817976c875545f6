"""The log file: rotating and readable by its owner only. Remote text is cleaned before it gets here."""

from __future__ import annotations

import logging
import logging.handlers
import os
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from io import TextIOWrapper
    from pathlib import Path

_MAX_BYTES = 5_000_000
_KEPT = 3


class _PrivateHandler(logging.handlers.RotatingFileHandler):
    """A rotating handler whose every file is created 0600."""

    def _open(self) -> TextIOWrapper:
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        os.fchmod(descriptor, 0o600)
        return cast("TextIOWrapper", os.fdopen(descriptor, self.mode, encoding="utf-8"))


def start_log(path: Path) -> None:
    """Send all log records to ``path``.

    Raises:
        OSError: the file cannot be opened.
    """
    handler = _PrivateHandler(path, maxBytes=_MAX_BYTES, backupCount=_KEPT, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    # one line per connection, channel and key exchange of a thousand hosts is no log anyone reads
    logging.getLogger("asyncssh").setLevel(logging.WARNING)
