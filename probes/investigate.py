"""One investigation: the ports from outside, AWS, and the hosts' own view, side by side, as evidence that grows.

Nothing is concluded here. Each part has its own limit and, where it fails, a reason; none of them waits for another but
where it needs its answer (AWS needs an address, Systems Manager needs AWS).
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import msgspec

from probes import clock
from probes.cloud import ssm
from probes.cloud.aws import Aws
from probes.cloud.target import target_of
from probes.evidence import ControlProbe, Echo, Evidence, LiveLink, PortProbe
from probes.model import LinkState
from probes.reach.control import choose
from probes.reach.outside import Options
from probes.reach.resolve import literal_address
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence

    from probes.cloud.assemble import Target
    from probes.cloud.facts import AwsEvidence
    from probes.config import AwsOptions
    from probes.evidence import Inside
    from probes.fleet import Fleet, HostRecord
    from probes.model import Host, Link, Service
    from probes.reach.control import Candidate
    from probes.reach.gather import Gatherer
    from probes.reach.outside import Part

log = logging.getLogger(__name__)

#: how long AWS may take in all, how long an SSH session in the making is waited for, and how long its answer
AWS_S: Final = 8.0
LOGIN_S: Final = 8.0
INSIDE_S: Final = 8.0
_POLL_S: Final = 0.1
#: silent ports whose hops may be stepped, of all hosts together, but one of each: sixteen connects a port are many
_STEPPED: Final = 64
_UP: Final = frozenset({LinkState.LIVE, LinkState.STALE})


class InsideView(Protocol):
    """Asks a watched host about itself."""

    async def inside(self, host_id: str, timeout_s: float) -> Inside:
        """What it says; whatever fails is a reason in it."""
        ...

    async def user_of(self, host: Host) -> str | None:
        """Who logs in there, ssh_config included; None when that cannot be told."""
        ...


class CloudView(Protocol):
    """Says what AWS knows of hosts: ``probes.cloud.aws.Aws``, or what a simulated fleet has in its place."""

    options: AwsOptions

    async def facts(self, targets: Sequence[Target], *, limit_s: float) -> dict[str, AwsEvidence]:
        """By host id; whatever fails is a reason in it."""
        ...

    def close(self) -> None:
        """Let threads go."""
        ...


class World(NamedTuple):
    """Whom an investigation asks besides the hosts; ``reverse`` None: the system's look-up of names."""

    aws: CloudView
    reverse: Callable[[str], tuple[str, ...]] | None = None


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What one investigation is about.

    ``services``: other ports than the configured ones. ``inside``: ask the host itself, over a session that is there or
    being made. ``auth_methods``: ask sshd which it offers (leaves a line in the host's log).
    """

    services: tuple[Service, ...] | None = None
    inside: bool = True
    auth_methods: bool = False


class Case:
    """One host under investigation: its evidence so far, told to whoever listens."""

    def __init__(self, host: Host, link: Link | None, tell: Callable[[Evidence], None]) -> None:
        self.host = host
        self.started_wall_s = clock.wall_s()
        #: set when the address is known, or is known to stay unknown
        self.addressed = asyncio.Event()
        #: set when the host was asked over SSH, or could not be
        self.looked = asyncio.Event()
        self._tell = tell
        literal = literal_address(host.address)
        if literal is not None:
            self.addressed.set()
        self.evidence = Evidence(
            host_id=host.id,
            address=literal or host.address,
            taken_at_wall_s=self.started_wall_s,
            region=host.labels.get("region") or None,
            instance_id=host.labels.get("instance_id") or None,
            local=host.local,
            link=None if link is None else live_link(link, self.started_wall_s),
        )

    @property
    def address(self) -> str | None:
        """The literal address, when it is known."""
        return literal_address(self.evidence.address)

    def set(self, **parts: Any) -> None:
        """Put parts into the evidence and tell."""
        self.evidence = msgspec.structs.replace(self.evidence, **parts)
        self._tell(self.evidence)

    def note(self, text: str) -> None:
        """Say what could not be gathered."""
        self.set(notes=(*self.evidence.notes, clean(text, 400)))

    def take(self, part: Part) -> None:
        """Put one part of the view from outside in its place."""
        if isinstance(part, PortProbe):
            self.set(ports=_with(self.evidence.ports, part, lambda port: port.service.name))
        elif isinstance(part, ControlProbe):
            self.set(controls=_with(self.evidence.controls, part, lambda control: (control.target, control.port)))
        elif isinstance(part, Echo):
            self.set(echo=part)
        else:
            first = part.addresses[0] if part.addresses else self.evidence.address
            self.set(names=part, address=first)
            self.addressed.set()

    def finish(self, outside: Evidence) -> None:
        """Take the whole view from outside, in its configured order, beside what came from elsewhere."""
        mine = self.evidence
        self.set(
            address=outside.address,
            ports=outside.ports,
            echo=outside.echo,
            names=outside.names,
            controls=outside.controls,
            notes=tuple(dict.fromkeys((*mine.notes, *outside.notes))),
        )


def _with(known: tuple[Any, ...], part: Any, key: Callable[[Any], object]) -> tuple[Any, ...]:
    """The parts with this one in the place of an older one of the same key."""
    mine = key(part)
    if any(key(one) == mine for one in known):
        return tuple(part if key(one) == mine else one for one in known)
    return (*known, part)


def live_link(link: Link, started_wall_s: float) -> LiveLink:
    """The session's state as evidence; established means: before this investigation began."""
    up = link.state in _UP
    return LiveLink(
        state=link.state,
        established=up and link.since_wall_s < started_wall_s,
        since_wall_s=link.since_wall_s,
        layer=link.layer,
        cause=link.cause,
    )


def _gpus_lost(record: HostRecord) -> tuple[str, ...] | None:
    """The GPUs that the last sample calls lost; None without a sample."""
    brief = record.brief
    if brief is None:
        return None
    return tuple(f"gpu{gpu.index}" for gpu in brief.gpus if "gpu_lost" in gpu.missing.values())


class Investigator:
    """Investigates hosts; whoever makes it closes it.

    Args:
        fleet: where the links of watched hosts stand.
        gatherer: looks from outside.
        aws: asks AWS.
        inside: asks hosts about themselves.
        anchors: what should always answer, for the control probe.
    """

    def __init__(
        self, fleet: Fleet, gatherer: Gatherer, aws: CloudView, inside: InsideView, anchors: Sequence[Candidate] = ()
    ) -> None:
        self._fleet = fleet
        self._gatherer = gatherer
        self._aws = aws
        self._inside = inside
        self._anchors = tuple(anchors)

    async def close(self) -> None:
        """Let go of all threads."""
        self._aws.close()
        await self._gatherer.close()

    async def investigate(
        self,
        hosts: Sequence[Host],
        on_evidence: Callable[[str, Evidence], None] = lambda _, __: None,
        *,
        wanted: Wanted | None = None,
        others: Iterable[Host] = (),
    ) -> dict[str, Evidence]:
        """Gather everything about these hosts at once. Cancelled, it leaves no task.

        Args:
            hosts: whom; they need not be watched.
            on_evidence: told the host's id and all that is known so far, each time something came.
            wanted: which ports, whether to look inside.
            others: the rest of the fleet, for the control probe.

        Returns:
            The evidence of each host, by its id. A part that failed is a reason in it.
        """
        wanted = wanted or Wanted()
        fleet = [*hosts, *others]
        cases = [self._case(host, on_evidence) for host in hosts]
        async with asyncio.TaskGroup() as group:
            for case in cases:
                looking = self._outside(case, wanted, fleet, steps=max(_STEPPED // len(cases), 1))
                group.create_task(self._guarded(case, "the view from outside", looking))
                group.create_task(self._guarded(case, "the host's own view", self._look_inside(case, wanted)))
            at_once = [case for case in cases if case.addressed.is_set()]
            later = [case for case in cases if not case.addressed.is_set()]
            for batch in (at_once, later):
                if batch:
                    group.create_task(self._cloud(batch, wanted))
        for case in cases:
            self._close(case)
        return {case.host.id: case.evidence for case in cases}

    def _case(self, host: Host, on_evidence: Callable[[str, Evidence], None]) -> Case:
        record = self._fleet.hosts.get(host.id)
        return Case(host, None if record is None else record.link, lambda evidence: on_evidence(host.id, evidence))

    def _close(self, case: Case) -> None:
        record = self._fleet.hosts.get(case.host.id)
        if record is not None:
            case.set(link=live_link(record.link, case.started_wall_s), gpus_lost=_gpus_lost(record))

    async def _guarded(self, case: Case, what: str, work: Coroutine[Any, Any, None]) -> None:
        """A defect of ours in one part must not end the others; it is said and logged."""
        try:
            await work
        except Exception as error:
            log.exception("%s of %s", what, case.host.id)
            case.note(f"{what} failed: {type(error).__name__}: {error}")

    # --- from outside ---

    async def _outside(self, case: Case, wanted: Wanted, fleet: Sequence[Host], steps: int) -> None:
        live = {host_id for host_id, record in self._fleet.hosts.items() if record.link.state is LinkState.LIVE}
        options = Options(
            services=wanted.services,
            controls=choose(case.host, fleet, self._anchors, live),
            auth_methods=wanted.auth_methods,
            steps=steps,
        )
        case.set(user=await self._inside.user_of(case.host))
        try:
            case.finish(await self._gatherer.probe_host(case.host, options, case.take))
        finally:
            case.addressed.set()

    # --- AWS ---

    async def _cloud(self, cases: Sequence[Case], wanted: Wanted) -> None:
        """Ask about all these hosts in one round, then those that SSH cannot ask by Systems Manager."""
        await asyncio.gather(*(case.addressed.wait() for case in cases))
        asked = [case for case in cases if case.address is not None or case.host.labels.get("instance_id")]
        for case in cases:
            if case not in asked:
                case.note("AWS was not asked: there is neither an address nor a label instance_id")
        if not asked:
            return
        targets = [target_of(case.host, case.address or "") for case in asked]
        found = await self._aws.facts(targets, limit_s=AWS_S)
        for case in asked:
            case.set(aws=found[case.host.id])
        if wanted.inside and self._aws.options.allow_ssm:
            await asyncio.gather(*(self._guarded(case, "Systems Manager", self._by_ssm(case)) for case in asked))

    async def _by_ssm(self, case: Case) -> None:
        """Where SSH is dead, and it is allowed, the host says by Systems Manager who listens."""
        facts = case.evidence.aws
        if facts is None or facts.instance is None or facts.region is None or not isinstance(self._aws, Aws):
            return
        await case.looked.wait()  # SSH first; that has its own limit
        if case.evidence.inside is not None and case.evidence.inside.listeners is not None:
            return
        look = await ssm.look_inside(self._aws, facts.instance.instance_id, facts.region, limit_s=AWS_S)
        if look.inside.listeners is not None:
            case.set(inside=look.inside)
        else:
            case.set(inside_why=f"{case.evidence.inside_why}; Systems Manager: {look.inside.listeners_why}")

    # --- from inside ---

    async def _look_inside(self, case: Case, wanted: Wanted) -> None:
        why = "the question failed"
        try:
            why = await self._ask(case) if wanted.inside else "not asked: no login was wanted"
        finally:
            if case.evidence.inside is None:
                case.set(inside_why=why)
            case.looked.set()

    async def _ask(self, case: Case) -> str:
        """Put the host's answer into the evidence; returns why there is none."""
        record = self._fleet.hosts.get(case.host.id)
        if record is None:
            return "this host is not watched, so there is no session to ask it on"
        for _ in range(round(LOGIN_S / _POLL_S)):
            if record.link.state is not LinkState.CONNECTING:
                break
            await asyncio.sleep(_POLL_S)
        link = record.link
        if link.state not in _UP:
            words = link.state.value.replace("_", " ")
            return f"no SSH session: {words}: {link.cause}" if link.cause else f"no SSH session: {words}"
        case.set(inside=await self._inside.inside(case.host.id, INSIDE_S))
        return ""
