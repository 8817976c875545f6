"""SSH behind an open port, without logging in: its banner, its host key against known_hosts, a stalled key exchange.

No credentials are ever sent. The protocol is asyncssh's, so importing this costs 350 ms: import it off the event loop.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

import asyncssh
from msgspec import Struct, structs

from probes.evidence import KeyCheck, Opening, SshProbe
from probes.hosts.ssh_options import key_types
from probes.reach.ssh_pipe import StreamTunnel
from probes.text import clean, clean_bytes

if TYPE_CHECKING:
    from probes.reach.opening import Heard
    from probes.reach.trust import Known

_MAX_BANNER: Final = 255
#: after bytes that are no SSH banner, the rest of the line gets this long
_GRACE_S: Final = 1.0
_SSH: Final = b"SSH-"


class SshAsk(Struct, frozen=True):
    """What to ask. ``known`` None: the key is not checked, ``unchecked`` says why.

    ``auth_methods``: also ask which methods are offered, by a ``none`` request that leaves a line in the host's log. It
    is not sent to a host whose key is not the known one.
    """

    name: str
    port: int
    known: Known | None = None
    unchecked: str = ""
    auth_methods: bool = False


async def ssh_probe(heard: Heard, ask: SshAsk, banner_s: float, kex_s: float) -> SshProbe:
    """Ask over an open stream, which is left open; never raises but when cancelled."""
    began_ns = time.perf_counter_ns()
    judge = _KeyJudge(ask)
    tunnel = StreamTunnel(heard, judge.prepare)
    task = asyncio.ensure_future(_exchange(tunnel, ask, judge))
    try:
        banner = await _banner(tunnel, task, banner_s)
        banner_ms = (time.perf_counter_ns() - began_ns) / 1e6
        if banner is None:
            return _no_banner(heard, banner_s)
        probe = SshProbe(opening=Opening.BANNER, banner=banner, banner_ms=banner_ms)
        await asyncio.wait({task}, timeout=kex_s)
        if not task.done() and judge.key is None:
            detail = f"the banner came, the key exchange did not finish in {kex_s:g} s"
            return structs.replace(probe, kex_stalled=True, detail=detail)
        return _after_kex(probe, task, judge, ask)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await tunnel.close()


async def _exchange(tunnel: StreamTunnel, ask: SshAsk, judge: _KeyJudge) -> tuple[str, ...] | None:
    """The key exchange and, where asked for, the methods; the key itself is the judge's to remember."""
    options: dict[str, Any] = {
        # neither files of ours nor keys: nothing could be sent even by mistake
        "config": None,
        "client_keys": None,
        "agent_path": None,
        "gss_host": None,
        "client_factory": lambda: judge.client,
        "host": ask.name,
        "port": ask.port,
        "username": ask.known.user if ask.known is not None else "nobody",
        "login_timeout": 0,
        "keepalive_interval": 0,
        "tcp_keepalive": False,
        "x509_trusted_certs": None,
        "x509_trusted_cert_paths": [],
    }
    if ask.known is not None:
        # a certificate must be for the name that known_hosts was asked for
        options |= {"host_key_alias": ask.known.name, **key_types(ask.known.trusted)}
    made = asyncssh.SSHClientConnectionOptions(**options)
    # the functions below would fill in what the options leave open: they are told the essential again
    essential = ("config", "host", "port", "username", "server_host_key_algs")
    again: dict[str, Any] = {name: options[name] for name in essential if name in options}
    again["tunnel"] = tunnel
    if not ask.auth_methods:
        del again["username"]
        await asyncssh.get_server_host_key(options=made, **again)
        return None
    methods = await asyncssh.get_server_auth_methods(options=made, **again)
    return tuple(clean(method, 60) for method in methods[:16])


class _KeyJudge:
    """Sees the presented key and what asyncssh thinks of it. Without known keys it only looks."""

    def __init__(self, ask: SshAsk) -> None:
        self._known = ask.known
        self._may_go_on = not ask.auth_methods
        self.client = _Client(self)
        self.tunnel_conn: Any = None
        self.stranger: asyncssh.SSHKey | None = None
        self.other_authority = False

    def prepare(self, conn: Any) -> None:
        """Hand known_hosts to a connection that was made to look at keys without judging them."""
        self.tunnel_conn = conn
        if self._known is not None:
            conn._known_hosts = self._known.trusted.result  # noqa: SLF001 - there is no public way to both wait and judge

    @property
    def key(self) -> asyncssh.SSHKey | None:
        """The key the host presented, if it came to that."""
        if self.stranger is not None:
            return self.stranger
        return None if self.tunnel_conn is None else self.tunnel_conn.get_server_host_key()

    def meet(self, key: asyncssh.SSHKey, *, authority: bool) -> bool:
        """A key that is not among the trusted ones: go on only where nothing but the key is asked for."""
        self.stranger = key
        self.other_authority = authority
        return self._may_go_on or (self._known is not None and not self._known.trusted.known)


