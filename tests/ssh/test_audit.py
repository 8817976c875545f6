"""``audit`` over a real sshd: its settings from ``sshd -T`` where it lets us in, else from what it offers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.diagnosing import Desk
from tests.support.sshd import Keys, RealSshd

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.needs("sshd")

#: sshd -T reads the standard file, so that is what this sshd's own configuration is, in its mounts alone
AS_STANDARD = ("unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/ssh/sshd_config && exec "$@"', "{config}")
KEYS, ROOT = "SSH by key only", "root login"


def audited(tmp_path: Path, server: RealSshd, identity: Path, user: str = "root") -> tuple[int, list[dict[str, Any]]]:
    """The exit code, and the lines of B2."""
    desk = Desk(tmp_path / "desk")
    desk.known_hosts.write_text(server.known_hosts.read_text())
    desk.config(
        f'[aws]\nenabled = false\n[[hosts]]\nid = "box"\naddress = "{server.address}"\nport = {server.port}\n'
        f'user = "{user}"\nidentity_files = ["{identity}"]\n'
        f'services = [{{ name = "ssh", kind = "ssh", port = {server.port} }}]\n'
    )
    found = desk.run("audit", "box", "--json")
    (document,) = found.document
    by_check = {line["check"] for line in document["lines"]}
    assert by_check == {"B1", "B2", "B3", "B4"}
    assert all(line["statement"] for line in document["lines"])
    assert all(line["outcome"] == "not_checked" for line in document["lines"] if line["check"] in ("B1", "B3"))
    return found.code, [line for line in document["lines"] if line["check"] == "B2"]


def short(lines: list[dict[str, Any]]) -> dict[str, tuple[str, str | None, str]]:
    return {line["subject"]: (line["outcome"], line["exposure"], line["statement"]) for line in lines}


@pytest.mark.needs("root", "unshare")
@pytest.mark.parametrize(
    ("settings", "match", "keys_line", "root_line"),
    [
        (
            "PasswordAuthentication yes\nPermitRootLogin yes",
            "",
            ("fail", "high", "sshd takes passwords"),
            ("fail", "high", "root may log in, by any method that is on"),
        ),
        (
            "KbdInteractiveAuthentication yes\nPermitRootLogin without-password",
            "",
            ("fail", "high", "sshd takes passwords"),
            ("fail", "low", "root may log in by key (without-password)"),
        ),
        (
            # the rule for everybody is no; for this test alone there is a way in
            "PermitRootLogin no",
            "Match Address 127.0.0.1\nPermitRootLogin prohibit-password",
            ("pass", None, "sshd takes no passwords"),
            ("pass", None, "root cannot log in"),
        ),
    ],
    ids=["passwords and root", "keyboard and root by key", "keys only, no root"],
)
def test_by_the_settings_of_the_host(
    tmp_path: Path, settings: str, match: str, keys_line: tuple[Any, ...], root_line: tuple[Any, ...]
) -> None:
    keys = Keys(tmp_path)
    with RealSshd(tmp_path / "sshd", keys, extra=settings, match=match, enter=AS_STANDARD) as server:
        _, lines = audited(tmp_path, server, keys.private)
    assert short(lines) == {KEYS: keys_line, ROOT: root_line}
    assert all(line["evidence"][0].startswith("sshd -T: ") for line in lines)


@pytest.mark.parametrize(
    ("settings", "code", "line"),
    [
        ("PasswordAuthentication yes", 1, ("fail", "high", "the server offers password")),
        ("PasswordAuthentication no", 0, ("pass", None, "the server offers keys only to the user that was tried")),
    ],
)
def test_by_what_is_offered_to_whom_it_does_not_let_in(
    tmp_path: Path, settings: str, code: int, line: tuple[Any, ...]
) -> None:
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    with RealSshd(tmp_path / "sshd", Keys(tmp_path), extra=settings) as server:
        ended, lines = audited(tmp_path, server, Keys(stranger).private, user="nobody")
    assert ended == code
    found = short(lines)
    assert found[f"{KEYS} ({server.port})"] == line
    assert found[ROOT][0] == "not_checked"
    assert "no SSH session: auth failed" in found[ROOT][2]
    assert found[ROOT][2].endswith("what a server offers does not tell who may log in")


def test_a_host_that_does_not_answer_was_not_checked(tmp_path: Path) -> None:
    keys = Keys(tmp_path)
    server = RealSshd(tmp_path / "sshd", keys)  # never started
    code, lines = audited(tmp_path, server, keys.private)
    assert code == 3
    assert {line["outcome"] for line in lines} == {"not_checked"}
