"""What each kind of service is asked once its port is open, and what a healthy one answers."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from probes.model import ServiceKind

if TYPE_CHECKING:
    from probes.model import Service

Scalar = str | int | float | bool | None


class Shape(StrEnum):
    """What the body must be, apart from the fields that are expected of it."""

    ANY = "any"
    STRING = "a JSON string"
    MODELS = "a list of models"


class Expectation(Struct, frozen=True):
    """One GET and what a healthy answer is: a status among ``statuses``, and every field of ``json`` any of its values.

    ``notes`` are fields worth showing when they are there: label to dotted paths, the first that is found.
    """

    path: str
    statuses: frozenset[int]
    json: dict[str, tuple[Scalar, ...]] = {}
    shape: Shape = Shape.ANY
    notes: dict[str, tuple[str, ...]] = {}

    @property
    def wants_json(self) -> bool:
        """Whether the body must be read to judge."""
        return bool(self.json) or self.shape is not Shape.ANY


_OK: Final = frozenset({200})
_DEFAULTS: Final = {
    ServiceKind.HTTP: Expectation("/", frozenset(range(200, 400))),
    ServiceKind.VOICEVOX: Expectation("/version", _OK),
    ServiceKind.OPENVOICE: Expectation(
        "/health",
        _OK,
        {"status": ("healthy",)},
        # the two flavours of the service name their device differently
        notes={"device": ("pytorch_device", "device"), "version": ("version",), "gpu": ("gpu_name",)},
    ),
    ServiceKind.OPENAI: Expectation("/v1/models", _OK),
}


def expectation(service: Service) -> Expectation | None:
    """What to ask of a service; ``None`` for kinds with no health question (tcp, ssh).

    What the configuration says wins over the kind's default. A kind's own shape of answer (VOICEVOX's bare JSON string)
    is asked for only at the path it belongs to, behind any prefix, and only where no fields are expected instead.
    """
    default = _DEFAULTS.get(service.kind)
    if default is None:
        return None
    path = service.path or default.path
    own_path = path.partition("?")[0].endswith(default.path)
    json = service.expect_json or (default.json if own_path else {})
    shape = Shape.ANY
    if own_path and not json:
        shape = {ServiceKind.VOICEVOX: Shape.STRING, ServiceKind.OPENAI: Shape.MODELS}.get(service.kind, Shape.ANY)
    return Expectation(path, frozenset(service.expect_status) or default.statuses, json, shape, default.notes)
