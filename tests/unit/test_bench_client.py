"""The HTTP client of the benchmarks against healthy, slow and hostile servers on loopback."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import os
import resource
import ssl
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.client import CallFailed, Client
from benchmarks.context import Endpoint
from benchmarks.http_failures import words_of
from benchmarks.model import Outcome, Side
from tests.support.http_standin import answer, certificate, endless, hang_up, says, silence, stand_in
from tests.support.leaks import open_sockets, other_tasks, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.http_standin import Script

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@asynccontextmanager
async def client_of(port: int, *, url: str = "http://127.0.0.1:{}", **over: Any) -> AsyncIterator[Client]:
    endpoint = Endpoint(url.format(port), **{k: over.pop(k) for k in ("tls_verify", "dial", "via") if k in over})
    options: dict[str, Any] = {"concurrency": 2, "timeout_s": 5.0, **over}
    async with Client(endpoint, **options) as client:
        yield client


async def failure(
    script: Script, path: str = "/", *, ok: Any = range(200, 300), asks: bool = True, **over: Any
) -> CallFailed:
    async with stand_in(script, asks=asks, tls=over.pop("tls", None)) as server:
        async with client_of(server.port, **over) as client:
            with pytest.raises(CallFailed) as caught:
                await client.send("GET", path, ok=ok)
            # one request is one request on the wire, whatever became of it
            assert server.accepted <= 1
            return caught.value


def keeps(*bodies: bytes, head: str = "") -> Script:
    """One answer after the other on the same connection, then the end as soon as a further request came."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for body in bodies:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(f"HTTP/1.1 200 OK\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        await reader.readuntil(b"\r\n\r\n")

    return script


# --- what is sent ---


async def test_a_request_on_the_wire() -> None:
    text = "こ& れ+"
    async with stand_in(answer('{"a": 1}', "200 OK", "X-Thing: one")) as server:
        async with client_of(
            server.port, url="http://localhost:{}/prefix/", headers={"X-Mine": "1", "Origin": "http://no"}
        ) as client:
            reply = await client.send("GET", "/a b?x=1", params={"text": text, "flag": True, "n": 2})
        assert (reply.status, reply.body, reply.headers["x-thing"]) == (200, b'{"a": 1}', "one")
        lines = server.requests[0].decode("ascii").split("\r\n")
        assert lines[0] == "GET /prefix/a%20b?x=1&text=%E3%81%93%26%20%E3%82%8C%2B&flag=true&n=2 HTTP/1.1"
        head = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)}
        assert head["host"] == f"localhost:{server.port}"
        assert head["x-mine"] == "1"
        assert not {"origin", "cookie", "authorization"} & set(head)


async def test_spans_and_moments_fit_together() -> None:
    async with stand_in(keeps(b"one", b"two"), asks=False) as server:
        async with client_of(server.port) as client:
            began_ns = time.perf_counter_ns()
            first = await client.send("GET", "/")
            second = await client.send("GET", "/")
        assert began_ns < first.sent_ns < first.first_byte_ns <= first.end_ns <= second.sent_ns
        assert set(first.spans) == {"connect", "first_byte", "body"}
        assert set(second.spans) == {"first_byte", "body"}  # no new connection, no connect
        assert first.spans["first_byte"] == (first.first_byte_ns - first.sent_ns) / 1e9
        assert server.accepted == 1


async def test_json_and_form_bodies() -> None:
    got: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(3):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line[16:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length: ")
            )
            got.append(head + await reader.readexactly(length))
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with stand_in(script, asks=False) as server, client_of(server.port) as client:
        await client.send("POST", "/", json={"text": "あ", "n": 1})
        await client.send("POST", "/", form={"text": "あ &", "speed": 1.5})
        reply = await client.send(
            "POST", "/", json=["x" * 2_000_000]
        )  # aiohttp warns of large bodies handed over whole
    assert (reply.status, reply.body) == (204, b"")
    assert json.loads(got[0].partition(b"\r\n\r\n")[2]) == {"text": "あ", "n": 1}
    assert b"application/json" in got[0]
    assert got[1].endswith(b"\r\n\r\ntext=%E3%81%82+%26&speed=1.5")
    assert b"application/x-www-form-urlencoded" in got[1]
    assert len(json.loads(got[2].partition(b"\r\n\r\n")[2])[0]) == 2_000_000


