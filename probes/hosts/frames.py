"""From the raw frames of ``agent.sh`` to the structs the Python agent would have sent.

Every number is computed by the functions of ``agent.py``; rates and ages use the host's own clock (its uptime), never
ours. What the host says is hostile: all that is kept between lines is bounded, and a line that cannot be used raises
``LineError``.
"""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from probes.hosts import agent
from probes.hosts.frame_answers import Asked
from probes.hosts.frame_gpus import GpuFrames
from probes.hosts.frame_parts import Mounts, Procs, Units, Xids, uptime_of
from probes.hosts.protocol import LineError, decode
from probes.model import Hello, Line, Missing, Note
from probes.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_MAX_PART_BYTES: Final = 1 << 19
_OWN_SAMPLES: Final = 20
#: letters of the parts of a sample, and what agent.Host calls them
_PARTS: Final = {"c": "stat", "m": "meminfo", "l": "loadavg", "n": "netdev", "d": "diskstats"}
_FACTS: Final = frozenset({"hostname", "kernel", "boot_id", "os", "driver", "pid", "interval", "ticks", "page", "smi"})


class FrameDecoder:
    """Decoder for the ``sh`` agent's lines; one per host, since samples are made of several lines."""

    def __init__(self) -> None:
        self._notes: list[Note] = []
        self._host = agent.Host(self._note)
        self._facts: dict[str, str] = {}
        self._hello: Hello | None = None
        self._uptime_s: float | None = None
        self._parts: dict[str, bytes] = {}
        self._own: bytes = b""
        self._own_before: dict[bytes, int] = {}
        self._own_spent: deque[tuple[int, float]] = deque(maxlen=_OWN_SAMPLES)
        self._seq = 0
        self._echo: tuple[int, float] | None = None
        self._mounts = Mounts()
        self._gpus = GpuFrames(self._note)
        self._procs = Procs()
        self._xids = Xids()
        self._units = Units()
        self._asked = Asked(self._procs.user_name)
        self._handlers: dict[str, Callable[[str], Sequence[Line]]] = {
            "B": self._begin,
            "E": self._end,
            "H": self._fact,
            "h": self._heartbeat,
            "g": self._gpu_line,
            "G": self._gpu_exit,
            "A": lambda text: self._gpus.app_line(text) or (),
            "L": lambda text: self._gpus.list_line(text) or (),
            "T": self._table_line,
            "M": lambda text: self._mounts.mount(text) or (),
            "D": lambda text: self._mounts.df(text, self._uptime_s) or (),
            "P": self._process_line,
            "U": lambda text: self._procs.owners(text) or (),
            "W": lambda text: self._procs.passwd(text) or (),
            "K": lambda text: self._xids.line(text) or (),
            "S": self._unit_line,
            "C": lambda text: self._units.docker(text) or (),
            "Q": self._asked.item,
        }
        self._known = frozenset(self._handlers) | frozenset(_PARTS) | {"a"}

    def feed(self, line: bytes) -> Sequence[Line]:
        """Take one line without its newline; the structs it completes, often none.

        Raises:
            LineError: no such frame, or its content makes no sense.
        """
        letter, space, rest = line[:1].decode("latin-1"), line[1:2], line[2:]
        if letter not in self._known or (letter != "E" and space != b" "):
            raise LineError(f"not a frame: {clean(line[:60].decode('utf-8', 'replace'), 60)!r}")
        try:
            if letter in _PARTS:
                self._part(_PARTS[letter], rest)
                return self._take_notes()
            if letter == "a":
                if len(self._own) < 16384:
                    self._own += rest + b";"
                return ()
            lines: list[Line] = []
            for text in rest.decode("utf-8", "replace").split("\x1f"):
                lines += self._handlers[letter](text)
        except LineError:
            raise
        except (ValueError, IndexError, KeyError, OverflowError, TypeError, msgspec.MsgspecError) as error:
            said = clean(f"{type(error).__name__}: {error}", 120)
            raise LineError(f"frame {letter!r}: {said}") from None
        return [*lines, *self._take_notes()]

    def _note(self, layer: str, text: str) -> None:
        if len(self._notes) < 20:
            self._notes.append(Note(clean(layer, 40), clean(text)))

    def _take_notes(self) -> list[Note]:
        notes, self._notes = self._notes, []
        return notes

    # --- samples ---

    def _part(self, name: str, rest: bytes) -> None:
        have = self._parts.get(name, b"")
        if len(have) + len(rest) > _MAX_PART_BYTES:
            raise LineError(f"more than {_MAX_PART_BYTES >> 10} KiB of {name}")
        self._parts[name] = have + rest.replace(b";", b"\n") + b"\n"

    def _begin(self, text: str) -> Sequence[Line]:
        self._parts = {}
        self._own = b""
        self._uptime_s = None
        self._uptime_s = uptime_of(text)
        return ()

    def _end(self, _text: str) -> Sequence[Line]:
        now = self._uptime_s
        if now is None:
            raise LineError("a sample ends that never began")
        parts: dict[str, bytes | str] = {
            name: self._parts.get(name) or ("unsupported" if name == "diskstats" else "error")
            for name in _PARTS.values()
        }
        self._parts = {}
        fields, more, missing = self._host.sample(parts, now, self._mounts.view(now))
        limit = max(3.0, 3 * self._interval_s())
        gpus, why = self._gpus.view(now, limit, has_smi=self._facts.get("smi") != "no")
        if why is not None:
            missing["gpus"] = why
        events, why = self._xids.view()
        if why is not None:
            missing["xid_events"] = why
        own = self._own_use(None if self._host.why else self._host.passed_us / 1e6, missing)
        echo = None if self._echo is None else (self._echo[0], round(max(now - self._echo[1], 0.0) * 1000))
        seq, self._seq = self._seq, self._seq + 1
        uptime, use, beat, reasons = (agent.to_json(value) for value in (now, own, echo, missing))
        text = agent.sample_text(seq, uptime, fields, more, use, beat, (), None, reasons)
        sample = decode(text.encode("ascii"))
        sample = _cleaned(msgspec.structs.replace(sample, gpus=gpus, xid_events=events))
        hello = self._hello_now(now)
        if hello is None or hello == self._hello:
            return (sample,)
        self._hello = hello
        return (hello, sample)

    def _interval_s(self) -> float:
        try:
            return min(max(float(self._facts.get("interval", "1")), 0.05), 3600.0)
        except ValueError:
            return 1.0

    def _own_use(self, interval_s: float | None, missing: Missing) -> tuple[float | None, int | None]:
        """CPU and memory of the agent's own processes, nvidia-smi included.

        The kernel counts in ticks, one of which is 1 % of a second: the share is that of the last samples together.
        """
        ticks_per_s, page = self._number("ticks", 100), self._number("page", 4096)
        spent: dict[bytes, int] = {}
        rss = 0
        for stat in self._own.split(b";"):
            pid = stat.split(b" ", 1)[0]
            right = stat.rfind(b")")
            values = stat[right + 2 :].split()
            if right < 0 or len(values) < 22 or not pid.isdigit() or len(spent) >= 64:
                continue
            # children that ended and were waited for count too: sleeps, df, nvidia-smi queries
            if pid + values[19] in spent:
                continue
            spent[pid + values[19]] = sum(int(value) for value in values[11:15])
            rss += int(values[21]) * page
        before, self._own_before = self._own_before, spent
        known = [spent[key] - before[key] for key in spent if key in before]
        cpu: float | None = None
        if not spent:
            missing["agent.cpu_pct"] = missing["agent.rss_bytes"] = "error"
        elif not known or not interval_s:
            missing["agent.cpu_pct"] = "not_yet"
        else:
            self._own_spent.append((max(sum(known), 0), interval_s))
            ticks, seconds = (sum(column) for column in zip(*self._own_spent, strict=True))
            cpu = round(ticks * 100.0 / ticks_per_s / seconds, 3)
        return cpu, rss if spent else None

    def _number(self, fact: str, otherwise: int) -> int:
        text = self._facts.get(fact, "")
        return int(text) if re.fullmatch(r"[1-9][0-9]{0,6}", text) else otherwise

    def _heartbeat(self, text: str) -> Sequence[Line]:
        token, _, uptime = text.partition(" ")
        if re.fullmatch(r"[0-9]{1,18}", token) is None:
            raise LineError("a heartbeat without a number")
        self._echo = (int(token), uptime_of(uptime))
        return ()

    # --- hello ---

    def _fact(self, text: str) -> Sequence[Line]:
        key, _, value = text.partition(" ")
        if key in _FACTS:
            self._facts[key] = clean(value.strip())
        return ()

    def _hello_now(self, uptime_s: float) -> Hello | None:
        facts = self._facts
        if "hostname" not in facts:
            return None
        missing: Missing = {"python": "unsupported"}
        system = agent.parse_os_release(facts["os"].encode()) if "os" in facts else None
        driver, cuda = self._gpus.driver, self._gpus.cuda
        if driver is None and "driver" in facts:
            found = agent.DRIVER.search(facts["driver"].encode())
            driver = found.group(1).decode() if found else None
        has_smi = facts.get("smi") != "no"
        for name, value in (("os", system), ("kernel", facts.get("kernel")), ("boot_id", facts.get("boot_id"))):
            if value is None:
                missing[name] = "unsupported"
        for name, value in (("driver", driver), ("cuda", cuda)):
            if value is None:
                missing[name] = self._gpus.why_no_version() if has_smi else "unsupported"
        units, asked_s, absent = self._units.view(uptime_s)
        missing.update(absent)
        return _cleaned(
            Hello(
                mode="sh+nvidia-smi" if has_smi else "sh",
                hostname=facts["hostname"] or "?",
                os=system,
                kernel=facts.get("kernel"),
                driver=driver,
                cuda=cuda,
                boot_id=facts.get("boot_id"),
                pid=self._number("pid", 0) or None,
                units=units,
                units_uptime_s=asked_s,
                missing=missing,
            )
        )

    # --- GPUs, processes, units ---

    def _gpu_line(self, text: str) -> Sequence[Line]:
        self._gpus.query_line(text, self._uptime_s)
        return ()

    def _gpu_exit(self, _text: str) -> Sequence[Line]:
        self._gpus.exited()
        return ()

    def _table_line(self, text: str) -> Sequence[Line]:
        self._gpus.table_line(text)
        return ()

    def _process_line(self, text: str) -> Sequence[Line]:
        if not text.startswith(". "):
            self._procs.line(text, self._number("page", 4096))
            return ()
        gpus, why = self._gpus.processes(has_smi=self._facts.get("smi") != "no")
        return self._procs.finish(text[2:], self._number("ticks", 100), gpus, why)

    def _unit_line(self, text: str) -> Sequence[Line]:
        self._units.systemd(text, self._uptime_s)
        return ()


def _cleaned(value: Any) -> Any:
    """The same value with every string in it cleaned."""
    if isinstance(value, str):
        return value if value.isascii() and value.isprintable() and len(value) <= 256 else clean(value)
    if isinstance(value, msgspec.Struct):
        fields = {name: _cleaned(getattr(value, name)) for name in value.__struct_fields__}
        return type(value)(**fields)
    if isinstance(value, tuple):
        return tuple(_cleaned(item) for item in cast("tuple[Any, ...]", value))
    if isinstance(value, dict):
        return {clean(key): _cleaned(item) for key, item in cast("dict[str, Any]", value).items()}
    return value
