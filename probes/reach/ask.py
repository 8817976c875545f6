"""What an open port is asked, by its service's kind: banner and key, certificate, one GET, or just its first word."""

from __future__ import annotations

import asyncio
import importlib
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct, structs

from probes.errors import QuarterdeckError
from probes.evidence import HttpProbe, KeyCheck, Opening, PathMtu
from probes.model import Health, ServiceKind
from probes.reach.http import Ask, Limits, http_check
from probes.reach.kinds import expectation
from probes.reach.opening import Heard, listen_first
from probes.reach.stream import SocketStream
from probes.reach.tcp_info import tcp_info
from probes.reach.threads import DaemonPool
from probes.reach.tls import TlsContexts, is_tls
from probes.reach.tls_probe import tls_probe
from probes.text import clean

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    from probes.evidence import PortProbe, SshProbe, TlsProbe
    from probes.model import Host
    from probes.reach.budget import Budget
    from probes.reach.kinds import Expectation
    from probes.reach.stream import Stream
    from probes.reach.trust import Known, Trust

_SSH_MODULE: Final = "probes.reach.ssh_probe"
_IMPORT_S: Final = 20.0


class Target(Struct, frozen=True):
    """Whose port it is, and how to get another connection to it. ``name`` is what was dialled."""

    host: Host
    name: str
    connect: Callable[[], Awaitable[Stream]]
    auth_methods: bool = False


class Asker:
    """Asks open ports; holds what the questions share."""

    def __init__(self, budget: Budget, trust: Trust | None) -> None:
        self._budget = budget
        self._trust = trust
        self._contexts = TlsContexts()
        self._ssh: Any = None
        self._imports = DaemonPool("ssh import", 1, 4096)

    def close(self) -> None:
        """Let the threads go."""
        self._contexts.close()
        self._imports.close()

    async def ask(self, probe: PortProbe, stream: Stream, target: Target) -> PortProbe:
        """The probe of an open port with what its service said; closes ``stream``."""
        heard = Heard(stream)
        try:
            if probe.service.kind is ServiceKind.SSH:
                return await self._ask_ssh(probe, heard, stream, target)
            wanted = expectation(probe.service)
            if wanted is not None:
                return await self._ask_http(probe, heard, target, wanted)
            if probe.service.tls:
                tls, opening = await self._ask_tls(target, stream)
                tls = _pinned(tls, probe.service.pin)
                return structs.replace(probe, tls=tls, opening=opening, detail=_joined(probe.detail, tls.detail))
            said = await listen_first(heard, self._budget.opening_s)
            opening = heard.opening(fits=True)
            return structs.replace(probe, opening=opening, detail=_joined(probe.detail, said))
        finally:
            heard.close()

    # --- by kind ---

    async def _ask_ssh(self, probe: PortProbe, heard: Heard, stream: Stream, target: Target) -> PortProbe:
        module = await self._ssh_module()
        known, why = await self._known(target.host, probe.service.port)
        asked = module.SshAsk(target.name, probe.service.port, known, why, target.auth_methods)
        budget = self._budget
        ssh: SshProbe = await module.ssh_probe(heard, asked, budget.banner_s, budget.kex_s)
        mtu = _path_mtu(stream.sock) if ssh.kex_stalled and isinstance(stream, SocketStream) else None
        return structs.replace(
            probe, ssh=ssh, opening=ssh.opening, path_mtu=mtu, detail=_joined(probe.detail, ssh.detail)
        )

    async def _ssh_module(self) -> Any:
        """The probe of SSH; its import takes a third of a second: off the event loop, it would blur each time."""
        if self._ssh is None:
            self._ssh = await self._imports.run(lambda: importlib.import_module(_SSH_MODULE), _IMPORT_S)
        return self._ssh

    async def _known(self, host: Host, port: int) -> tuple[Known | None, str]:
        if self._trust is None:
            return None, "host key not checked: no known_hosts at hand"
        try:
            return await self._trust.known(host, port), ""
        except QuarterdeckError as error:
            return None, f"host key not checked: {error.cause}"

    async def _ask_http(self, probe: PortProbe, heard: Heard, target: Target, wanted: Expectation) -> PortProbe:
        """The GET as it is configured; beside it, over TLS, a handshake of its own that reads the certificate."""
        service = probe.service
        if not service.tls:
            http = await self._get(heard, target, probe, wanted)
            fits = heard.head.startswith(b"HTTP/")
            return structs.replace(
                probe, http=http, opening=heard.opening(fits=fits), detail=_joined(probe.detail, http.detail)
            )
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(self._get(heard, target, probe, wanted))
            shaking = group.create_task(self._shake(target))
        http = asking.result()
        return structs.replace(
            probe,
            http=http,
            tls=_pinned(shaking.result(), service.pin),
            opening=heard.opening(fits=is_tls(heard.head)),
            detail=_joined(probe.detail, http.detail),
        )

    async def _get(self, heard: Heard, target: Target, probe: PortProbe, wanted: Expectation) -> HttpProbe:
        service, budget = probe.service, self._budget
        try:
            context = await self._contexts.get(verify=service.tls_verify) if service.tls else None
        except OSError as error:
            return HttpProbe(health=Health.UNKNOWN, detail=f"no TLS here: {clean(str(error), 120)}")
        limits = Limits(tls_s=budget.tls_s, first_byte_s=budget.first_byte_s, total_s=budget.http_s)
        found = await http_check(heard, Ask(target.name, service.port, wanted, context), limits)
        before = {} if probe.connect_ms is None else {"tcp": probe.connect_ms}
        phases = {**before, **found.phases_ms}
        if "total" in phases:
            phases["total"] += sum(before.values())
        return HttpProbe(
            health=found.health,
            status=found.status,
            phases_ms=phases,
            first_line=found.first_line,
            detail=found.detail,
        )

    async def _ask_tls(self, target: Target, first: Stream) -> tuple[TlsProbe, Opening]:
        """TLS without HTTP: the connection that is there already is the first one used."""
        made: list[Heard] = []

        async def connect() -> Stream:
            made.append(Heard(await target.connect() if made else first))
            return made[-1]

        tls = await tls_probe(connect, self._contexts, target.name, self._budget.tls_s)
        opening = made[0].opening(fits=is_tls(made[0].head)) if made else Opening.NOT_READ
        return tls, opening

    async def _shake(self, target: Target) -> TlsProbe:
        return await tls_probe(target.connect, self._contexts, target.name, self._budget.tls_s)


def _pinned(tls: TlsProbe, pin: str | None) -> TlsProbe:
    """The certificate against the configured one; where none was presented, nothing was compared."""
    if pin is None:
        return tls
    check = KeyCheck.MATCH if tls.fingerprint == pin else KeyCheck.CHANGED
    return structs.replace(tls, known_fingerprint=pin, pin=KeyCheck.NOT_CHECKED if tls.fingerprint is None else check)


def _path_mtu(sock: socket.socket) -> PathMtu | None:
    info = tcp_info(sock)
    if info is None:
        return None
    return PathMtu(
        retransmits=info.retransmits,
        snd_mss_bytes=info.snd_mss_bytes,
        pmtu_bytes=info.pmtu_bytes or None,
        unacked=info.unacked,
    )


def _joined(*parts: str) -> str:
    return clean("; ".join(dict.fromkeys(part for part in parts if part)))