async def test_a_query_of_ten_thousand_characters() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += await reader.read(65536)
        count = head.split(b" ")[1].count(b"%E3%81%82")
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{count:05}".encode())

    async with stand_in(script, asks=False) as server, client_of(server.port) as client:
        assert (await client.send("POST", "/audio_query", params={"text": "あ" * 10_000})).body == b"10000"


async def test_cookies_are_not_kept_and_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    async with stand_in(answer("x", "200 OK", "Set-Cookie: a=b", "Connection: close")) as server:
        async with client_of(server.port) as client:
            await client.send("GET", "/")
            await client.send("GET", "/")
        assert b"cookie" not in server.requests[1].lower()


async def test_a_tunnel_keeps_host_and_server_name(tmp_path: Path) -> None:
    pems = certificate(tmp_path, name="gpu.example")
    seen: list[str | None] = []
    pems.server.sni_callback = lambda _socket, name, _context: seen.append(name)
    async with stand_in(answer("x"), tls=pems.server) as server:
        url = "https://gpu.example:8443/voice"
        async with client_of(server.port, url=url, dial=("127.0.0.1", server.port), tls_verify=False) as client:
            reply = await client.send("GET", "/version")
        assert reply.spans["connect"] > reply.spans["tls"] > 0
        assert server.requests[0].startswith(b"GET /voice/version ")
        assert b"host: gpu.example:8443\r\n" in server.requests[0].lower()
        assert seen == ["gpu.example"]


async def test_a_tunnel_that_is_gone_is_ours() -> None:
    async with stand_in(hang_up) as server:
        pass
    async with client_of(0, url="http://gpu.example:80", dial=("127.0.0.1", server.port), via="ssh_tunnel") as client:
        with pytest.raises(CallFailed, match="tunnel is gone") as caught:
            await client.send("GET", "/")
    assert (caught.value.outcome, caught.value.side) == (Outcome.TRANSPORT, Side.CLIENT)


# --- the pool ---


async def test_never_more_connections_than_slots() -> None:
    most = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal most
        while await reader.readuntil(b"\r\n\r\n"):
            most = max(most, server.held)
            await asyncio.sleep(0.01)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")

    async with stand_in(script, asks=False) as server, client_of(server.port, concurrency=3) as client:
        replies = await asyncio.gather(*(client.send("GET", "/") for _ in range(30)))
    assert most == server.accepted == 3
    assert sum("connect" in reply.spans for reply in replies) == 3
    assert sum("wait" in reply.spans for reply in replies) == 27


async def test_a_connection_closed_while_idle_is_not_used_again() -> None:
    async with stand_in(answer("x")) as server, client_of(server.port) as client:
        await client.send("GET", "/")
        await until(lambda: server.held == 0)
        await asyncio.sleep(0)  # the loop hears of the end
        assert (await client.send("GET", "/")).body == b"x"
        assert (server.accepted, len(server.requests)) == (2, 2)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_nothing_is_sent_twice_when_a_kept_connection_is_closed(method: str) -> None:
    """aiohttp would send a GET again by itself: it would be one sample, and two requests on the wire."""
    async with stand_in(keeps(b"one"), asks=False) as server, client_of(server.port) as client:
        await client.send(method, "/")
        with pytest.raises(CallFailed) as caught:
            await client.send(method, "/")
        await asyncio.sleep(0.05)
        assert server.accepted == 1
    assert (caught.value.outcome, caught.value.side) == (Outcome.TRANSPORT, Side.SERVER)
    assert caught.value.detail == (
        "the kept connection was closed without an answer; perhaps just as the request was sent (it is never sent twice)"
    )


# --- failures ---


async def test_refused_and_unresolved() -> None:
    async with stand_in(hang_up) as server:
        pass
    async with client_of(server.port) as client:
        with pytest.raises(CallFailed) as caught:
            await client.send("GET", "/")
    assert (caught.value.outcome, caught.value.side) == (Outcome.TRANSPORT, Side.SERVER)
    assert caught.value.detail == "not connected: Connection refused"
    assert caught.value.sent_ns is None


