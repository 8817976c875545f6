"""What the dashboard asks of the machinery that watches hosts; the supervisor is it, tests bring their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from probes.config import Settings
    from probes.evidence import Evidence


class Backend(Protocol):
    """Owner of all sessions and probers."""

    async def run(self) -> None:
        """Watch until cancelled."""
        ...

    def reconnect(self, host_id: str) -> None:
        """Drop the connection of a host, if any, and connect now."""
        ...

    def pause(self, host_id: str) -> None:
        """Stop watching a host."""
        ...

    def resume(self, host_id: str) -> None:
        """Watch a paused host again."""
        ...

    def want_processes(self, host_id: str, wanted: bool) -> None:  # noqa: FBT001 - a switch
        """Ask for the process list with every sample, or no longer."""
        ...

    def probe_services(self, host_id: str) -> None:
        """Probe the services of a host now."""
        ...

    async def investigate(
        self, host_ids: Sequence[str], on_evidence: Callable[[str, Evidence], None], *, inside: bool = True
    ) -> dict[str, Evidence]:
        """Gather everything about these hosts, all of them and all parts at once.

        Args:
            host_ids: configured hosts.
            on_evidence: called in the event loop with a host and its evidence so far, each time a part arrived; parts
                that are not there yet are None or empty.
            inside: whether the host itself is asked, too.

        Returns:
            The last evidence of each host. A part that failed is a note or a reason in it; only cancellation raises.
        """
        ...

    def apply(self, settings: Settings) -> None:
        """Take a new configuration."""
        ...

    def ssh_argv(self, host_id: str) -> list[str]:
        """The ``ssh`` command line that a person would type for this host."""
        ...
