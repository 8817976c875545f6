"""Connect to ``address,port`` pairs all at once and print the results as JSON: run inside a network namespace."""

from __future__ import annotations

import asyncio
import json
import sys

from probes.reach.tcp import TcpResult, tcp_connect


async def _main(timeout_s: float, targets: list[str]) -> None:
    pairs = [(address, int(port)) for address, _, port in (text.rpartition(",") for text in targets)]
    results = await asyncio.gather(*(tcp_connect(address, port, timeout_s) for address, port in pairs))
    print(json.dumps([_plain(result) for result in results]))


def _plain(result: TcpResult) -> dict[str, object]:
    if result.sock is not None:
        result.sock.close()
    return {name: getattr(result, name) for name in TcpResult.__struct_fields__ if name != "sock"}


if __name__ == "__main__":
    asyncio.run(_main(float(sys.argv[1]), sys.argv[2:]))