async def test_a_name_without_an_address_keeps_its_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def lookup(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "nothing")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    async with client_of(80, url="http://nowhere.invalid:{}") as client:
        with pytest.raises(CallFailed) as caught:
            await client.send("GET", "/")
    assert (caught.value.outcome, caught.value.detail) == (Outcome.TRANSPORT, "there is no name nowhere.invalid")


async def test_no_file_descriptor_left_is_our_fault() -> None:
    async with stand_in(answer("x")) as server, client_of(server.port) as client:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        lowest_free = os.dup(0)
        os.close(lowest_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
        try:
            with pytest.raises(CallFailed) as caught:
                await client.send("GET", "/")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (caught.value.outcome, caught.value.side) == (Outcome.TRANSPORT, Side.CLIENT)
    assert "Too many open files" in caught.value.detail


async def test_slow_heads_and_silent_servers_time_out() -> None:
    late = await failure(endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", 0.02), first_byte_timeout_s=0.2)
    assert (late.outcome, late.detail) == (Outcome.TIMEOUT, "no answer within 0.2 s of sending")
    mute = await failure(silence, timeout_s=0.2)
    assert (mute.outcome, mute.side, mute.detail) == (Outcome.TIMEOUT, Side.SERVER, "no answer within 0.2 s of sending")
    assert mute.sent_ns is not None
    drip = await failure(endless(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"x", 0.02), timeout_s=0.3)
    assert (drip.outcome, drip.detail, drip.status) == (
        Outcome.TIMEOUT,
        "the answer was not complete within 0.3 s",
        None,
    )


async def test_a_tls_port_that_says_nothing_times_out_as_not_connected() -> None:
    mute = await failure(silence, asks=False, url="https://127.0.0.1:{}", connect_timeout_s=0.2)
    assert (mute.outcome, mute.detail) == (Outcome.TIMEOUT, "not connected within 0.2 s")


async def test_waiting_for_a_connection_counts() -> None:
    async with stand_in(silence) as server, client_of(server.port, concurrency=1) as client:
        holding = asyncio.create_task(client.send("GET", "/"))
        await server.asked.wait()
        client.timeout_s = 0.1
        with pytest.raises(CallFailed) as caught:
            await client.send("GET", "/")
        assert (caught.value.outcome, caught.value.detail) == (Outcome.TIMEOUT, "no free connection within 0.1 s")
        assert len(server.requests) == 1
        holding.cancel()
        await asyncio.wait({holding})


@pytest.mark.parametrize(
    ("script", "outcome", "detail"),
    [
        (hang_up, Outcome.TRANSPORT, "the connection was closed without an answer"),
        (answer("abc", length=10), Outcome.TRANSPORT, "the answer ended after 3 of 10 bytes"),
        (says(CHUNKED + b"5\r\nabc"), Outcome.TRANSPORT, "the answer ended after 3 bytes, before its last chunk"),
        (answer("abc", length=2 * 10**9), Outcome.INVALID_BODY, "answer larger than 1 MiB"),
        (endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536), Outcome.INVALID_BODY, "answer larger than 1 MiB"),
        (endless(CHUNKED, b"10000\r\n" + b"x" * 65536 + b"\r\n"), Outcome.INVALID_BODY, "answer larger than 1 MiB"),
        (
            answer(gzip.compress(bytes(50_000_000)), "200 OK", "Content-Encoding: gzip"),
            Outcome.INVALID_BODY,
            "answer larger than 1 MiB",
        ),
    ],
)  # fmt: skip
async def test_broken_and_endless_answers(script: Script, outcome: Outcome, detail: str) -> None:
    failed = await failure(script, max_bytes=2**20)
    assert (failed.outcome, failed.side, failed.detail) == (outcome, Side.SERVER, detail)
    done = failed.done()
    assert (done.outcome, done.detail, done.values) == (outcome, detail, {})
    assert done.sent_ns == failed.sent_ns
    assert done.sent_ns is not None


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"\x00\xff" * 100,
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * 20_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 10_000 + b"\r\n",
        CHUNKED + b"zz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
    ],
)
async def test_garbage_is_named_and_harmless(raw: bytes) -> None:
    failed = await failure(says(raw))
    assert failed.outcome is Outcome.TRANSPORT
    assert failed.detail.startswith(("the answer is not proper HTTP: ", "the connection was closed"))
    assert failed.detail.isprintable()
    assert len(failed.detail) < 200


