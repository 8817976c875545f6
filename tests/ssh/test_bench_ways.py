"""How benchmarks get to a service: directly, through a tunnel, or not at all, with both causes.

The host is 127.0.0.5: what listens on 127.0.0.1 is its localhost, closed from outside.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from typing import TYPE_CHECKING, Any

import asyncssh
import pytest

from benchmarks.client import CallFailed, Client
from benchmarks.errors import BenchError
from benchmarks.model import Outcome, Side
from benchmarks.ways import RunContext, checked_url
from probes.config import Settings
from probes.config.settings import Intervals, Ssh
from probes.model import Host, Service, ServiceKind
from tests.support.http_standin import answer, stand_in
from tests.support.leaks import open_sockets, other_tasks, until
from tests.support.sshd import FakeHost, Keys, RealSshd, children_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

HOST = "127.0.0.5"


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


def context_of(host: Host, tcp_s: float = 1.0) -> RunContext:
    settings = Settings(hosts=(host,), ssh=Ssh(config_files=(), agent=False), intervals=Intervals(tcp_s=tcp_s))
    return RunContext(host, settings)


def closed_port() -> int:
    with socket.create_server((HOST, 0)) as sock:
        return sock.getsockname()[1]


def web(port: int, **over: Any) -> Service:
    return Service("web", port, ServiceKind.HTTP, **over)


@contextlib.asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    tasks, sockets = other_tasks(), open_sockets()
    yield
    await until(lambda: other_tasks() <= tasks and open_sockets() <= sockets)


async def refused(context: RunContext, service: Service | None, url: str | None = None) -> BenchError:
    with pytest.raises(BenchError) as caught:
        await context.endpoint(service, url)
    return caught.value


# --- directly ---


async def test_a_reachable_port_is_used_directly() -> None:
    async with nothing_left(), stand_in(answer("x")) as server:
        host = Host("h", "127.0.0.1", services=(web(server.port),))
        async with context_of(host) as context:
            endpoint = await context.endpoint(web(server.port, tls_verify=False), None)
            assert (endpoint.base_url, endpoint.via, endpoint.dial) == (
                f"http://127.0.0.1:{server.port}",
                "direct",
                None,
            )
            assert (endpoint.tunnel_ms, endpoint.tls_verify) == (None, False)
            async with Client(endpoint, concurrency=1, timeout_s=5) as client:
                assert (await client.send("GET", "/")).body == b"x"


async def test_the_address_is_that_of_ssh_config(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("Host gpu-1\n  HostName 127.0.0.1\n")
    host = Host("gpu-1", "gpu-1")
    settings = Settings(hosts=(host,), ssh=Ssh(config_files=(str(config),), agent=False))
    async with stand_in(answer("x")) as server, RunContext(host, settings) as context:
        endpoint = await context.endpoint(web(server.port, tls=True), None)
    assert endpoint.base_url == f"https://127.0.0.1:{server.port}"


async def test_this_machine_is_reached_at_localhost() -> None:
    host = Host("localhost", "localhost", local=True)
    async with stand_in(answer("x")) as server, context_of(host) as context:
        assert (await context.endpoint(web(server.port), None)).base_url == f"http://localhost:{server.port}"
        error = await refused(context, web(closed_port()))
    assert error.layer == "tcp"
    assert "refused from here" in error.cause
    assert error.cause.endswith("the service is down")
    with pytest.raises(BenchError, match="without SSH"):
        await context.ssh()


async def test_a_url_is_taken_as_it_is_given() -> None:
    async with context_of(Host("h", "127.0.0.1")) as context:
        endpoint = await context.endpoint(None, "https://voice.example/prefix")
    assert (endpoint.base_url, endpoint.via, endpoint.dial) == ("https://voice.example/prefix", "direct", None)


@pytest.mark.parametrize(
    "url",
    [
        "", "voice.example", "ftp://voice.example", "http://", "http://:80", "http://h:99999", "http://h:0", "http://[::1",
        "http://user:secret@h", "http://h/?a=1", "http://h/#x", "http://h/\x1b[0m", "http://h/a b",
    ],
)  # fmt: skip
def test_what_is_no_base_url(url: str) -> None:
    with pytest.raises(BenchError) as caught:
        checked_url(url)
    assert (caught.value.layer, caught.value.side) == ("plan", Side.CLIENT)
    assert caught.value.next_step
    assert "secret" not in str(caught.value)
    assert str(caught.value).isprintable()


# --- through a tunnel ---


async def test_a_port_of_the_hosts_own_is_reached_through_ssh(tmp_path: Path, keys: Keys) -> None:
    async with nothing_left(), stand_in(answer("x", "200 OK", "Connection: close"), asks=True) as server:
        async with FakeHost(tmp_path, keys, address=HOST) as fake:
            fake.forward = True
            async with context_of(fake.host()) as context:
                endpoint = await context.endpoint(web(server.port), None)
                assert (endpoint.base_url, endpoint.via) == (f"http://{HOST}:{server.port}", "ssh_tunnel")
                assert endpoint.tunnel_ms is not None
                assert endpoint.tunnel_ms > 0
                # one to see whether it opens, and at least five whose median is the latency
                assert len(fake.forwarded) >= 6
                async with Client(endpoint, concurrency=2, timeout_s=5) as client:
                    replies = await asyncio.gather(*(client.send("GET", "/") for _ in range(4)))
                assert [reply.body for reply in replies] == [b"x"] * 4
                assert f"host: {HOST}:{server.port}".encode() in server.requests[0].lower()
                again = await context.endpoint(web(server.port), None)
                assert (again.dial, fake.connections) == (endpoint.dial, 1)
                assert set(fake.forwarded) == {("localhost", server.port)}
            await until(lambda: server.held == 0)


@contextlib.contextmanager
def silent(port: int) -> Iterator[None]:
    """The same port of the host's outer address drops every SYN: its accept queue is full."""
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(socket.socket())
        sock.bind((HOST, port))
        sock.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex((HOST, port))
        yield


