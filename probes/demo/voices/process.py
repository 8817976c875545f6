"""A stand-in in a process of its own, for who measures and must not share its processor time with what is measured.

``python -m probes.demo.voices --kind voicevox --port 0 --delay-ms 50`` prints one JSON line with its address and port,
and ends with its stdin. Each line of stdin is a command: ``{"behave": {...}}`` changes fields of its behaviour,
``{"counts": true}`` asks what it was asked; each is answered with one line.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec

from probes.demo.voices.backend import Backend
from probes.demo.voices.behaviour import Behaviour
from probes.demo.voices.clock import ExactClock
from probes.demo.voices.openai import OpenAi
from probes.demo.voices.openvoice import OpenVoice
from probes.demo.voices.pages import Pages, Stranger
from probes.demo.voices.running import serve
from probes.demo.voices.voicevox import Voicevox

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from probes.demo.voices.service import Service

_END_S: Final = 5.0

#: every kind of stand-in by its name on the command line
KINDS: Final[dict[str, Callable[[Behaviour], Service]]] = {
    "voicevox": Voicevox,
    "voicevox-mock": lambda behaviour: Voicevox(behaviour, mock=True),
    "openvoice": OpenVoice,
    "openvoice-ec2": lambda behaviour: OpenVoice(behaviour, flavour="ec2"),
    "openvoice-successor": lambda behaviour: OpenVoice(behaviour, flavour="successor"),
    "backend": Backend,
    "openai": OpenAi,
    "pages": Pages,
    "stranger": Stranger,
}


class Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of stdin."""

    behave: dict[str, Any] = {}
    counts: bool = False


class Listening(msgspec.Struct, frozen=True):
    """The first line of stdout."""

    address: str
    port: int


class Process:
    """A stand-in that runs elsewhere. ``url`` has no slash at its end."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        listening = msgspec.json.decode(self._line(), type=Listening)
        self.pid = process.pid
        self.address = listening.address
        self.port = listening.port
        self.url = f"http://{self.address}:{self.port}"

    def behave(self, **changes: Any) -> None:
        """Change fields of its behaviour."""
        self._ask({"behave": changes})

    def counts(self) -> dict[str, Any]:
        """What it was asked, as ``Ledger.counts``."""
        return self._ask({"counts": True})

    def close(self) -> None:
        """End it; may be called twice."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ask(self, command: dict[str, Any]) -> dict[str, Any]:
        if self._process.stdin is None:
            raise RuntimeError("the stand-in has no stdin")
        self._process.stdin.write(msgspec.json.encode(command) + b"\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = msgspec.json.decode(self._line())
        if "error" in answer:
            raise ValueError(answer["error"])
        return answer

    def _line(self) -> bytes:
        line = self._process.stdout.readline() if self._process.stdout is not None else b""
        if not line:
            raise RuntimeError("the stand-in's process has ended")
        return line


@contextmanager
def start(
    kind: str,
    behaviour: Behaviour | None = None,
    *,
    address: str = "127.0.0.1",
    port: int = 0,
    exact: bool = False,
) -> Generator[Process]:
    """Run a stand-in in a process of its own.

    Args:
        kind: one of ``KINDS``.
        behaviour: speed and faults.
        address: where it listens.
        port: 0: a free one.
        exact: keep its times to a tenth of a millisecond, at the cost of a busy core.

    Raises:
        RuntimeError: it did not start.
    """
    said = msgspec.json.encode(behaviour or Behaviour()).decode()
    options = ["--kind", kind, "--address", address, "--port", str(port), "--behaviour", said]
    options += ["--exact"] if exact else []
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-P", "-m", "probes.demo.voices", *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    running: Process | None = None
    try:
        running = Process(process)
        yield running
    finally:
        if running is None:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
            process.wait()
        else:
            running.close()


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until stdin ends; the exit status is 1 when the port is taken."""
    parser = argparse.ArgumentParser(prog="python -m probes.demo.voices", description=__doc__)
    parser.add_argument("--kind", choices=sorted(KINDS), required=True)
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--delay-ms", type=float, help="how long each piece of work takes")
    parser.add_argument("--behaviour", default="{}", help="fields of Behaviour, as JSON")
    parser.add_argument("--exact", action="store_true", help="keep times to a tenth of a millisecond; busy meanwhile")
    options = parser.parse_args(argv)
    try:
        behaviour = msgspec.json.decode(options.behaviour, type=Behaviour)
    except msgspec.DecodeError as error:
        parser.error(f"--behaviour: {error}")
    if options.delay_ms is not None:
        behaviour = msgspec.structs.replace(behaviour, delay_s=options.delay_ms / 1000.0)
    service = KINDS[options.kind](behaviour)
    if options.exact:
        service.keep_time_by(ExactClock())
    try:
        asyncio.run(_serve(service, options.address, options.port))
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


async def _serve(service: Service, address: str, port: int) -> None:
    async with serve(service, address=address, port=port) as running:
        _say({"address": running.address, "port": running.port})
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        try:
            while line := await reader.readline():
                _say(_obey(service, line))
        finally:
            transport.close()


def _obey(service: Service, line: bytes) -> dict[str, Any]:
    try:
        command = msgspec.json.decode(line, type=Command)
        if command.behave:
            changed = msgspec.to_builtins(service.behaviour) | command.behave
            service.behave(msgspec.convert(changed, Behaviour))
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        return {"error": str(error)}
    return service.ledger.counts() if command.counts else {"behaving": True}


def _say(line: dict[str, Any]) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.buffer.flush()