async def test_tls_is_verified_unless_told_otherwise(tmp_path: Path) -> None:
    pems = certificate(tmp_path)
    failed = await failure(answer("x"), tls=pems.server, url="https://localhost:{}")
    assert (failed.outcome, failed.side) == (Outcome.TRANSPORT, Side.SERVER)
    assert failed.detail == "TLS: the certificate is self-signed (tls_verify = false accepts it)"
    async with stand_in(answer("x"), tls=pems.server) as server:
        async with client_of(server.port, url="https://localhost:{}", tls_verify=False) as client:
            assert (await client.send("GET", "/")).spans["tls"] > 0
            assert (await client.send("GET", "/")).spans["tls"] > 0


async def test_a_certificate_for_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pems = certificate(tmp_path, name="other.example", address="127.0.0.9")
    made = ssl.create_default_context
    monkeypatch.setattr(ssl, "create_default_context", lambda: made(cadata=pems.trusted))
    failed = await failure(answer("x"), tls=pems.server, url="https://127.0.0.1:{}")
    assert failed.detail == "TLS: the certificate is for another address than 127.0.0.1 (tls_verify = false accepts it)"


async def test_https_to_a_port_without_tls() -> None:
    failed = await failure(says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), asks=False, url="https://127.0.0.1:{}")
    assert failed.detail == "the port does not speak TLS (is the URL http, or tls = false missing?)"


@pytest.mark.parametrize(
    ("status", "side"),
    [
        ("400 Bad Request", Side.CLIENT),
        ("404 Not Found", Side.CLIENT),
        ("422 Unprocessable Entity", Side.CLIENT),
        ("408 Request Timeout", Side.SERVER),
        ("425 Too Early", Side.SERVER),
        ("429 Too Many Requests", Side.SERVER),
        ("500 Oops", Side.SERVER),
        ("503 Busy", Side.SERVER),
        ("201 Created", Side.SERVER),
    ],
)
async def test_whose_fault_a_status_is(status: str, side: Side) -> None:
    failed = await failure(answer('{"detail": "no such [style]"}', status), ok={200})
    assert (failed.outcome, failed.side, failed.status) == (Outcome.HTTP_ERROR, side, int(status[:3]))
    assert failed.detail == f"HTTP {status[:3]}: no such [style]"


async def test_when_to_come_again_is_said_and_not_waited_for() -> None:
    failed = await failure(answer('{"detail": "full"}', "429 Too Many Requests", "Retry-After: 3600\x01"))
    assert failed.detail == "HTTP 429: full (Retry-After: 3600)"


async def test_a_redirect_is_not_followed() -> None:
    failed = await failure(answer("", "302 Found", "Location: http://127.0.0.1:1/login?token=secret"))
    assert (failed.outcome, failed.side) == (Outcome.HTTP_ERROR, Side.CLIENT)
    assert failed.detail == "HTTP 302: redirects to http://127.0.0.1:1/login (not followed: give that URL)"


async def test_an_error_whose_body_never_ends_is_said_in_time() -> None:
    failed = await failure(endless(b"HTTP/1.1 500 No\r\n\r\n", b"out of memory\n" * 1000))
    assert failed.detail == "HTTP 500: out of memory"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"detail": [{"loc": ["body"], "msg": "field required"}]}', "field required"),
        (b'{"message": "bad style"}', "bad style"),
        (b'{"error": {"message": "model not found", "code": 3}}', "model not found"),
        (b'{"detail": "\\u001b[31mred\\u0007 [bold]x[/bold]"}', "[31mred [bold]x[/bold]"),
        (b"\n  <b>plain</b>\nmore", "<b>plain</b>"),
        (b'{"detail": {"a": [1]}}', ""),
        (b"[" * 100_000, "[" * 199 + "…"),
        (b"\xff\xfe", "��"),
        (b"", ""),
        (b"7", "7"),
    ],
)  # fmt: skip
def test_the_words_of_an_error(body: bytes, words: str) -> None:
    assert words_of(body) == words


