"""Stand-ins that are no voice: fixed JSON by path, and the stranger that answers on somebody else's port."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from probes.demo.voices.message import Reply, Request, as_json
from probes.demo.voices.service import Route, Service

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from probes.demo.voices.behaviour import Behaviour
    from probes.demo.voices.clock import Clock


class Pages(Service):
    """Fixed answers by path, as JSON; what is not among them is 404."""

    kind: ClassVar[str] = "pages"

    def __init__(
        self,
        behaviour: Behaviour | None = None,
        *,
        pages: Mapping[str, object] | None = None,
        clock: Clock | None = None,
        on_busy: Callable[[int], None] | None = None,
    ) -> None:
        self._pages: dict[str, object] = {"/": {}} if pages is None else dict(pages)
        super().__init__(behaviour, clock=clock, on_busy=on_busy)

    def routes(self) -> tuple[Route, ...]:
        """One for each page."""
        return tuple(Route("GET", path, self._answer) for path in self._pages)

    def _answer(self, request: Request) -> Reply:
        return as_json(self._pages[request.path])


class Stranger(Service):
    """Another service on the port: a web server that greets with 200 whatever is asked."""

    kind: ClassVar[str] = "stranger"

    def routes(self) -> tuple[Route, ...]:
        """It has none: all is answered before."""
        return ()

    def gate(self, request: Request) -> Reply | None:
        """The same page for everything."""
        del request
        page = b"<!DOCTYPE html><html><head><title>Welcome to nginx!</title></head><body>It works.</body></html>\n"
        return Reply(200, page, "text/html")
