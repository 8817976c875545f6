"""How a running benchmark gets to its host: directly, or through SSH connections of its own, closed at the end."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

from benchmarks.context import Endpoint
from benchmarks.errors import BenchError
from benchmarks.local_link import LocalConnection
from benchmarks.model import Side
from benchmarks.tunnel import Refusal, Tunnel, open_tunnel
from probes.errors import AuthError, HostKeyChangedError, HostKeyUnknownError, LinkError
from probes.hosts.asker import NobodyToAsk
from probes.hosts.transport import Transport
from probes.hosts.ways import Ways
from probes.model import PortState
from probes.reach.dial import dial
from probes.reach.resolve import Resolver, literal_address
from probes.text import clean

if TYPE_CHECKING:
    from types import TracebackType

    from probes.config import Settings
    from probes.hosts.transport import Connection
    from probes.model import Host, Service
    from probes.reach.route import Route

log = logging.getLogger(__name__)

_LOOPBACK: Final = ("127.0.0.1", "::1")
#: a host that is silent so long, three times, is gone: a run must not wait for it for as long as TCP does
_ALIVE_EVERY_S: Final = 5.0
#: connections take 2 s at most, jump connections 3
_CLOSE_S: Final = 6.0
#: what a person must mend here, not on the host
_OURS: Final = (AuthError, HostKeyUnknownError, HostKeyChangedError)


class Outside:
    """What a port looks like from here: open, or why not."""

    def __init__(self, state: PortState, words: str) -> None:
        self.state = state
        self.words = words


class RunContext:
    """See ``Context``: the ways to one host, for the runs of one job.

    Use as an async context manager; leaving it closes tunnels and connections, in bounded time, also when cancelled.
    """

    def __init__(self, host: Host, settings: Settings) -> None:
        self._host = host
        self._settings = settings
        self._resolver = Resolver(threads=2)
        self._transport = Transport(settings, self._resolver, NobodyToAsk())
        self._routes = Ways(self._transport)
        self._shared: Connection | None = None
        self._connections: list[Connection] = []
        self._here: list[LocalConnection] = []
        self._tunnels: dict[int, Tunnel] = {}
        self._one_at_a_time = asyncio.Lock()

    @property
    def host(self) -> Host:
        """Whom."""
        return self._host

    @property
    def settings(self) -> Settings:
        """The configuration."""
        return self._settings

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        closing = asyncio.create_task(self._close(), name=f"close the ways to {self._host.id}")
        try:
            await asyncio.shield(closing)
        finally:
            if not closing.done():  # we were cancelled; it ends by its own time limit
                await asyncio.wait({closing})

    async def _close(self) -> None:
        for tunnel in self._tunnels.values():
            tunnel.close()
        try:
            async with asyncio.timeout(_CLOSE_S):
                await asyncio.gather(*(connection.close() for connection in self._connections))
                await self._transport.close()
        except TimeoutError:
            log.warning("the connections to %s did not close in %g s and were aborted", self._host.id, _CLOSE_S)
        finally:
            for connection in self._connections:
                connection.ssh.abort()
            for here in self._here:
                here.abort()
            await self._resolver.close()

    async def endpoint(self, service: Service | None, url: str | None) -> Endpoint:
        """How to reach a service: a URL as it is given; else directly; else through a tunnel. See ``Context``.

        A tunnel costs the service seven connections without a byte: its latency is measured by opening it.

        Raises:
            BenchError: layer ``plan`` (no proper URL), ``tcp`` (neither way; the cause names both) or ``ssh``.
        """
        if url is not None:
            return Endpoint(checked_url(url), tls_verify=service.tls_verify if service is not None else True)
        if service is None:
            raise BenchError("neither a service nor a URL", layer="plan", next_step="name one", side=Side.CLIENT)
        route = await self._route()
        name = "localhost" if self._is_local_name(route) else route.address
        base_url = f"http{'s' if service.tls else ''}://{f'[{name}]' if ':' in name else name}:{service.port}"
        if route.via is None and route.blocked is None:
            outside = await self._look(route, service.port)
            if outside.state is PortState.OPEN:
                return Endpoint(base_url, service.tls_verify)
        else:
            way = f"{route.via} leads to it" if route.via is not None else route.blocked
            outside = Outside(PortState.NOT_PROBED, f"not tried from here ({way})")
        tunnel = await self._tunnel(route, service, outside)
        return Endpoint(
            base_url,
            service.tls_verify,
            via="ssh_tunnel",
            tunnel_ms=await tunnel.latency_ms(),
            dial=("127.0.0.1", tunnel.local_port),
        )

    async def ssh(self) -> Any:
        """The shared connection, made when first asked for and made anew when it was lost.

        Raises:
            BenchError: layer ``ssh``.
        """
        async with self._one_at_a_time:
            if self._shared is None or self._shared.ssh.is_closed():
                self._shared = await self._connect()
            return self._shared.ssh

    async def another_ssh(self) -> Any:
        """One more connection, of the caller's own until the context is left; to this machine it is none over SSH.

        Raises:
            BenchError: layer ``ssh``.
        """
        if self._host.local:
            here = LocalConnection()
            self._here.append(here)
            return here
        return (await self._connect()).ssh

    # --- from here ---

    async def _route(self) -> Route:
        try:
            return await self._routes.route(self._host)
        except LinkError as error:
            raise _of_link(error) from None

    def _is_local_name(self, route: Route) -> bool:
        return self._host.local and literal_address(route.address) is None

    async def _look(self, route: Route, port: int) -> Outside:
        """Connect once, and say what came of it.

        Raises:
            BenchError: this machine cannot even try.
        """
        intervals = self._settings.intervals
        try:
            if self._is_local_name(route):
                addresses = _LOOPBACK
            else:
                addresses = await self._resolver.resolve(route.address, intervals.resolve_s)
            dialled = await dial(addresses, port, intervals.tcp_s)
        except LinkError as error:
            return Outside(PortState.UNRESOLVED, error.cause)
        except ValueError as error:
            raise BenchError(clean(str(error)), layer="plan", side=Side.CLIENT) from None
        best = dialled.best
        if best.sock is not None:
            best.sock.close()
        state = best.state.value.replace("_", " ")
        words = f"{state} from here ({dialled.detail})" if dialled.detail else f"{state} from here"
        if best.state is PortState.NOT_PROBED:
            raise BenchError(words, layer="tcp", next_step="mend that on this machine first", side=Side.CLIENT)
        return Outside(best.state, words)

    # --- by SSH ---

    async def _tunnel(self, route: Route, service: Service, outside: Outside) -> Tunnel:
        kept = self._tunnels.get(service.port)
        if kept is not None and not kept.lost:
            return kept
        what = f"port {service.port} of {route.address} ({service.name})"
        if self._host.local:
            step = f"start it, and look whether it listens on port {service.port}"
            raise BenchError(f"{what} is {outside.words}: the service is down", layer="tcp", next_step=step)
        try:
            ssh = await self.ssh()
        except BenchError as error:
            cause = f"{what} is {outside.words}, and no SSH leads there: {error.cause}"
            raise BenchError(cause, layer="tcp", next_step=error.next_step, side=error.side) from None
        # a service that listens only on the host's own address is not to be had at its localhost
        inside = ("localhost", route.address)
        limit_s = self._settings.intervals.tcp_s + 2.0
        found = await open_tunnel(ssh, inside, service.port, limit_s)
        if isinstance(found, Refusal):
            raise _no_way(what, service, outside, found)
        self._tunnels[service.port] = found
        return found

    async def _connect(self) -> Connection:
        if self._host.local:
            step = "add it as a host with an address to reach it by SSH"
            raise BenchError("this machine is watched without SSH", layer="ssh", next_step=step, side=Side.CLIENT)
        try:
            connection = await self._transport.connect(self._host, _no_phase, ask=False)
        except LinkError as error:
            raise _of_link(error) from None
        self._connections.append(connection)
        connection.ssh.set_keepalive(_ALIVE_EVERY_S, 3)
        return connection


def checked_url(url: str) -> str:
    """A base URL that was given.

    Raises:
        BenchError: layer ``plan``: it is none, or it has a password that would stand in every result.
    """
    try:
        parts = urlsplit(url)
        odd = parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0
    except ValueError:
        parts, odd = urlsplit(""), True
    if odd or clean(url, 2000) != url or " " in url:
        shown = clean(url, 120)
        step = "expected http://host:port or https://host:port, with a path where the service has a prefix"
        raise BenchError(f"{shown!r} is no URL of a service", layer="plan", next_step=step, side=Side.CLIENT)
    if parts.username is not None or parts.password is not None:
        step = "a URL stands in results and exports: leave user and password out"
        raise BenchError("the URL has a user or a password in it", layer="plan", next_step=step, side=Side.CLIENT)
    if parts.query or parts.fragment:
        step = "give the part before it; paths are added behind"
        raise BenchError("a base URL has no ? and no #", layer="plan", next_step=step, side=Side.CLIENT)
    return url


def _no_way(what: str, service: Service, outside: Outside, refusal: Refusal) -> BenchError:
    """Neither from here nor from the host itself."""
    if refusal.state is PortState.REFUSED:
        step = f"start {service.name}, and look on the host whether it listens: ss -tln 'sport = :{service.port}'"
        cause = f"{what} is {outside.words} and refused on the host itself: the service is down"
        return BenchError(cause, layer="tcp", next_step=step)
    step = "open the port to this machine, or allow forwarding in the host's sshd_config" if refusal.forbidden else ""
    cause = f"{what} is {outside.words}, and SSH cannot help: {refusal.words}"
    return BenchError(cause, layer="tcp", next_step=step or "look at the service on the host")


def _of_link(error: LinkError) -> BenchError:
    side = Side.CLIENT if isinstance(error, _OURS) or error.layer == "ssh_config" else Side.SERVER
    return BenchError(f"{error.layer}: {error.cause}", layer="ssh", next_step=error.next_step, side=side)


def _no_phase(phase: str) -> None:
    """Nobody watches how far a connection has come."""
    del phase
