"""Names of a host: forward and reverse, and the AWS region that an EC2 name carries.

A reverse name is whatever its zone's owner wrote: it is cleaned, and a region is taken from it only when the name also
spells the address it was asked for.
"""

from __future__ import annotations

import asyncio
import re
import socket
from typing import TYPE_CHECKING, Final

from probes.evidence import Names
from probes.reach.resolve import literal_address
from probes.reach.tcp import sockaddr_of
from probes.reach.threads import DaemonPool, PoolFullError
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from probes.model import Host

#: the label with the addresses a host should have, when it is configured by name
ADDRESS_LABEL: Final = "address"
_MAX_NAMES: Final = 4
_MAX_ASKED: Final = 8
_THREADS: Final = 16
_REGION: Final = r"[a-z]{2}(?:-[a-z]{2,12}){1,3}-[0-9]{1,2}"
#: us-east-1's own forms (``compute-1.amazonaws.com``, ``ec2.internal``) name no region and do not match
_EC2: Final = re.compile(
    rf"(?:(?:ec2|ip)-(?P<address>[0-9]{{1,3}}(?:-[0-9]{{1,3}}){{3}})|i-[0-9a-f]{{8,17}})"
    rf"\.(?P<region>{_REGION})\.compute\.(?:internal|amazonaws\.com(?:\.cn)?)"
)


def ec2_region(name: str, address: str | None = None) -> str | None:
    """The region in an EC2 name; None for every other name, and for us-east-1's, which carry none.

    Args:
        name: a public or private EC2 name; case and a final dot do not matter.
        address: an IPv4 address the name must spell, if it spells one at all.
    """
    found = _EC2.fullmatch(name.removesuffix(".").lower())
    if found is None:
        return None
    spelt = found["address"]
    if spelt is not None and not _is_ipv4(spelt.replace("-", ".")):
        return None
    if spelt is not None and address is not None and spelt.replace("-", ".") != address:
        return None
    return found["region"]


def expected_addresses(host: Host) -> tuple[str, ...]:
    """The literal addresses of the label ``address``; anything else in it is no address and is left out."""
    parts = re.split(r"[,\s]+", host.labels.get(ADDRESS_LABEL, ""))
    return tuple(found for part in parts if (found := literal_address(part)) is not None)


class Reverse:
    """Addresses to names, in daemon threads: a name server that hangs holds up nobody."""

    def __init__(self, lookup: Callable[[str], tuple[str, ...]] | None = None, *, threads: int = _THREADS) -> None:
        """Take ``lookup`` (address to names, blocking, raises ``socket.gaierror``) in place of getnameinfo."""
        self._lookup = lookup or system_reverse
        self._pool = DaemonPool("ptr", threads)

    async def add_to(self, names: Names, addresses: Sequence[str], timeout_s: float) -> Names:
        """``names`` with the reverse names of these addresses, or why there are none."""
        asked = tuple(dict.fromkeys(addresses))[:_MAX_ASKED]
        answers = await asyncio.gather(*(self._ask(address, timeout_s) for address in asked))
        ptr = {address: found for address, (found, _) in zip(asked, answers, strict=True) if found}
        why = {f"{address}: {reason}": None for address, (_, reason) in zip(asked, answers, strict=True) if reason}
        regions = {
            address: region
            for address, found in ptr.items()
            if (region := next(filter(None, (ec2_region(name, address) for name in found)), None)) is not None
        }
        return Names(
            name=names.name,
            addresses=names.addresses,
            expected=names.expected,
            error=names.error,
            took_ms=names.took_ms,
            ptr=ptr,
            ptr_why="; ".join(why) or (None if asked else "no address to ask for"),
            ptr_region=regions,
        )

    def close(self) -> None:
        """Let the threads go."""
        self._pool.close()

    async def _ask(self, address: str, timeout_s: float) -> tuple[tuple[str, ...], str]:
        """The names of one address, or the reason that there are none."""
        try:
            found = await self._pool.run(lambda: self._lookup(address), timeout_s)
        except TimeoutError:
            return (), f"no answer within {timeout_s:g} s"
        except PoolFullError as error:
            return (), f"not asked ({error})"
        except socket.gaierror as error:
            return (), _explain(error)
        except (OSError, UnicodeError, ValueError) as error:
            return (), clean(str(error), 120) or type(error).__name__
        names = tuple(dict.fromkeys(text for name in found[:_MAX_NAMES] if (text := clean(name, 253).strip())))
        return names, "" if names else "no reverse name"


def system_reverse(address: str) -> tuple[str, ...]:
    """``getnameinfo``: the one name the system knows for an address.

    Raises:
        socket.gaierror: it knows none.
        ValueError: no literal address.
    """
    _, sockaddr = sockaddr_of(address, 1)
    return (socket.getnameinfo(sockaddr, socket.NI_NAMEREQD)[0],)


def _explain(error: socket.gaierror) -> str:
    if error.errno == socket.EAI_NONAME:
        return "no reverse name"
    if error.errno == socket.EAI_AGAIN:
        return "no name server answers"
    return clean(error.strerror or str(error), 120)


def _is_ipv4(text: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET, text)
    except OSError:
        return False
    return True
