from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any

import pytest

from probes.model import Health, Service, ServiceKind
from probes.reach.http import MAX_BODY_BYTES, Ask, HttpResult, Limits, http_check, user_agent
from probes.reach.kinds import expectation
from probes.reach.stream import SocketStream, TunnelStream
from probes.reach.tcp import tcp_connect
from tests.support import http_standin as standin
from tests.support.http_standin import answer, certificate, endless, says, stand_in

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.http_standin import Script

QUICK = Limits(tls_s=0.4, first_byte_s=0.4, total_s=0.8)
CALM = Limits()


async def check(
    port: int,
    service: Service | None = None,
    *,
    limits: Limits = CALM,
    context: ssl.SSLContext | None = None,
    name: str = "127.0.0.1",
) -> HttpResult:
    wanted = expectation(service or Service("web", port, ServiceKind.HTTP))
    assert wanted is not None
    result = await tcp_connect("127.0.0.1", port, 2.0)
    assert result.sock is not None
    return await http_check(SocketStream(result.sock), Ask(name, port, wanted, context), limits)


async def against(script: Script, service: Service | None = None, **options: Any) -> HttpResult:
    async with stand_in(script) as server:
        return await check(server.port, service, **options)


def kind(what: ServiceKind, **more: Any) -> Service:
    return Service("s", 1, what, **more)


def expecting(**json: Any) -> Service:
    return Service("s", 1, ServiceKind.HTTP, "/health", expect_json={k: tuple(v) for k, v in json.items()})


# --- what is sent ---


async def test_request_is_exactly_what_is_needed() -> None:
    async with stand_in(answer("ok")) as server:
        result = await check(server.port, Service("s", 1, ServiceKind.HTTP, "/a b/ü?q=1"), name="gpu-1")
    assert result.health is Health.OK, result
    lines = server.requests[0].decode("ascii").split("\r\n")
    assert lines[0] == "GET /a%20b/%C3%BC?q=1 HTTP/1.1"
    fields = {line.partition(": ")[0].lower(): line.partition(": ")[2] for line in lines[1:] if line}
    assert fields["host"] == f"gpu-1:{server.port}"
    assert fields["user-agent"] == user_agent()
    assert user_agent().startswith("quarterdeck/")
    assert fields["connection"] == "close"
    assert "origin" not in fields


async def test_a_path_cannot_break_out_of_its_line() -> None:
    async with stand_in(answer("ok")) as server:
        await check(server.port, Service("s", 1, ServiceKind.HTTP, "/a\r\nOrigin: x\r\n\r\n"), name="h\r\nX: y")
    lines = server.requests[0].decode("ascii").split("\r\n")
    assert lines[0] == "GET /a%0D%0AOrigin:%20x%0D%0A%0D%0A HTTP/1.1"
    assert [line.partition(":")[0] for line in lines[1:] if line] == [
        "Host",
        "User-Agent",
        "Accept",
        "Accept-Encoding",
        "Connection",
    ]


def test_host_header_of_ipv6_and_of_default_ports() -> None:
    wanted = expectation(kind(ServiceKind.HTTP))
    assert wanted is not None
    assert Ask("fe80::1%eth0", 8000, wanted).host_header == "[fe80::1]:8000"
    assert Ask("gpu", 80, wanted).host_header == "gpu"
    assert Ask("gpu", 443, wanted, ssl.create_default_context()).host_header == "gpu"


# --- kinds ---


async def test_healthy_services_of_each_kind_say_what_they_are() -> None:
    voicevox = await against(answer('"0.14.5"'), kind(ServiceKind.VOICEVOX))
    assert (voicevox.health, voicevox.detail) == (Health.OK, "200, version 0.14.5")
    native = '{"status":"healthy","service":"openvoice","version":"2.1","pytorch_device":"cuda:0"}'
    openvoice = await against(answer(native), kind(ServiceKind.OPENVOICE))
    assert (openvoice.health, openvoice.detail) == (Health.OK, '200, status "healthy", device cuda:0, version 2.1')
    other = await against(answer('{"status":"healthy","device":"cpu"}'), kind(ServiceKind.OPENVOICE))
    assert other.detail == '200, status "healthy", device cpu'
    models = await against(answer('{"data":[{"id":"llama-3.1-8b"}]}'), kind(ServiceKind.OPENAI))
    assert (models.health, models.detail) == (Health.OK, "200, 1 model: llama-3.1-8b")


async def test_200_is_not_health() -> None:
    not_ready = await against(answer('{"status":"initializing"}'), kind(ServiceKind.OPENVOICE))
    assert not_ready.health is Health.FAILING
    assert not_ready.detail == '200, but status is "initializing", expected "healthy"'
    sick = await against(answer('{"status":"unhealthy"}'), expecting(status=["healthy"]))
    assert sick.health is Health.FAILING
    assert '"unhealthy"' in sick.detail
    no_model = await against(answer('{"data":[]}'), kind(ServiceKind.OPENAI))
    assert no_model.health is Health.FAILING
    no_string = await against(answer('{"version":1}'), kind(ServiceKind.VOICEVOX))
    assert (no_string.health, "an object" in no_string.detail) == (Health.FAILING, True)


