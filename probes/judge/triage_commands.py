"""Commands for next actions: exact, filled in, and safe to paste whatever the names hold. Pure text.

A command is only given when every value in it is known. Each value is quoted for the shell, and one that could be read
as an option, or that holds a control character, gives no command at all.
"""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from probes.judge.diagnosis import Action

_SAFE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]*\Z")


def command(template: str, /, **values: str | int | None) -> str | None:
    """Fill a template's ``{name}``; None when a value is missing or not fit for a command line."""
    words: dict[str, str] = {}
    for name, value in values.items():
        word = None if value is None else _word(str(value))
        if word is None:
            return None
        words[name] = word
    return template.format(**words)


def aws(template: str, region: str | None, /, **values: str | int | None) -> str | None:
    """An AWS command; without a known region the one of the caller's own set-up applies."""
    if not region:
        return command(f"aws {template}", **values)
    return command(f"aws {template} --region {{region_}}", **values, region_=region)


def trusted(text: str | None, *ids: str | None) -> str | None:
    """A command that was built elsewhere without quoting: kept only when its ids are plain words."""
    if text is None or any(one is not None and not _SAFE_ID.match(one) for one in ids):
        return None
    return text


def ssh(user: str | None, address: str, port: int, remote: str, via: str | None = None) -> str | None:
    """One command on the host; the remote line is quoted as a whole."""
    target = f"{user}@{address}" if user else address
    jump = " -J {via}" if via else ""
    more = {"via": via} if via else {}
    return command(f"ssh -p {{port}}{jump} {{target}} {{remote}}", port=port, target=target, remote=remote, **more)


def ssm(instance_id: str | None, region: str | None, *lines: str) -> str | None:
    """The same lines through Session Manager's agent."""
    parameters = json.dumps({"commands": list(lines)}, ensure_ascii=False)
    template = "ssm send-command --instance-ids {id} --document-name AWS-RunShellScript --parameters {parameters}"
    return aws(template, region, id=instance_id, parameters=parameters)


def quoted(text: str) -> str:
    """A word inside a remote command line."""
    return shlex.quote(text)


def actions(*found: Action | None) -> tuple[Action, ...]:
    """Those that there are, each once."""
    return tuple(dict.fromkeys(one for one in found if one is not None))


def _word(text: str) -> str | None:
    if not text or text.startswith("-") or not text.isprintable():
        return None
    return shlex.quote(text)
