"""The server that HTTP clients are measured against: canned bytes, nothing parsed, so that the client is the bottleneck.

``python -m tests.perf.http_server [--delay-ms 50] [--cpu 0]`` prints its port and serves until its stdin ends. With a
delay every answer is sent so long after its request, however many are waiting.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import sys

ANSWER = (
    b'HTTP/1.1 200 OK\r\nServer: canned\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"status": "ok"}'
)
END = b"\r\n\r\n"


class Canned(asyncio.Protocol):
    """Answers each head that ends; bodies are not expected."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._loop = asyncio.get_running_loop()
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._rest or not data.endswith(END):
            data = self._rest + data
            self._rest = data.rpartition(END)[2]
        for _ in range(data.count(END)):
            if self._delay_s:
                self._loop.call_later(self._delay_s, self._transport.write, ANSWER)
            else:
                self._transport.write(ANSWER)


async def serve(delay_s: float) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Canned(delay_s), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--delay-ms", type=float, default=0.0)
    parser.add_argument("--cpu", type=int)
    options = parser.parse_args()
    if options.cpu is not None:
        os.sched_setaffinity(0, {options.cpu})
    gc.freeze()
    asyncio.run(serve(options.delay_ms / 1000))


if __name__ == "__main__":
    main()