async def test_unexpected_status_names_it_and_the_first_line() -> None:
    result = await against(answer("\n\x1b[31mBackend\u202e fetch failed\nmore", "503 Service Unavailable"))
    assert result.health is Health.FAILING
    assert result.status == 503
    assert result.detail == '503 Service Unavailable, expected 200-399: "[31mBackend fetch failed"'


async def test_redirect_is_shown_and_not_followed() -> None:
    async with stand_in(answer("", "302 Found", "Location: https://elsewhere/")) as server:
        result = await check(server.port)
        strict = await check(server.port, Service("s", 1, ServiceKind.HTTP, expect_status=(200,)))
    assert (result.health, result.detail) == (Health.OK, "302 Found to https://elsewhere/, not followed")
    assert (strict.health, strict.status) == (Health.FAILING, 302)
    assert server.accepted == 2


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('{"a":{"b":null}}', "a.b is null, expected 1"),
        ('{"a":{}}', "a.b is absent, expected 1"),
        ('{"a":[1]}', "a.b is absent, expected 1"),
        ('{"a":{"b":true}}', "a.b is true, expected 1"),
        ('{"a":{"b":"1"}}', 'a.b is "1", expected 1'),
        ('{"a":{"b":{}}}', "a.b is an object, expected 1"),
        ("<html>no</html>", 'the body is not JSON: "<html>no</html>"'),
        ("", "the body is empty, not JSON"),
        ("[" * 100_000, "the body is not JSON"),
        (b"\xff\xfe\x00", "the body is not JSON"),
    ],
)
async def test_each_way_of_not_having_a_value_has_its_own_words(body: str | bytes, words: str) -> None:
    result = await against(answer(body), Service("s", 1, ServiceKind.HTTP, expect_json={"a.b": (1,)}))
    assert result.health is Health.FAILING
    assert words in result.detail


async def test_values_any_of_lists_null_and_keys_with_dots() -> None:
    service = expecting(**{"a.b": ["x", 2], "list.1.n": [None], "with.dot": [True]})
    result = await against(answer('{"a":{"b":2.0},"list":[0,{"n":null}],"with.dot":true}'), service)
    assert result.health is Health.OK, result.detail


async def test_compressed_body_is_said() -> None:
    result = await against(answer(b"\x1f\x8b", "200 OK", "Content-Encoding: gzip"), expecting(a=[1]))
    assert result.detail == "200, but the body is compressed (gzip) although we asked for plain"


# --- hostile and broken ---


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (standin.hang_up, "closed the connection without an answer"),
        (says(b"SSH-2.0-OpenSSH_9.2\r\n"), 'not HTTP: it answered "SSH-2.0-OpenSSH_9.2'),
        (says(b"\x00\xff\x1b]0;title\x07" * 50), "not HTTP: it answered"),
        (says(b"\x15\x03\x01\x00\x02\x02\x46"), "speaks TLS (https), but is configured as plain http"),
        (says(b"HTTP/1.1 200 OK\r\nbad header\x00\r\n\r\n"), "broken HTTP"),
        (endless(b"HTTP/1.1 200 OK\r\n", b"X-Pad: " + b"y" * 1000 + b"\r\n"), "headers longer than 64 KB"),
        (endless(b"HTTP/1.1 200 OK\r\nX: ", b"y" * 5000), "headers longer than 64 KB"),
        (endless(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"), "headers longer than 64 KB"),
        (answer('{"a":1', length=100), "the body broke off"),
    ],
)
async def test_broken_answers_are_named(script: Script, words: str) -> None:
    result = await against(script, expecting(a=[1]))
    assert result.health is Health.FAILING
    assert words in result.detail
    assert result.detail.isprintable()


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (standin.silence, "no answer within 0.4 s of the request"),
        (endless(b"HTTP/1.1 200 OK\r\nX: ", b"y", 0.05), "the answer was not complete within 0.8 s"),
        (endless(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", b"y", 0.05), "not complete within 0.8 s"),
        (endless(b"HTTP/1.1 103 Early Hints\r\n\r\n", b"", 0.05), "not complete within 0.8 s"),
    ],
)
async def test_slow_answers_end_in_time(script: Script, words: str) -> None:
    result = await against(script, expecting(a=[1]), limits=QUICK)
    assert result.health is Health.FAILING
    assert words in result.detail


async def test_body_without_end_is_cut() -> None:
    flood = endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536)
    judged = await against(flood, expecting(a=[1]))
    assert "longer than we read" in judged.detail
    assert (await against(flood)).health is Health.OK


