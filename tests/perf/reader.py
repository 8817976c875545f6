"""The bare asyncssh reader that the watcher is compared with: connect, start the stream, count lines, nothing else.

``python -m tests.perf.reader FILE`` where FILE is JSON: hosts (address, port), user, identity, known_hosts (address to
line), seconds, settle_s, concurrency. Prints how long it took until every host had sent its first sample, and the CPU
each line cost afterwards. It uses the same algorithms, the raw session callback and the same heartbeats as the watcher;
it decodes nothing, stores nothing and shows nothing.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import asyncssh

from probes.hosts import bootstrap

_HEARTBEAT_S = 5.0


class Lines(asyncssh.SSHClientSession[bytes]):
    """One host's stream: marker, payload, then counting."""

    def __init__(self, reader: Reader, nonce: str) -> None:
        self._reader = reader
        self._nonce = nonce
        self._rest = b""
        self._booted = False
        self._channel: Any = None
        self.first = asyncio.get_running_loop().create_future()

    def connection_made(self, chan: Any) -> None:
        self._channel = chan

    def data_received(self, data: bytes, datatype: int | None) -> None:
        del datatype
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if not self._booted:
            if any(bootstrap.parse_marker(line, self._nonce) for line in lines):
                self._booted = True
                self._channel.write(self._reader.payload + b"h 1\n")
            return
        self._reader.lines += len(lines)
        if not self.first.done() and any(b'"t":"s"' in line for line in lines):
            self.first.set_result(None)

    def heartbeat(self, token: int) -> None:
        self._channel.write(b"h %d\n" % token)


class Reader:
    """All connections of the bare reader."""

    def __init__(self, wanted: dict[str, Any]) -> None:
        self._wanted = wanted
        self.payload = bootstrap.payload("python", 1.0)
        self.lines = 0
        self._connections: list[Any] = []
        self._streams: list[Lines] = []
        self._keys = [asyncssh.read_private_key(wanted["identity"])]
        self._gate = asyncio.Semaphore(wanted["concurrency"])

    async def run(self) -> dict[str, Any]:
        start_s, start_cpu_s = time.perf_counter(), _cpu_s()
        await asyncio.gather(*(self._connect(host) for host in self._wanted["hosts"]))
        connected_s = time.perf_counter() - start_s
        connecting_cpu_s = _cpu_s() - start_cpu_s
        beating = asyncio.create_task(self._beat())
        await asyncio.sleep(self._wanted["settle_s"])
        cpu_s, lines, at_s = _cpu_s(), self.lines, time.perf_counter()
        await asyncio.sleep(self._wanted["seconds"])
        cpu_s, lines, took_s = _cpu_s() - cpu_s, self.lines - lines, time.perf_counter() - at_s
        beating.cancel()
        for connection in self._connections:
            connection.abort()
        return {
            "hosts": len(self._connections),
            "all_sampled_s": round(connected_s, 3),
            "connecting_cpu_s": round(connecting_cpu_s, 3),
            "lines": lines,
            "lines_per_s": round(lines / took_s, 1) if took_s else None,
            "cpu_pct": round(cpu_s / took_s * 100, 2) if took_s else None,
            "cpu_us_per_line": round(cpu_s / lines * 1e6, 1) if lines else None,
            "rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }

    async def _connect(self, host: dict[str, Any]) -> None:
        line = self._wanted["known_hosts"][f"[{host['address']}]:{host['port']}"]
        async with self._gate:
            connection = await asyncssh.connect(
                host["address"],
                host["port"],
                username=self._wanted["user"],
                client_keys=self._keys,
                known_hosts=([asyncssh.import_public_key(line)], [], []),
                config=None,
                agent_path=None,
                gss_host=None,
                kex_algs=["curve25519-sha256"],
                encryption_algs=["aes128-gcm@openssh.com"],
                compression_algs=["none"],
            )
        nonce = bootstrap.new_nonce()
        _, stream = await connection.create_session(
            lambda: Lines(self, nonce), bootstrap.command(nonce), encoding=None, request_pty=False, window=256 * 1024
        )
        self._connections.append(connection)
        self._streams.append(stream)
        await stream.first

    async def _beat(self) -> None:
        token = 1
        while True:
            token += 1
            for number, stream in enumerate(list(self._streams)):
                stream.heartbeat(token)
                if number % 20 == 19:
                    await asyncio.sleep(_HEARTBEAT_S * 20 / max(len(self._streams), 20))
            await asyncio.sleep(0.5)


def _cpu_s() -> float:
    return time.process_time()


def main() -> None:
    wanted = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    del soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    async def run() -> dict[str, Any]:
        return await Reader(wanted).run()

    print(json.dumps(asyncio.run(run())))


if __name__ == "__main__":
    main()
