"""Limits of this process that a large fleet meets."""

from __future__ import annotations

import resource
from typing import Final

#: descriptors beside one per host: terminal, log, epoll, probes in flight, local agent, tunnels
_RESERVE: Final = 400


def raise_fd_limit(hosts: int) -> str | None:
    """Raise the soft limit of open files to the hard one; return a warning when it cannot hold the fleet."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    needed = hosts + _RESERVE
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return None
    return f"open files are limited to {soft}, {hosts} hosts need about {needed}: raise `ulimit -n`"