async def test_body_that_nobody_needs_is_not_waited_for() -> None:
    result = await against(endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x", 0.05))
    assert (result.health, result.detail) == (Health.OK, "200 OK")


async def test_body_at_the_bound_is_still_judged() -> None:
    body = '{"a":1}'
    result = await against(answer(body + " " * (MAX_BODY_BYTES - len(body))), expecting(a=[1]))
    assert result.health is Health.OK, result.detail


async def test_cancelled_check_closes_its_connection() -> None:
    async with stand_in(standin.silence) as server:
        task = asyncio.create_task(check(server.port))
        await asyncio.wait_for(server.asked.wait(), 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(server.gone.wait(), 5)
        assert server.held == 0


# --- TLS ---


def trusting(pem: str) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=pem)


def _blind() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def test_tls_phases_and_trusted_certificate(tmp_path: Path) -> None:
    made = certificate(tmp_path)
    async with stand_in(answer('"1.0"'), tls=made.server) as server:
        result = await check(server.port, kind(ServiceKind.VOICEVOX), context=trusting(made.trusted))
    assert (result.health, result.detail) == (Health.OK, "200, version 1.0")
    assert set(result.phases_ms) == {"tls", "first_byte", "total"}
    assert result.phases_ms["total"] >= result.phases_ms["tls"] + result.phases_ms["first_byte"]


async def test_faults_of_a_certificate_are_named(tmp_path: Path) -> None:
    good, old = certificate(tmp_path), certificate(tmp_path, age_days=30)
    async with stand_in(answer("ok"), tls=good.server) as server:
        unknown = await check(server.port, context=ssl.create_default_context())
        other = await check(server.port, context=trusting(good.trusted), name="other.example")
        ignored = await check(server.port, context=_blind())
    async with stand_in(answer("ok"), tls=old.server) as server:
        expired = await check(server.port, context=trusting(old.trusted))
    assert unknown.detail == "TLS: the certificate is self-signed (tls_verify = false accepts it)"
    assert other.detail.startswith("TLS: the certificate is for another name than other.example")
    assert expired.detail.startswith("TLS: the certificate has expired")
    assert {unknown.health, other.health, expired.health} == {Health.FAILING}
    assert (ignored.health, ignored.detail) == (Health.OK, "200 OK (certificate not verified)")


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "speaks plain http, not https"),
        (says(b"SSH-2.0-OpenSSH_9.2\r\n"), 'does not speak TLS: it answered "SSH-2.0-OpenSSH_9.2'),
        (standin.hang_up, "TLS: closed during the handshake"),
        (says(b"\x15\x03\x01\x00\x02\x02\x28"), "TLS: "),
    ],
)
async def test_https_to_a_port_that_does_not_speak_it(script: Script, words: str) -> None:
    async with stand_in(script, asks=False) as server:
        result = await check(server.port, context=_blind())
    assert result.health is Health.FAILING
    assert words in result.detail


async def test_silent_handshake_ends_in_time() -> None:
    async with stand_in(standin.silence, asks=False) as server:
        result = await check(server.port, context=_blind(), limits=QUICK)
    assert result.detail.startswith("TLS: the handshake was not complete within 0.4 s")


async def test_plain_http_to_a_real_tls_port_is_said(tmp_path: Path) -> None:
    made = certificate(tmp_path)
    async with stand_in(answer("ok"), tls=made.server) as server:
        result = await check(server.port)
    assert result.health is Health.FAILING
    assert "speaks TLS" in result.detail or "closed the connection" in result.detail


# --- through a tunnel ---


async def test_tunnel_with_tls_over_it(tmp_path: Path) -> None:
    made = certificate(tmp_path)
    wanted = expectation(kind(ServiceKind.HTTP))
    assert wanted is not None
    async with stand_in(answer("ok"), tls=made.server) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        ask = Ask("127.0.0.1", server.port, wanted, trusting(made.trusted))
        result = await http_check(TunnelStream(reader, writer), ask, CALM)
        await writer.wait_closed()
    assert result.health is Health.OK, result.detail


async def test_error_of_the_tunnel_library_is_a_broken_connection() -> None:
    class Reader:
        async def read(self, _n: int = -1, /) -> bytes:
            raise RuntimeError("channel \x1b[2Jgone")

    class Writer:
        closed = False

        def write(self, data: bytes, /) -> None:
            assert data

        async def drain(self) -> None:
            return

        def close(self) -> None:
            self.closed = True

    wanted, writer = expectation(kind(ServiceKind.HTTP)), Writer()
    assert wanted is not None
    result = await http_check(TunnelStream(Reader(), writer), Ask("h", 80, wanted), CALM)
    assert result.detail == "the connection broke: tunnel: channel [2Jgone"
    assert writer.closed


# --- expectations ---


def test_kinds_without_a_question_have_none() -> None:
    assert expectation(kind(ServiceKind.TCP)) is None
    assert expectation(kind(ServiceKind.SSH)) is None


def test_configuration_wins_over_the_kind() -> None:
    behind_prefix = expectation(kind(ServiceKind.VOICEVOX, path="/tts/version"))
    elsewhere = expectation(kind(ServiceKind.VOICEVOX, path="/api/voicevox/health"))
    own = expectation(kind(ServiceKind.OPENVOICE, expect_json={"ready": (True,)}, expect_status=(204,)))
    assert behind_prefix is not None
    assert elsewhere is not None
    assert own is not None
    assert behind_prefix.wants_json
    assert not elsewhere.wants_json
    assert (own.json, own.statuses, own.path) == ({"ready": (True,)}, {204}, "/health")
