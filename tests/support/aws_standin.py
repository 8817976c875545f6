"""A small HTTP server in the place of AWS that gives recorded answers by action. Set as ``AWS_ENDPOINT_URL``."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Recorded(NamedTuple):
    """An answer: its HTTP status and its body."""

    status: int
    body: str


def refusal(code: str, status: int = 400, message: str = "no") -> Recorded:
    """An error as EC2 writes it."""
    errors = f"<Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>"
    return Recorded(status, f"<Response>{errors}<RequestID>r</RequestID></Response>")


@contextmanager
def aws_standin(answers: Mapping[str, Recorded] | Recorded) -> Iterator[tuple[str, list[str]]]:
    """Serve ``answers`` by action, or one for all; other actions are answered emptily. Yields address and actions.

    What is asked as of a metadata service is not there, and is listed by its method and path.
    """
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            action = parse_qs(body.decode())["Action"][0]
            asked.append(action)
            empty = Recorded(200, f"<{action}Response><requestId>r</requestId></{action}Response>")
            found = answers if isinstance(answers, Recorded) else answers.get(action, empty)
            self.send_response(found.status)
            self.send_header("Content-Length", str(len(found.body)))
            self.end_headers()
            self.wfile.write(found.body.encode())

        def do_PUT(self) -> None:
            asked.append(f"PUT {self.path}")
            self.send_error(404)

        def do_GET(self) -> None:
            asked.append(f"GET {self.path}")
            self.send_error(404)

        def log_message(self, *_: Any) -> None:
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
