from __future__ import annotations

import base64
import hashlib
import hmac
import os
from typing import TYPE_CHECKING

import asyncssh
import pytest

from probes.hosts.known_hosts import KnownHosts

if TYPE_CHECKING:
    from pathlib import Path


def _key() -> tuple[asyncssh.SSHKey, str]:
    key = asyncssh.generate_private_key("ssh-ed25519")
    return key, key.export_public_key().decode().strip()


def _hashed(name: str) -> str:
    salt = os.urandom(20)
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


@pytest.mark.parametrize("hashed", [False, True])
@pytest.mark.parametrize(("port", "name"), [(22, "gpu1"), (2222, "[gpu1]:2222")])
def test_a_key_is_found_by_name_and_port_plain_or_hashed(tmp_path: Path, port: int, name: str, hashed: bool) -> None:
    key, public = _key()
    _, other = _key()
    file = tmp_path / "known"
    file.write_text(f"other {other}\n{_hashed(name) if hashed else name} {public}\n")
    found = KnownHosts().lookup([str(file)], "gpu1", "", port)
    assert [k.public_data for k in found.keys] == [key.public_data]
    assert not KnownHosts().lookup([str(file)], "gpu2", "", port).known


def test_a_broken_line_costs_only_itself(tmp_path: Path) -> None:
    _, public = _key()
    file = tmp_path / "known"
    file.write_text(f"\x00\x01garbage\n@strange x y\ngpu1 {public}\n|1|bad|hash {public}\n")
    known = KnownHosts()
    assert known.lookup([str(file)], "gpu1", "", 22).known
    assert known.bad_lines >= 2


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    _, public = _key()
    file = tmp_path / "known"
    known = KnownHosts()
    assert not known.lookup([str(file)], "gpu1", "", 22).known
    file.write_text(f"gpu1 {public}\n")
    assert known.lookup([str(file)], "gpu1", "", 22).known


def test_appending_makes_a_private_file_and_a_line_ssh_understands(tmp_path: Path) -> None:
    key, public = _key()
    file = tmp_path / "ssh" / "known_hosts"
    known = KnownHosts()
    known.append(str(file), "gpu1", 2222, key)
    known.append(str(file), "gpu2", 22, key)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text().splitlines() == [f"[gpu1]:2222 {public}", f"gpu2 {public}"]
    assert known.lookup([str(file)], "gpu1", "", 2222).known


def test_appending_to_a_file_without_a_last_newline_starts_a_line_of_its_own(tmp_path: Path) -> None:
    key, public = _key()
    file = tmp_path / "known_hosts"
    file.write_text(f"gpu0 {public}")
    KnownHosts().append(str(file), "gpu1", 22, key)
    assert file.read_text() == f"gpu0 {public}\ngpu1 {public}\n"


def test_what_was_read_a_moment_ago_is_remembered_without_a_file_until_forgotten(tmp_path: Path) -> None:
    key, public = _key()
    file = tmp_path / "known"
    file.write_text(f"gpu1 {public}\n@revoked [gpu2]:2222 {public}\n")
    known, names = KnownHosts(), (str(file),)
    assert known.remembered(names, "gpu1", "", 22, 60.0) is None
    known.lookup(names, "other", "", 22)
    file.unlink()
    for host, port in (("gpu1", 22), ("gpu1", 2222), ("gpu2", 2222), ("gpu3", 22)):
        found = known.remembered(names, host, "", port, 60.0)
        assert found is not None
        assert found[0].known is (host == "gpu1"), (host, port)
        assert bool(found[0].revoked) is (host == "gpu2")
    assert known.remembered(names, "gpu1", "", 22, -1.0) is None
    known.forget()
    assert known.remembered(names, "gpu1", "", 22, 60.0) is None
    known.lookup(names, "gpu1", "", 22)
    known.append(str(file), "gpu9", 22, key)
    assert known.remembered(names, "gpu9", "", 22, 60.0) is None


def test_many_patterns_are_left_to_a_thread(tmp_path: Path) -> None:
    _, public = _key()
    file = tmp_path / "known"
    file.write_text("".join(f"{_hashed(f'gpu{number}')} {public}\n" for number in range(60)))
    known = KnownHosts()
    assert known.lookup((str(file),), "gpu1", "", 22).known
    assert known.remembered((str(file),), "gpu1", "", 22, 60.0) is None
