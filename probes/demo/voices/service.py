"""What all stand-ins have in common: routes, the line for the GPU, delays and faults."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from msgspec import structs

from probes.demo.voices.behaviour import HUGE_BYTES, Behaviour
from probes.demo.voices.clock import Clock, LoopClock, Slots
from probes.demo.voices.ledger import TEXT_KEPT, Asked, Ledger
from probes.demo.voices.message import Reply, Request, as_json, detail

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable
    from typing import Any

    from probes.demo.voices.server import Wire

    Handler = Callable[[Request], Reply]

_FLOOD_BYTES: Final = 64 * 1024
_SAID: Final = {
    429: "Too Many Requests",
    500: "CUDA error: an illegal memory access was encountered",
    502: "upstream did not answer",
    503: "Service Unavailable",
}


@dataclass(frozen=True, slots=True)
class Route:
    """One call. ``{id}`` as a segment of the path stands for any one segment; ``work`` is what loads the GPU."""

    method: str
    path: str
    handler: Handler
    work: bool = False

    @property
    def name(self) -> str:
        """As it is counted."""
        return f"{self.method} {self.path}"

    def fits(self, path: str) -> bool:
        """Whether a path belongs to it."""
        if "{" not in self.path:
            return path == self.path
        wanted, given = self.path.split("/"), path.split("/")
        return len(wanted) == len(given) and all(
            a == b or (a == "{id}" and b) for a, b in zip(wanted, given, strict=True)
        )


class Service:
    """Base of the stand-ins.

    Args:
        behaviour: speed and faults; ``behave`` changes them at any time.
        clock: another time than the event loop's.
        on_busy: called with +1 when work begins on the GPU, and with -1 when it ends.

    Attributes:
        ledger: what was asked.
        slots: the line for the GPU.
    """

    kind: ClassVar[str] = ""

    def __init__(
        self,
        behaviour: Behaviour | None = None,
        *,
        clock: Clock | None = None,
        on_busy: Callable[[int], None] | None = None,
    ) -> None:
        self.behaviour = Behaviour()
        self.ledger = Ledger()
        self.slots = Slots()
        self.on_busy = on_busy
        self.on_death: Callable[[], None] | None = None
        self._clock: Clock = LoopClock() if clock is None else clock
        self._since_s: float | None = None
        self._released = asyncio.Event()
        self._routes = self.routes()
        self.behave(behaviour or self.behaviour)

    @property
    def requests(self) -> deque[Asked]:
        """What was asked, oldest first; bounded."""
        return self.ledger.asked

    def behave(self, behaviour: Behaviour | None = None, **changes: Any) -> None:
        """Behave otherwise from now on: requests that are being worked on keep their speed, those in line do not.

        Args:
            behaviour: the new one; None: as until now, but for the changes.
            changes: fields of ``Behaviour``.
        """
        self.behaviour = structs.replace(behaviour or self.behaviour, **changes)
        self._since_s = None
        self.slots.limit = self.behaviour.slots
        if self.behaviour.held:
            self._released.clear()
        else:
            self._released.set()

    def keep_time_by(self, clock: Clock) -> None:
        """Another clock; before anything is asked."""
        self._clock = clock

    # --- what each service says ---

    def routes(self) -> tuple[Route, ...]:
        """Its calls."""
        raise NotImplementedError

    def failure(self, status: int, text: str) -> Reply:
        """An error as this service words it."""
        return detail(status, text)

    def ok_error(self) -> Reply:
        """An error with status 200."""
        return as_json({"detail": "CUDA out of memory"})

    def gate(self, request: Request) -> Reply | None:
        """A refusal before any route is looked for."""
        del request
        return None

    # --- one request ---

    def refused(self, status: int) -> None:
        """Note a request that was none."""
        now = self._clock.now_s()
        asked = self.ledger.begin("-", now)
        asked.status = status
        self.ledger.end(asked, now)

    async def handle(self, request: Request, wire: Wire) -> None:
        """Answer one request.

        Raises:
            ConnectionAbortedError: the connection is to be reset.
            OSError: the client is gone.
        """
        route = self._find(request)
        asked = self.ledger.begin("-" if route is None else route.name, self._clock.now_s())
        if self._since_s is None and self.behaviour.frozen_from_work is None:
            self._since_s = asked.at_s
        try:
            if self.behaviour.scope == "all" or (route is not None and route.work):
                await self._work(request, route, asked, wire)
            else:
                reply = self._reply(request, route)
                await self._until(self.behaviour, asked.at_s, self.behaviour.first_byte_s + reply.after_s)
                await self._deliver(reply, asked, wire)
        finally:
            self.ledger.end(asked, self._clock.now_s())

    def _find(self, request: Request) -> Route | None:
        path = request.path
        return next((route for route in self._routes if route.method == request.method and route.fits(path)), None)

    def _reply(self, request: Request, route: Route | None) -> Reply:
        refusal = self.gate(request)
        if refusal is not None:
            return refusal
        if route is not None:
            return route.handler(request)
        known = any(other.fits(request.path) for other in self._routes)
        return detail(405, "Method Not Allowed") if known else detail(404, "Not Found")

    async def _work(self, request: Request, route: Route | None, asked: Asked, wire: Wire) -> None:
        number = self.ledger.begin_work(asked)
        behaviour = self.behaviour
        if number == behaviour.frozen_from_work:
            self._since_s = asked.at_s
        if behaviour.dies_after is not None and number >= behaviour.dies_after:
            if self.on_death is not None:
                self.on_death()
            raise ConnectionAbortedError
        if behaviour.fails(number) and behaviour.error_status == 0:
            raise ConnectionAbortedError
        await self._released.wait()
        behaviour = self.behaviour
        if behaviour.first_byte_s:
            await self._until(behaviour, self._clock.now_s(), behaviour.first_byte_s)
        reply = self._work_reply(request, route, number)
        asked.text = reply.text[:TEXT_KEPT]
        if reply.chars is None:
            await self._until(behaviour, self._clock.now_s(), reply.after_s)
            await self._deliver(reply, asked, wire)
            return
        async with self.slots.one():
            behaviour = self.behaviour
            asked.begun_s = begun_s = self._clock.now_s()
            self._busy(1)
            try:
                work_s = behaviour.work_s(number, reply.chars, cold=reply.cold) + reply.after_s
                await self._until(behaviour, begun_s, work_s)
                if reply.pieces is not None:
                    await self._stream(reply, asked, wire, behaviour, work_s)
            finally:
                self._busy(-1)
        if reply.pieces is None:
            await self._deliver(reply, asked, wire, behaviour)

    def _work_reply(self, request: Request, route: Route | None, number: int) -> Reply:
        behaviour = self.behaviour
        if behaviour.fails(number):
            reply = self.failure(behaviour.error_status, _SAID.get(behaviour.error_status, "out of order"))
            if behaviour.retry_after_s is not None:
                reply.headers["retry-after"] = str(behaviour.retry_after_s)
            return reply
        reply = self._reply(request, route)
        if behaviour.scope == "all" and reply.chars is None:
            reply.chars = 0
        if behaviour.ok_error_body and reply.status == 200 and reply.chars is not None:
            broken = self.ok_error()
            broken.text, broken.chars, broken.cold = reply.text, reply.chars, reply.cold
            return broken
        return reply

    def _busy(self, change: int) -> None:
        if self.on_busy is not None:
            self.on_busy(change)

    async def _until(self, behaviour: Behaviour, begun_s: float, work_s: float) -> float:
        """Wait until ``work_s`` of unfrozen time have passed since ``begun_s``; returns the moment that was due."""
        due_s = self._due_s(behaviour, begun_s, work_s)
        await self._clock.sleep_until(due_s)
        # a freeze may have begun to count only meanwhile
        while (later_s := self._due_s(behaviour, begun_s, work_s)) > due_s:
            due_s = later_s
            await self._clock.sleep_until(due_s)
        return due_s

    def _due_s(self, behaviour: Behaviour, begun_s: float, work_s: float) -> float:
        since_s = self._since_s
        if since_s is None or not behaviour.frozen_for_s:
            return begun_s + work_s
        return since_s + behaviour.through_s(begun_s - since_s, work_s)

    async def _deliver(self, reply: Reply, asked: Asked, wire: Wire, behaviour: Behaviour | None = None) -> None:
        """Send a whole body; with the faults of ``behaviour`` when it was work."""
        asked.status = reply.status
        if behaviour is None:
            await wire.whole(reply)
        elif behaviour.flood != "none":
            await self._flood(reply, wire, behaviour)
        elif behaviour.drops_after is not None:
            await wire.begin(reply, len(reply.body))
            await wire.send(reply.body[: len(reply.body) // 2])
            raise ConnectionAbortedError
        elif behaviour.body_s:
            await wire.begin(reply, len(reply.body))
            await self._until(behaviour, self._clock.now_s(), behaviour.body_s)
            await wire.send(reply.body)
        else:
            await wire.whole(reply)

    async def _stream(self, reply: Reply, asked: Asked, wire: Wire, behaviour: Behaviour, work_s: float) -> None:
        """Send the pieces by their own absolute schedule, so that their spacing does not drift."""
        asked.status = reply.status
        if behaviour.flood != "none":
            await self._flood(reply, wire, behaviour)
            return
        begun_s = asked.begun_s or 0.0
        await wire.begin(reply, None)
        for place, piece in enumerate(reply.pieces or ()):
            asked.part(await self._until(behaviour, begun_s, work_s + piece.at_s))
            if behaviour.drops_after is not None and place >= behaviour.drops_after:
                await wire.send(piece.data[: max(1, len(piece.data) // 2)])
                raise ConnectionAbortedError
            await wire.send(piece.data)
        await wire.end()

    async def _flood(self, reply: Reply, wire: Wire, behaviour: Behaviour) -> None:
        """More body than anybody wants, for as long as the client reads."""
        huge = behaviour.flood == "huge"
        await wire.begin(reply, HUGE_BYTES if huge else None)
        head = reply.body or b"".join(piece.data for piece in reply.pieces or ())
        await wire.send(head)
        sent = len(head)
        block = bytes(_FLOOD_BYTES)
        while not huge or sent < HUGE_BYTES:
            part = block[: HUGE_BYTES - sent] if huge else block
            await wire.send(part)
            sent += len(part)
            await asyncio.sleep(0)  # a client on the same loop must be able to leave
