"""Requests and replies of the stand-ins: HTTP/1.1 as values."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Request:
    """One request; header names are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def path(self) -> str:
        """The path, percent-decoded."""
        return unquote(self.target.partition("?")[0])

    def query(self) -> dict[str, str]:
        """The parameters of the query string; of a repeated one the first."""
        return _first(parse_qs(self.target.partition("?")[2], keep_blank_values=True, max_num_fields=100))

    def form(self) -> dict[str, str]:
        """The fields of an HTML form, URL-encoded or multipart; empty when the body is neither."""
        kind = self.headers.get("content-type", "")
        if kind.startswith("application/x-www-form-urlencoded"):
            text = self.body.decode("utf-8", "replace")
            return _first(parse_qs(text, keep_blank_values=True, max_num_fields=100))
        if not kind.startswith("multipart/form-data"):
            return {}
        head = f"Content-Type: {kind}\r\n\r\n".encode("latin-1", "replace")
        fields: dict[str, str] = {}
        for part in BytesParser(policy=HTTP).parsebytes(head + self.body).walk():
            name = part.get_param("name", header="content-disposition")
            content = part.get_payload(decode=True)
            if isinstance(name, str) and isinstance(content, bytes):
                fields.setdefault(name, content.decode("utf-8", "replace"))
        return fields

    def json(self) -> Any:
        """The body as JSON; None when it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


def _first(fields: Mapping[str, list[str]]) -> dict[str, str]:
    return {name: values[0] for name, values in fields.items()}


class Piece(Struct, frozen=True):
    """A part of a streamed body, and when it goes out: seconds after the work of the request began."""

    at_s: float
    data: bytes


@dataclass(slots=True)
class Reply:
    """An answer.

    Attributes:
        status: and the body of it, and its type.
        text: what was asked to be said, for the record.
        chars: what the work is charged for; None: it was no work, and goes out at once.
        cold: something had to be initialised first.
        after_s: further seconds that it takes.
        pieces: a streamed body instead of ``body``, in the order of time.
    """

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict[str, str])
    text: str = ""
    chars: int | None = None
    cold: bool = False
    after_s: float = 0.0
    pieces: tuple[Piece, ...] | None = None


def as_json(value: object, status: int = 200) -> Reply:
    """A reply in JSON."""
    return Reply(status, json.dumps(value, ensure_ascii=False).encode())


def detail(status: int, text: str) -> Reply:
    """An error as FastAPI's ``HTTPException`` looks."""
    return as_json({"detail": text}, status)


def invalid(place: str, name: str, text: str = "Field required", kind: str = "missing") -> Reply:
    """A 422 as FastAPI's validation looks."""
    return as_json({"detail": [{"type": kind, "loc": [place, name], "msg": text, "input": None}]}, 422)
