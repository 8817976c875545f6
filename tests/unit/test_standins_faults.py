"""What a stand-in does when it is told to misbehave, and that nothing a client does breaks it."""

from __future__ import annotations

import asyncio
import http.client
import json
import ssl
import subprocess
import sys

import pytest

from probes.demo.voices import Behaviour, OpenAi, OpenVoice, Pages, Voicevox, serve
from probes.demo.voices.ledger import KEPT, Ledger
from probes.demo.voices.process import KINDS, start
from tests.support.http_standin import certificate
from tests.support.standins import LIMIT_S, ask, frames_of, query, say, until

CHAT = {"model": "demo-8b", "messages": [{"role": "user", "content": "why?"}], "stream": True}


async def talk(port: int, raw: bytes, *, until_end: bool = True) -> bytes:
    """What comes back for some bytes."""
    async with asyncio.timeout(LIMIT_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(raw)
            return await (reader.read() if until_end else reader.readuntil(b"\r\n\r\n"))
        finally:
            writer.close()
            await writer.wait_closed()


async def test_errors_by_number_are_work_alone_and_come_with_their_headers():
    async with serve(Voicevox()) as running:
        body = await query(running, "はい")
        running.service.behave(error_numbers=(1, 3), error_status=429, retry_after_s=7)
        answers = []
        for _ in range(5):
            answers.append(await ask(running, "POST", "/synthesis?speaker=8", body))
            assert (await ask(running, "GET", "/version")).status == 200
        assert [answer.status for answer in answers] == [200, 429, 200, 429, 200]
        assert answers[1].headers["retry-after"] == "7"
        assert "retry-after" not in answers[0].headers


async def test_an_error_may_be_no_answer_but_a_reset():
    async with serve(Voicevox(Behaviour(error_numbers=(0,), error_status=0))) as running:
        with pytest.raises(ConnectionResetError):
            await say(running, "はい")
        assert (await say(running, "はい")).status == 200


async def test_a_reply_without_its_finish_reason():
    async with serve(OpenAi(Behaviour(finish=False, reply_tokens=3))) as running:
        stream = await ask(running, "POST", "/v1/chat/completions", CHAT)
        whole = await ask(running, "POST", "/v1/chat/completions", CHAT | {"stream": False})
    assert stream.body.count(b'"finish_reason": null') == stream.body.count(b"finish_reason") == 4
    assert whole.json()["choices"][0]["finish_reason"] is None


async def test_it_speaks_tls_too(tmp_path):
    pems = certificate(tmp_path)
    async with serve(Voicevox(), tls=pems.server) as running:
        assert running.url == f"https://127.0.0.1:{running.port}"
        async with asyncio.timeout(LIMIT_S):
            trusting = ssl.create_default_context(cadata=pems.trusted)
            reader, writer = await asyncio.open_connection("127.0.0.1", running.port, ssl=trusting)
            writer.write(b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert (await reader.read()).endswith(b'"0.24.1"')
            writer.close()
            await writer.wait_closed()
            with pytest.raises(ssl.SSLCertVerificationError):
                await asyncio.open_connection("127.0.0.1", running.port, ssl=ssl.create_default_context())
        assert running.service.ledger.total == 1


async def test_in_scope_all_every_route_is_faulty():
    async with serve(Pages(Behaviour(scope="all", error_share=1.0, error_status=502))) as running:
        answer = await ask(running, "GET", "/")
        assert (answer.status, answer.json()) == (502, {"detail": "upstream did not answer"})


async def test_it_dies_after_so_much_work():
    async with serve(Voicevox()) as running:
        body = await query(running, "はい")
        running.service.behave(dies_after=2)
        for _ in range(2):
            assert (await ask(running, "POST", "/synthesis?speaker=8", body)).status == 200
        idle = http.client.HTTPConnection("127.0.0.1", running.port, timeout=LIMIT_S)
        await asyncio.to_thread(idle.request, "GET", "/version")
        assert (await asyncio.to_thread(idle.getresponse)).read() == b'"0.24.1"'
        with pytest.raises(ConnectionResetError):
            await ask(running, "POST", "/synthesis?speaker=8", body)
        with pytest.raises(ConnectionRefusedError):
            await ask(running, "GET", "/version")
        with pytest.raises(ConnectionResetError):
            await asyncio.to_thread(idle.sock.recv, 1)
        idle.close()


async def test_200_with_an_error_in_it():
    async with serve(OpenVoice(Behaviour(ok_error_body=True))) as running:
        body = b"text=a&voice_profile_id=a41b77c0"
        kind = "application/x-www-form-urlencoded"
        answer = await ask(running, "POST", "/voice-clone/synthesize", body, Content_Type=kind)
        assert (answer.status, answer.json()["success"], answer.json()["audio_data"]) == (200, False, None)
    async with serve(Voicevox(Behaviour(ok_error_body=True))) as running:
        answer = await say(running, "はい")
        assert (answer.status, answer.json()) == (200, {"detail": "CUDA out of memory"})
    async with serve(OpenAi(Behaviour(ok_error_body=True))) as running:
        answer = await ask(running, "POST", "/v1/chat/completions", CHAT)
        assert (answer.status, "error" in answer.json()) == (200, True)


async def test_audio_can_be_wrong_in_every_way_while_running():
    async with serve(Voicevox()) as running:
        good = (await say(running, "はい")).body
        for kind in ("silence", "same", "truncated", "no_frames", "garbage"):
            running.service.behave(audio=kind)
            assert (await say(running, "はい")).body != good
        running.service.behave(audio="same")
        assert (await say(running, "はい")).body == (await say(running, "いいえ", 21)).body
        running.service.behave(audio="speech")
        assert frames_of((await say(running, "はい")).body) == frames_of(good)


@pytest.mark.parametrize(("flood", "length"), [("endless", None), ("huge", "2147483648")])
async def test_a_body_that_nobody_wants_goes_on_until_the_client_leaves(flood, length):
    async with serve(Voicevox()) as running:
        body = await query(running, "はい")
        running.service.behave(flood=flood)
        async with asyncio.timeout(LIMIT_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
            writer.write(
                b"POST /synthesis?speaker=8 HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
            )
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            await reader.readexactly(3_000_000)
        writer.transport.abort()
        await until(lambda: running.service.ledger.in_flight == 0)
    assert (f"content-length: {length}" in head) is (length is not None)
    assert ("transfer-encoding: chunked" in head) is (length is None)


async def test_a_stream_drops_within_a_token_and_a_whole_body_in_its_middle():
    async with serve(OpenAi(Behaviour(drops_after=3))) as running:
        with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
            await ask(running, "POST", "/v1/chat/completions", CHAT)
        assert len(running.requests[-1].sent_s) == 4
    async with serve(Voicevox(Behaviour(drops_after=0))) as running:
        with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
            await say(running, "はい")


async def test_held_work_waits_and_is_counted():
    async with serve(Voicevox()) as running:
        body = await query(running, "はい")
        running.service.behave(held=True)
        tasks = [asyncio.create_task(ask(running, "POST", "/synthesis?speaker=8", body)) for _ in range(4)]
        ledger = running.service.ledger
        await until(lambda: ledger.working == 4)
        assert (await ask(running, "GET", "/version")).status == 200
        assert (ledger.in_flight, ledger.works, ledger.working_peak) == (4, 4, 4)
        assert ledger.by_route == {"POST /audio_query": 1, "POST /synthesis": 4, "GET /version": 1}
        running.service.behave(held=False)
        assert [(await task).status for task in tasks] == [200] * 4
        assert (ledger.working, ledger.in_flight) == (0, 0)


def test_the_ledger_is_bounded():
    ledger = Ledger()
    for number in range(KEPT + 5):
        ledger.end(ledger.begin("GET /", float(number)), float(number))
    assert (len(ledger.asked), ledger.total, ledger.peak) == (KEPT, KEPT + 5, 1)


async def test_connections_are_kept_and_closed_as_told():
    async with serve(Voicevox()) as running:
        raw = b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n"
        both = await talk(running.port, raw + raw.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert both.count(b'"0.24.1"') == 2
        assert both.lower().count(b"connection: keep-alive") == both.lower().count(b"connection: close") == 1
        running.service.behave(requests_per_connection=2)
        assert (await talk(running.port, raw * 5)).count(b'"0.24.1"') == 2
        running.service.behave(keep_alive_s=0.05)
        assert (await talk(running.port, raw.replace(b"x", b"y"))).count(b'"0.24.1"') == 1
        assert running.service.ledger.connections == 3


async def test_http_1_0_head_expect_and_chunked_requests_are_understood():
    async with serve(OpenAi(Behaviour(reply_tokens=2))) as running:
        old = await talk(running.port, b"GET /v1/models HTTP/1.0\r\n\r\n")
        assert b"connection: close" in old
        kept = await talk(running.port, b"GET /v1/models HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", until_end=False)
        assert b"connection: keep-alive" in kept
        head = await talk(running.port, b"HEAD /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 405 ")
        assert head.endswith(b"\r\n\r\n")
        body = json.dumps(CHAT).encode()
        expecting = b"POST /v1/chat/completions HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n%b"
        streamed = await talk(running.port, expecting % (len(body), body))
        assert streamed.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
        assert b"chunked" not in streamed
        assert streamed.endswith(b"data: [DONE]\n\n")
        pieces = b"%x\r\n%b\r\n%x;why=not\r\n%b\r\n0\r\nX: y\r\n\r\n" % (9, body[:9], len(body) - 9, body[9:])
        chunked = (
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        assert b"data: [DONE]" in await talk(running.port, chunked + pieces)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"\x16\x03\x01\x02\x00\r\n\r\n", b"400"),
        (b"GET / HTTP/2\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 200 + b"\r\n", b"400"),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n", b"413"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n", b"413"),
    ],
)
async def test_what_is_no_request_is_refused_and_nothing_breaks(raw, status):
    async with serve(Voicevox()) as running:
        try:
            said = await talk(running.port, raw)
        except ConnectionResetError:
            said = b"HTTP/1.1 " + status  # it closed with bytes of ours unread
        assert said.startswith(b"HTTP/1.1 " + status)
        assert (await ask(running, "GET", "/version")).status == 200
        assert running.service.ledger.by_route["-"] == 1


async def test_a_client_that_leaves_while_it_is_served_breaks_nothing():
    async with serve(Voicevox(Behaviour(held=True))) as running:
        body = await query(running, "はい")
        async with asyncio.timeout(LIMIT_S):
            _, writer = await asyncio.open_connection("127.0.0.1", running.port)
            writer.write(
                b"POST /synthesis?speaker=8 HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
            )
        await until(lambda: running.service.ledger.working == 1)
        writer.transport.abort()
        running.service.behave(held=False)
        await until(lambda: running.service.ledger.working == 0)
        assert (await say(running, "はい")).status == 200


async def test_at_the_end_the_port_is_free_and_what_waited_is_reset():
    async with serve(Voicevox()) as running:
        body = await query(running, "はい")
        running.service.behave(held=True)
        task = asyncio.create_task(ask(running, "POST", "/synthesis?speaker=8", body))
        await until(lambda: running.service.ledger.working == 1)
    with pytest.raises(ConnectionResetError):
        await task
    async with serve(Voicevox(), port=running.port) as again:
        assert (await ask(again, "GET", "/version")).status == 200


def test_behaviour_refuses_what_it_does_not_know():
    with pytest.raises(TypeError):
        Voicevox().behave(delay_ms=5)


# --- a process of its own ---


def test_a_stand_in_in_its_own_process_is_told_and_asked():
    with start("voicevox", Behaviour(error_share=1.0)) as process:
        connection = http.client.HTTPConnection(process.address, process.port, timeout=LIMIT_S)
        connection.request("POST", "/synthesis?speaker=8", b"{}")
        answer = connection.getresponse()
        assert (answer.status, bool(answer.read())) == (500, True)
        process.behave(error_share=0.0)
        connection.request("POST", "/synthesis?speaker=8", b"{}")
        answer = connection.getresponse()
        assert (answer.status, bool(answer.read())) == (422, True)
        counts = process.counts()
        assert (counts["works"], counts["by_route"], counts["open_connections"]) == (2, {"POST /synthesis": 2}, 1)
        with pytest.raises(ValueError, match="unknown field `nothing`"):
            process.behave(nothing=1)
        connection.close()


def test_the_process_ends_with_its_stdin_and_takes_a_delay():
    program = [sys.executable, "-m", "probes.demo.voices", "--kind", "openai", "--port", "0", "--delay-ms", "50"]
    done = subprocess.run(program, input=b"", capture_output=True, timeout=30, check=True)
    said = json.loads(done.stdout)
    assert (said["address"], said["port"] > 0, done.stderr) == ("127.0.0.1", True, b"")


@pytest.mark.parametrize("options", [["--kind", "nothing"], ["--kind", "openai", "--behaviour", '{"x":1}']])
def test_the_process_refuses_what_it_does_not_know(options):
    program = [sys.executable, "-m", "probes.demo.voices", *options]
    done = subprocess.run(program, input=b"", capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (2, b"")


def test_every_kind_can_be_made():
    assert {kind: type(make(Behaviour())).__name__ for kind, make in KINDS.items()} == {
        "voicevox": "Voicevox",
        "voicevox-mock": "Voicevox",
        "openvoice": "OpenVoice",
        "openvoice-ec2": "OpenVoice",
        "openvoice-successor": "OpenVoice",
        "backend": "Backend",
        "openai": "OpenAi",
        "pages": "Pages",
        "stranger": "Stranger",
    }
