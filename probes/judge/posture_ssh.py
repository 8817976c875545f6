"""B2: is SSH by key only, and can root log in? From sshd's own settings, else from what the server offers. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from probes.judge.diagnosis import Action
from probes.judge.posture_types import Checked, Exposure, PostureLine, not_checked, passed
from probes.judge.triage_words import fact
from probes.model import PortState, ServiceKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from probes.evidence import Inside, PortProbe

CHECK: Final = "B2"
_BY_PASSWORD: Final = ("password", "keyboard-interactive")
#: the unit is called ssh on Debian and Ubuntu, sshd elsewhere
_RELOAD: Final = "sudo sshd -t && { sudo systemctl reload ssh || sudo systemctl reload sshd; }"
_KEYS_ONLY: Final = Action(
    "set PasswordAuthentication no and KbdInteractiveAuthentication no, test in a second session, then reload",
    _RELOAD,
)
_NO_ROOT: Final = Action("set PermitRootLogin no, then reload", _RELOAD)


def ssh_lines(inside: Inside | None, inside_why: str, ports: Sequence[PortProbe]) -> list[PostureLine]:
    """Two lines: key-only, and root login."""
    asked = [
        port
        for port in ports
        if port.service.kind is ServiceKind.SSH and port.ssh is not None and port.ssh.auth_methods is not None
    ]
    settings = inside.sshd if inside is not None else None
    if settings is not None:
        takes = _takes_passwords(settings)
        other = next((port for port in asked if takes is not None and _offers_passwords(port) != takes), None)
        if other is None:
            return [_keys_by_settings(settings), _root_by_settings(settings)]
        # `sshd -T` reads the standard file, and no Match block: the server in front of us may run with other settings
        why = f"sshd -T ({_said(settings)}) does not fit what the server on {other.service.port} offers"
        return [
            *(_keys_by_offer(port) for port in asked),
            not_checked(CHECK, "SSH by key only", f"{why}: another file of settings, or a Match block"),
            not_checked(CHECK, "root login", f"{why}: its settings are not known"),
        ]
    why = (inside.sshd_why or "sshd's settings were not read") if inside is not None else inside_why
    root = not_checked(CHECK, "root login", f"{why}; what a server offers does not tell who may log in")
    if not asked:
        return [not_checked(CHECK, "SSH by key only", f"{why}; no SSH server was asked what it offers"), root]
    return [*(_keys_by_offer(port) for port in asked), root]


def _ways(settings: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Whether passwords are taken, plainly and by dialogue, in sshd's own words."""
    keyboard = settings.get("kbdinteractiveauthentication") or settings.get("challengeresponseauthentication")
    return settings.get("passwordauthentication"), keyboard


def _said(settings: Mapping[str, str]) -> str:
    password, keyboard = _ways(settings)
    return f"passwordauthentication {password}, kbdinteractiveauthentication {keyboard}"


def _takes_passwords(settings: Mapping[str, str]) -> bool | None:
    """None where the settings do not name both ways."""
    ways = _ways(settings)
    return True if "yes" in ways else False if ways == ("no", "no") else None


def _offers_passwords(port: PortProbe) -> bool:
    methods = (port.ssh.auth_methods if port.ssh is not None else None) or ()
    return any(one in _BY_PASSWORD for one in methods)


def _keys_by_settings(settings: Mapping[str, str]) -> PostureLine:
    password, keyboard = _ways(settings)
    said = f"sshd -T: {_said(settings)}"
    if password == "yes" or keyboard == "yes":  # noqa: S105 - a setting, not a secret
        return _fail("SSH by key only", "sshd takes passwords", Exposure.HIGH, said, _KEYS_ONLY)
    if password == "no" and keyboard == "no":  # noqa: S105 - a setting, not a secret
        return passed(CHECK, "SSH by key only", "sshd takes no passwords", said)
    return not_checked(CHECK, "SSH by key only", f"sshd's settings do not name both ways: {said}")


def _root_by_settings(settings: Mapping[str, str]) -> PostureLine:
    root = settings.get("permitrootlogin")
    said = f"sshd -T: permitrootlogin {root}"
    if root is None:
        return not_checked(CHECK, "root login", "sshd's settings do not name PermitRootLogin")
    if root == "no":
        return passed(CHECK, "root login", "root cannot log in", said)
    if root == "yes":
        return _fail("root login", "root may log in, by any method that is on", Exposure.HIGH, said, _NO_ROOT)
    return _fail("root login", f"root may log in by key ({root})", Exposure.LOW, said, _NO_ROOT)


def _keys_by_offer(port: PortProbe) -> PostureLine:
    methods = (port.ssh.auth_methods if port.ssh is not None else None) or ()
    offered = f"offers {', '.join(methods) or 'no method'}"
    subject = f"SSH by key only ({port.service.port})"
    weak = [one for one in methods if one in _BY_PASSWORD]
    if weak:
        exposure = Exposure.HIGH if port.state is PortState.OPEN else Exposure.MEDIUM
        return _fail(subject, f"the server offers {', '.join(weak)}", exposure, f"{fact(port)}, {offered}", _KEYS_ONLY)
    if "publickey" not in methods:
        return not_checked(CHECK, subject, f"the server {offered}: that says nothing of keys and passwords")
    return passed(CHECK, subject, "the server offers keys only to the user that was tried", f"{fact(port)}, {offered}")


def _fail(subject: str, statement: str, exposure: Exposure, evidence: str, action: Action) -> PostureLine:
    return PostureLine(
        check=CHECK,
        subject=subject,
        outcome=Checked.FAIL,
        exposure=exposure,
        statement=statement,
        evidence=(evidence,),
        action=action,
    )
