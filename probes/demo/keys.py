"""The demo's own throw-away keys: one for the user, one a host, and a known_hosts file with two deliberate flaws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import asyncssh

from probes.demo.catalog import Fault

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from probes.demo.catalog import HostSpec

USER = "demo"


@dataclass(frozen=True, slots=True)
class Keys:
    """Where the keys are, and the host keys themselves by host id."""

    identity: Path
    known_hosts: Path
    user_public: str
    other_public: str
    hosts: dict[str, Any]

    def authorized(self, spec: HostSpec) -> str:
        """The authorized_keys line of a host; the one that plays ``auth`` knows somebody else only."""
        return self.other_public if spec.fault is Fault.AUTH else self.user_public


def write_keys(folder: Path, specs: Iterable[HostSpec]) -> Keys:
    """Make all keys and write the user's private one (0600) into the folder."""
    user, other = (_new_key() for _ in range(2))
    identity = folder / "id_ed25519"
    identity.touch(mode=0o600)
    identity.write_bytes(user.export_private_key())
    return Keys(
        identity=identity,
        known_hosts=folder / "known_hosts",
        user_public=user.export_public_key().decode(),
        other_public=other.export_public_key().decode(),
        hosts={spec.id: _new_key() for spec in specs},
    )


def write_known_hosts(keys: Keys, places: Iterable[tuple[HostSpec, str, int]]) -> None:
    """Write known_hosts: another key for the host that plays ``key_changed``, none for ``key_unknown``."""
    lines: list[str] = []
    for spec, address, port in places:
        if spec.fault is Fault.KEY_UNKNOWN:
            continue
        changed = spec.fault is Fault.KEY_CHANGED
        key = _new_key() if changed else keys.hosts[spec.id]
        kind, data = key.export_public_key().decode().split()[:2]
        lines.append(f"[{address}]:{port} {kind} {data}\n")
    keys.known_hosts.write_text("".join(lines), encoding="utf-8")


def _new_key() -> Any:
    return asyncssh.generate_private_key("ssh-ed25519", comment=USER)  # pyright: ignore[reportUnknownMemberType]