class _Client(asyncssh.SSHClient):
    def __init__(self, judge: _KeyJudge) -> None:
        self._judge = judge

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        del host, addr, port
        return self._judge.meet(key, authority=False)

    def validate_host_ca_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        del host, addr, port
        return self._judge.meet(key, authority=True)


# --- the banner ---


async def _banner(tunnel: StreamTunnel, task: asyncio.Future[Any], limit_s: float) -> str | None:
    """The identification line, or None when none came in time."""
    loop = asyncio.get_running_loop()
    end_s = loop.time() + limit_s
    while True:
        banner = _find_banner(tunnel.heard.head)
        if banner is not None or tunnel.heard.ended is not None or task.done():
            return banner
        if tunnel.heard.total and not _may_become_banner(tunnel.heard.head):
            end_s = min(end_s, loop.time() + _GRACE_S)
        tunnel.news.clear()
        try:
            async with asyncio.timeout_at(end_s):
                await tunnel.news.wait()
        except TimeoutError:
            return None


def _find_banner(head: bytes) -> str | None:
    """The first complete line that is an SSH identification; others may precede it (RFC 4253, 4.2)."""
    lines = head.split(b"\n")[:-1]
    found = next((line for line in lines if line.startswith(_SSH)), None)
    return None if found is None else clean_bytes(found.rstrip(b"\r")[:_MAX_BANNER], _MAX_BANNER)


def _may_become_banner(head: bytes) -> bool:
    last = head.rpartition(b"\n")[2]
    return last[:4] == _SSH[: len(last)][:4]


def _no_banner(heard: Heard, limit_s: float) -> SshProbe:
    opening = heard.opening(fits=False)
    if opening is Opening.SILENT:
        detail = f"open, but no SSH banner in {limit_s:g} s"
    elif opening is Opening.CLOSED:
        detail = f"open, but closed without a byte ({heard.ended})"
    else:
        ended = "" if heard.ended is None else f", then closed it ({heard.ended})"
        detail = f'not SSH: it answered "{heard.shown}"{ended}'
    return SshProbe(opening=opening, detail=detail)


# --- the key ---


def _after_kex(probe: SshProbe, task: asyncio.Future[Any], judge: _KeyJudge, ask: SshAsk) -> SshProbe:
    error = task.exception() if task.done() else None
    key = judge.key
    methods = task.result() if task.done() and error is None else None
    if key is None:
        revoked = isinstance(error, asyncssh.HostKeyNotVerifiable) and ask.known is not None
        return structs.replace(
            probe,
            host_key=KeyCheck.CHANGED if revoked else KeyCheck.NOT_CHECKED,
            known_fingerprint=_known_print(ask, None) if revoked else None,
            detail=_words(error),
        )
    check, detail = _check(key, judge, ask)
    if ask.auth_methods and methods is None:
        why = "the key is not the known one" if check is KeyCheck.CHANGED else _words(error)
        detail = "; ".join(filter(None, (detail, f"authentication methods not asked: {why}")))
    return structs.replace(
        probe,
        host_key=check,
        fingerprint=key.get_fingerprint(),
        known_fingerprint=_known_print(ask, key),
        auth_methods=methods,
        detail=detail,
    )


def _check(key: asyncssh.SSHKey, judge: _KeyJudge, ask: SshAsk) -> tuple[KeyCheck, str]:
    if ask.known is None:
        return KeyCheck.NOT_CHECKED, ask.unchecked
    if judge.stranger is None:
        return KeyCheck.MATCH, ""
    algorithm = clean(key.get_algorithm(), 60)
    if judge.other_authority:
        return KeyCheck.CHANGED, f"its certificate is by an authority ({algorithm}) that known_hosts does not trust"
    if ask.known.trusted.known:
        return KeyCheck.CHANGED, f"it presents {algorithm}, which is not the key in known_hosts"
    return KeyCheck.UNKNOWN, f"{ask.known.name} is not in known_hosts"


def _known_print(ask: SshAsk, key: asyncssh.SSHKey | None) -> str | None:
    """The fingerprint on file: of the presented key's type, else of the first."""
    if ask.known is None:
        return None
    on_file = [*ask.known.trusted.keys, *ask.known.trusted.authorities]
    same = [known for known in on_file if key is not None and known.get_algorithm() == key.get_algorithm()]
    return (same or on_file)[0].get_fingerprint() if on_file else None


def _words(error: BaseException | None) -> str:
    """Why there is no key, in words."""
    if error is None:
        return "the server sent no host key"
    text = clean(str(error), 160) or type(error).__name__
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return f"host key: {text}"
    if isinstance(error, asyncssh.KeyExchangeFailed):
        return f"no algorithm in common: {text}"
    if isinstance(error, (asyncssh.ConnectionLost, ConnectionError)):
        return f"closed during the key exchange: {text}"
    return f"key exchange: {text}"