async def test_a_filtered_port_is_reached_through_ssh_or_both_causes_are_named(tmp_path: Path, keys: Keys) -> None:
    async with stand_in(answer("x")) as server, FakeHost(tmp_path, keys, address=HOST) as fake:
        with silent(server.port):
            fake.forward = True
            async with context_of(fake.host(), tcp_s=0.2) as context:
                assert (await context.endpoint(web(server.port), None)).via == "ssh_tunnel"
            fake.forward = asyncssh.ChannelOpenError(1, "no")
            async with context_of(fake.host(), tcp_s=0.2) as context:
                error = await refused(context, web(server.port))
    assert error.layer == "tcp"
    assert "is filtered from here (no answer" in error.cause
    assert "SSH cannot help: its sshd does not allow forwarding" in error.cause


async def test_a_jump_host_that_cannot_reach_the_host(tmp_path: Path, keys: Keys) -> None:
    async with FakeHost(tmp_path, keys, address=HOST) as fake:
        fake.forward = True
        spec = f"{fake.host().user}@{HOST}:{fake.port}"
        async with context_of(fake.host(proxy_jump=spec, address="127.0.0.6")) as context:
            error = await refused(context, web(closed_port()))
    # nobody listens for SSH at 127.0.0.6: the jump host says so
    assert error.layer == "tcp"
    assert f"not tried from here ({spec} leads to it)" in error.cause
    assert "no SSH leads there: tcp: the jump host could not reach 127.0.0.6" in error.cause


@pytest.mark.needs("sshd")
async def test_behind_a_jump_host_the_port_is_never_dialled_from_here(tmp_path: Path, keys: Keys) -> None:
    with RealSshd(tmp_path / "jump", keys) as jump, RealSshd(tmp_path / "target", keys, address=HOST) as target:
        known = tmp_path / "known"
        known.write_text(jump.known_hosts.read_text() + target.known_hosts.read_text())
        spec = f"{target.host().user}@{jump.address}:{jump.port}"
        host = target.host(proxy_jump=spec, known_hosts=(str(known),))
        async with nothing_left(), stand_in(answer("x"), host=HOST) as server:
            # it listens on the host's own address: localhost is refused, and the address is tried from the host
            async with context_of(host) as context:
                endpoint = await context.endpoint(web(server.port), None)
                assert endpoint.via == "ssh_tunnel"
                async with Client(endpoint, concurrency=1, timeout_s=5) as client:
                    assert (await client.send("GET", "/")).body == b"x"
            await until(lambda: not children_of(jump.pid) and not children_of(target.pid))


@pytest.mark.needs("sshd")
async def test_through_a_real_sshd_and_what_its_loss_means(tmp_path: Path, keys: Keys) -> None:
    with RealSshd(tmp_path / "sshd", keys, address=HOST) as sshd:
        async with nothing_left(), stand_in(answer("x", "200 OK", "Connection: close")) as server:
            async with context_of(sshd.host()) as context:
                endpoint = await context.endpoint(web(server.port), None)
                async with Client(endpoint, concurrency=1, timeout_s=5) as client:
                    assert (await client.send("GET", "/")).body == b"x"
                    ssh = await context.ssh()
                    sshd.kill_sessions()
                    await ssh.wait_closed()
                    with pytest.raises(CallFailed) as caught:
                        await client.send("GET", "/")
                    # the service is as well as ever: no grade may come of this
                    assert (caught.value.outcome, caught.value.side) == (Outcome.TRANSPORT, Side.CLIENT)
                    assert "tunnel is gone" in caught.value.detail
                # another run of the same job gets a new connection
                endpoint = await context.endpoint(web(server.port), None)
                async with Client(endpoint, concurrency=1, timeout_s=5) as client:
                    assert (await client.send("GET", "/")).body == b"x"


