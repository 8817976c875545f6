"""From a configured host to what AWS is asked about it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from probes.cloud.assemble import Target

if TYPE_CHECKING:
    from probes.model import Host


def target_of(host: Host, address: str, region: str | None = None) -> Target:
    """What to ask about a host.

    Args:
        host: its labels ``region`` and ``instance_id`` count.
        address: the IP address that is dialled (names are resolved elsewhere).
        region: another region than the label's, to confirm that the address is ours there.
    """
    return Target(
        host_id=host.id,
        address=address,
        instance_id=host.labels.get("instance_id") or None,
        region=region or host.labels.get("region") or None,
    )
