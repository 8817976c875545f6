"""Our own public address, as a service of AWS's sees it. Asked only where ``aws.ask_my_address`` allows it."""

from __future__ import annotations

import urllib.request
from typing import Final

from probes.cloud.addresses import parsed

URL: Final = "https://checkip.amazonaws.com"
_LIMIT_S: Final = 3.0
_MAX_BYTES: Final = 64


def my_address(url: str = URL) -> str:
    """Ask for the address our packets have when they reach AWS; blocks, so run it in a thread.

    Proxies are not used: the probes do not use them either, and a proxy's address would be another.

    Raises:
        OSError: no answer.
        ValueError: the answer is not an address.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=_LIMIT_S) as answer:
        text = answer.read(_MAX_BYTES).decode("ascii", "replace").strip()
    address = parsed(text)
    if address is None:
        raise ValueError("the answer is not an address")
    return str(address)