@pytest.mark.needs("sshd")
async def test_refused_inside_and_outside_is_down(tmp_path: Path, keys: Keys) -> None:
    with RealSshd(tmp_path / "sshd", keys, address=HOST) as sshd:
        async with context_of(sshd.host()) as context:
            error = await refused(context, web(closed_port()))
    assert error.layer == "tcp"
    assert "refused from here" in error.cause
    assert error.cause.endswith("refused on the host itself: the service is down")
    assert error.next_step.startswith("start web")


@pytest.mark.needs("sshd")
async def test_an_sshd_that_does_not_forward(tmp_path: Path, keys: Keys) -> None:
    with RealSshd(tmp_path / "sshd", keys, address=HOST, extra="AllowTcpForwarding no") as sshd:
        async with stand_in(answer("x")) as server, context_of(sshd.host()) as context:
            error = await refused(context, web(server.port))
    assert (error.layer, error.side) == ("tcp", Side.SERVER)
    assert "refused from here" in error.cause
    assert "SSH cannot help: its sshd does not allow forwarding" in error.cause
    assert "open the port to this machine" in error.next_step


async def test_hostile_words_of_a_refusal_are_harmless(tmp_path: Path, keys: Keys) -> None:
    async with FakeHost(tmp_path, keys, address=HOST) as fake:
        fake.forward = asyncssh.ChannelOpenError(4, "\x1b[31m[bold]no\u202e" + "x" * 5000)
        async with context_of(fake.host()) as context:
            error = await refused(context, web(closed_port()))
    assert "its sshd is short of resources: [31m[bold]no" in error.cause
    assert error.cause.isprintable()
    assert len(error.cause) < 400


# --- without SSH ---


async def test_an_unknown_host_key_is_named_with_both_causes(tmp_path: Path, keys: Keys) -> None:
    async with FakeHost(tmp_path, keys, address=HOST) as fake:
        fake.known_hosts.write_text("")
        async with nothing_left(), context_of(fake.host()) as context:
            error = await refused(context, web(closed_port()))
            with pytest.raises(BenchError) as caught:
                await context.ssh()
    assert (error.layer, error.side) == ("tcp", Side.CLIENT)
    assert "refused from here" in error.cause
    assert "no SSH leads there: host_key: " in error.cause
    assert error.next_step
    assert (caught.value.layer, caught.value.side) == ("ssh", Side.CLIENT)


async def test_connections_are_shared_only_where_that_is_asked_for(tmp_path: Path, keys: Keys) -> None:
    async with nothing_left(), FakeHost(tmp_path, keys, address=HOST) as fake:
        async with context_of(fake.host()) as context:
            first, same = await asyncio.gather(context.ssh(), context.ssh())
            other = await context.another_ssh()
            assert first is same
            assert other is not first
            assert fake.connections == 2
        assert first.is_closed()
        assert other.is_closed()


@pytest.mark.needs("sshd")
async def test_cancelled_in_the_middle_nothing_stays(tmp_path: Path, keys: Keys) -> None:
    """With a real sshd: asyncssh's own server forgets the far end of a channel whose connection is gone."""
    with RealSshd(tmp_path / "sshd", keys, address=HOST) as sshd:
        async with nothing_left(), stand_in(answer("x")) as server:

            async def run(stages: list[str]) -> None:
                stages.append("began")
                async with context_of(sshd.host()) as context:
                    await context.ssh()
                    stages.append("connected")
                    await context.endpoint(web(server.port), None)
                    stages.append("tunnel")
                    await asyncio.Event().wait()

            for reached, steps in itertools.product(("began", "connected", "tunnel"), range(0, 20, 2)):
                stages: list[str] = []
                running = asyncio.create_task(run(stages))
                while reached not in stages:
                    await asyncio.sleep(0)
                for _ in range(steps):
                    await asyncio.sleep(0.0005)
                running.cancel()
                async with asyncio.timeout(10):
                    await asyncio.wait({running})
            await until(lambda: server.held == 0 and not children_of(sshd.pid))
