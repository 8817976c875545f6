"""For tests of the triage and audit screens: fleets of R0's host, its evidence part by part, and the application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from probes.evidence import Evidence, Hop, Names
from probes.fleet import Fleet
from tests.support import evidence as facts
from tests.support.evidence import FIVE, INTERFACE, LIVE, SSH, X, aws, inside, instance, opened, rule, silent
from tests.support.fleets import FakeBackend, host
from tests.support.screens import app_of, until

if TYPE_CHECKING:
    from collections.abc import Iterable

    from textual.pilot import Pilot

    from tui.app import QuarterdeckApp

TOKYO = "tokyo-gpu-1"
OHIO = Names(ptr={X: ("ec2-18-118-69-100.us-east-2.compute.amazonaws.com",)}, ptr_region={X: "us-east-2"}, took_ms=31.0)
HOPS = (Hop(ttl=1, address="192.168.1.1", rtt_ms=1.0), Hop(ttl=2, address=None), Hop(ttl=3, address="100.64.0.9"))
ALL_SILENT = tuple(
    silent(one, hops=HOPS if one is SSH else (), hops_why="only the first silent port is stepped") for one in FIVE
)
#: nothing has arrived but the question
NOTHING = Evidence(host_id=TOKYO, address=X, taken_at_wall_s=facts.NOW, region=facts.REGION)
WORLD = tuple(rule(one.port, "0.0.0.0/0") for one in FIVE)
STOPPED = instance(state="stopped", state_reason="Client.UserInitiatedShutdown: User initiated shutdown")


def incident() -> Evidence:
    """R0: five silent ports, an address whose name is of another region, a stopped instance behind an open group."""
    return replace(
        facts.host(*ALL_SILENT, names=OHIO, aws=aws(instance=STOPPED, rules=WORLD)),
        inside_why="no SSH session lives, and SSM is not allowed",
    )


def cannot_tell() -> Evidence:
    """The same without AWS: row 29."""
    return replace(
        facts.host(*ALL_SILENT, region=None),
        inside_why="no SSH session lives",
        notes=("AWS layer: unknown - no credentials, run `aws sso login`",),
    )


def fine() -> Evidence:
    """Everything answers, inside and outside."""
    return facts.host(
        *(opened(one) for one in FIVE),
        aws=aws(),
        inside=inside(*(("0.0.0.0", one.port) for one in FIVE)),
        link=LIVE,
    )


def named(evidence: Evidence, name: str) -> Evidence:
    return replace(evidence, host_id=name)


def three_of_which_two_share_a_group() -> dict[str, Evidence]:
    """Two hosts without a rule in the same group, and one in another group that works."""
    closed = facts.host(*ALL_SILENT, aws=aws(rules=()))
    apart = replace(fine(), aws=aws(interface=replace(INTERFACE, group_ids=("sg-2",))))
    return {"a-1": named(closed, "a-1"), "b-2": named(closed, "b-2"), "c-3": named(apart, "c-3")}


def fleet_for(names: Iterable[str] = (TOKYO,)) -> Fleet:
    """Hosts that nothing is known of but their configuration."""
    return Fleet(host(name, address=X, services=FIVE) for name in names)


def app_with(backend: FakeBackend | None, names: Iterable[str] = (TOKYO,), **over: Any) -> QuarterdeckApp:
    """The application on such a fleet; without a backend nobody watches it."""

    async def factory() -> FakeBackend:
        assert backend is not None
        return backend

    return app_of(fleet_for(names), backend_factory=None if backend is None else factory, **over)


async def triaged(pilot: Pilot[Any], *keys: str, screen: str = "TriageScreen") -> Any:
    """Press keys (``t`` when there are none) and wait for the screen."""
    app: Any = pilot.app
    if app._backend_factory is not None:
        await until(pilot, lambda: app.backend is not None, "the backend runs")
    await pilot.press(*(keys or ("t",)))
    await until(pilot, lambda: type(app.screen).__name__ == screen, screen)
    return app.screen


def answering(*evidence: Evidence) -> FakeBackend:
    """A backend that has its answers ready."""
    backend = FakeBackend()
    backend.answers = {one.host_id: one for one in evidence}
    return backend