# --- streams ---


async def test_chunks_as_they_arrive() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED)
        for part in (b"one", b"two"):
            await go.acquire()
            writer.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        writer.write(b"0\r\n\r\n")
        await reader.read()

    go = asyncio.Semaphore(0)
    async with stand_in(script) as server, client_of(server.port) as client:
        got: list[tuple[bytes, int]] = []
        async with client.stream("POST", "/", json={}) as streaming:
            assert (streaming.status, streaming.headers["transfer-encoding"]) == (200, "chunked")
            go.release()
            async for chunk, at_ns in streaming:
                got.append((chunk, at_ns))
                go.release()
        assert [chunk for chunk, _ in got] == [b"one", b"two"]
        assert streaming.sent_ns < streaming.first_byte_ns < got[0][1] < got[1][1]
        assert set(streaming.spans) == {"connect", "first_byte", "body"}


async def read_all(client: Client) -> None:
    async with client.stream("GET", "/") as streaming:
        async for _ in streaming:
            pass


async def test_streams_fail_like_requests() -> None:
    cases: list[tuple[Script, Outcome, str]] = [
        (says(CHUNKED + b"3\r\nabc\r\n"), Outcome.TRANSPORT, "the answer ended after 3 bytes, before its last chunk"),
        (endless(CHUNKED, b"10000\r\n" + b"x" * 65536 + b"\r\n"), Outcome.INVALID_BODY, "answer larger than 1 MiB"),
        (endless(CHUNKED, b"1\r\nx\r\n", 0.05), Outcome.TIMEOUT, "the answer was not complete within 0.4 s"),
        (answer("{}", "503 Busy"), Outcome.HTTP_ERROR, "HTTP 503: Busy"),
    ]  # fmt: skip
    for script, outcome, detail in cases:
        async with stand_in(script) as server, client_of(server.port, max_bytes=2**20, timeout_s=0.4) as client:
            with pytest.raises(CallFailed) as caught:
                await read_all(client)
            assert (caught.value.outcome, caught.value.detail) == (outcome, detail)


async def test_an_error_of_the_caller_is_the_callers() -> None:
    async with stand_in(endless(CHUNKED, b"1\r\nx\r\n", 0.01)) as server, client_of(server.port) as client:
        for error in (TimeoutError("mine"), OSError("mine"), ValueError("mine")):
            with pytest.raises(type(error), match="mine"):
                async with client.stream("GET", "/"):
                    raise error


async def test_a_stream_that_is_left_early_costs_its_connection() -> None:
    async with stand_in(endless(CHUNKED, b"1\r\nx\r\n", 0.01)) as server, client_of(server.port) as client:
        async with client.stream("GET", "/") as streaming:
            async for _ in streaming:
                break
        await until(lambda: server.held == 0)


# --- nothing is left behind ---


async def test_cancelled_mid_body_leaves_no_connection_and_no_task() -> None:
    async with stand_in(endless(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n", b"x" * 100, 0.01)) as server:
        tasks, sockets = other_tasks(), open_sockets()
        async with client_of(server.port) as client:
            sending = [asyncio.create_task(client.send("GET", "/")) for _ in range(2)]
            await until(lambda: server.accepted == 2)
            await asyncio.sleep(0.05)
            for task in sending:
                task.cancel()
            await asyncio.wait(sending)
            assert all(task.cancelled() for task in sending)
            await until(lambda: server.held == 0)
        gc.collect()
        await until(lambda: other_tasks() == tasks and open_sockets() <= sockets)


async def test_closing_with_requests_on_their_way_is_quick_and_clean() -> None:
    async with stand_in(silence) as server:
        tasks, sockets = other_tasks(), open_sockets()
        async with client_of(server.port) as client:
            sending = asyncio.create_task(client.send("GET", "/"))
            await server.asked.wait()
        with pytest.raises(CallFailed):
            await sending
        await until(lambda: server.held == 0)
        await until(lambda: other_tasks() == tasks and open_sockets() <= sockets)
