"""Starting an agent on a host that has nothing of ours: one command line, one marker, one payload.

The sequence, on one SSH channel (or one local child), for both kinds of agent:

1. The watcher runs ``command(nonce)`` through the remote login shell.
2. The host prints one marker line, ``QDK1 <nonce> <kind> <detail>``. Everything before it is noise.
3. The watcher sends ``payload(kind, interval_s)``: a line with a number of bytes N, then N bytes. The host reads
   exactly these; stdin stays open.
4. The agent runs: lines out on stdout, requests in on stdin.
"""

from __future__ import annotations

import ast
import importlib.resources
import importlib.util
import re
import secrets
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

from probes.text import clean_bytes

Kind = Literal["python", "sh", "none"]

#: reads a count and that many bytes from stdin without reading ahead (a buffer of one byte), then runs them. It holds
#: no quotes, so it fits in double quotes inside single quotes; the strings it needs are its arguments. The alarm ends
#: it should the watcher freeze right here; the agent sets its own.
_LOADER: Final = (
    "import sys,io,zlib,signal;signal.alarm(60);print(*sys.argv[1:],sys.version.split()[0],flush=True);"
    "stdin=io.BufferedReader(io.FileIO(0,closefd=False),1);exec(zlib.decompress(stdin.read(int(stdin.readline()))))"
)
_CHECK: Final = "import sys,zlib,json,select;sys.exit(sys.version_info<(3,6))"
_PYTHONS: Final = "python3 /usr/libexec/platform-python python3.13 python3.12 python3.11 python3.9 python3.8 python3.6"
_NONCE: Final = re.compile(r"[0-9A-Za-z]{8,64}")
#: no quotes, ``$`` or ``;`` behind the kind: that is the command itself, echoed by a terminal or a forced command
_MARKER: Final = re.compile(rb"QDK1 ([0-9A-Za-z]+) (python|sh|none)(?: ([^\"'$;`]*))?$")


@dataclass(frozen=True, slots=True)
class Boot:
    """What the marker said. ``detail``: Python's version, or why there is no Python, or why there is nothing."""

    kind: Kind
    detail: str


def new_nonce() -> str:
    """A word that no banner prints by chance."""
    return secrets.token_hex(8)


def command(nonce: str, *, python: bool = True) -> str:
    """The command line for the remote login shell, whichever it is.

    It is one single-quoted argument to ``/bin/sh -c`` without a quote, ``!``, backslash or newline inside: sh, bash,
    dash, ksh, zsh, fish, csh and tcsh read that alike.

    Args:
        nonce: letters and digits, from ``new_nonce``.
        python: False asks for the ``sh`` agent at once.
    """
    return f"exec /bin/sh -c '{_script(nonce, python=python)}'"


def local_argv(nonce: str, python: str | None = None) -> list[str]:
    """The argv of the same agent as a local child.

    Args:
        nonce: letters and digits, from ``new_nonce``.
        python: the interpreter to use; None lets the bootstrap choose as on any host.
    """
    if python is None:
        return ["/bin/sh", "-c", _script(nonce, python=True)]
    return [python, "-IBS", "-c", _LOADER, "QDK1", _checked(nonce), "python"]


def _checked(nonce: str) -> str:
    if _NONCE.fullmatch(nonce) is None:
        raise ValueError("a nonce is 8 to 64 letters and digits")
    return nonce


def _script(nonce: str, *, python: bool) -> str:
    mark = f"QDK1 {_checked(nonce)}"
    parts = [f'test -r /proc/uptime||{{ echo "{mark} none no readable /proc on $(uname -s)";exit 1;}}']
    why, lack = "asked for", ""
    if python:
        why, lack = "$w", "$w and "
        parts.append(
            f"w=no-python;for p in {_PYTHONS};do command -v $p >/dev/null 2>&1||continue;"
            f'$p -IBS -c "{_CHECK}" </dev/null >/dev/null 2>&1||{{ w=$p-unusable;continue;}};'
            f'exec $p -IBS -c "{_LOADER}" {mark} python;done'
        )
    parts.append(f'command -v dd >/dev/null||{{ echo "{mark} none {lack}no dd";exit 1;}}')
    parts.append(f'echo "{mark} sh {why}";read -r n;eval "$(dd bs=1 count=$n 2>/dev/null)"')
    return ";".join(parts)


def parse_marker(line: bytes, nonce: str) -> Boot | None:
    """The marker in a line, or None. Text before it on the same line (a prompt without a newline) is ignored."""
    at = line.rfind(b"QDK1 ")
    found = _MARKER.match(line[at:].rstrip(b"\r\n")) if at >= 0 else None
    if found is None or found.group(1) != nonce.encode():
        return None
    kind: Kind = "python" if found.group(2) == b"python" else "sh" if found.group(2) == b"sh" else "none"
    return Boot(kind, clean_bytes(found.group(3) or b"", 120))


def payload(kind: str, interval_s: float, *, watchdog_s: float = 15.0, **settings: object) -> bytes:
    """What the watcher sends after the marker: the agent itself and its settings.

    Args:
        kind: ``python`` or ``sh``, from the marker.
        interval_s: seconds between samples.
        watchdog_s: seconds without a heartbeat after which the agent ends.
        settings: further settings of the Python agent (tests: ``proc``, ``kmsg``, ``processes_s``).
    """
    if kind == "python":
        chosen = {"interval_s": float(interval_s), "watchdog_s": float(watchdog_s), **settings}
        return _python_payload(repr(chosen))
    if kind == "sh":
        return _sh_payload(f"QD_INTERVAL={max(float(interval_s), 0.05):g}\nQD_WATCHDOG={max(round(watchdog_s), 1)}\n")
    raise ValueError(f"no agent of kind {clean_bytes(kind.encode())!r}")


#: where agent.py may be cut: the comment lines that head its sections
_SECTION: Final = re.compile(r"^(?=# --- )", re.MULTILINE)


@lru_cache(maxsize=8)  # a fleet of a thousand hosts connects with one payload
def _python_payload(settings: str) -> bytes:
    return packed(_source("agent.py"), settings)


def packed(source: str, settings: str) -> bytes:
    """What is sent to run a source of the agent with ``settings``, a Python expression."""
    # compiled section by section: what the compiler needs at its peak stays with the process, 4 MB of 19 for the whole;
    # and without docstrings
    sections = _SECTION.split(source)
    load = f"for part in {sections!r}:exec(compile(part,'agent','exec',0,True,2))\nmain({settings})\n"
    body = zlib.compress(load.encode())
    return b"%d\n" % len(body) + body


@lru_cache(maxsize=8)
def _sh_payload(head: str) -> bytes:
    body = (head + _stripped(_source("agent.sh"))).encode()
    return b"%d\n" % len(body) + body


def _source(name: str) -> str:
    return importlib.resources.files("probes.hosts").joinpath(name).read_text(encoding="utf-8")


def _stripped(script: str) -> str:
    """The script without comment lines: it is read byte by byte on the other side."""
    return "\n".join(line.strip() for line in script.splitlines() if line.strip() and not line.lstrip().startswith("#"))


# --- pynvml ---

#: what the agent calls; pynvml as a whole costs the host 15 MB to compile, so only what these need is sent
_NVML_CALLS: Final = re.compile(r"\bnvml[A-Z]\w+|\bnvmlMemory_v2\b")


@lru_cache(maxsize=1)
def pynvml_payload() -> bytes:
    """The request that carries pynvml: ``m <n>`` and n bytes of zlib. Sent when the agent notes ``need="pynvml"``."""
    body = zlib.compress(pynvml_source().encode(), 9)
    return b"m %d\n" % len(body) + body


def pynvml_source() -> str:
    """The parts of this application's pynvml (distribution nvidia-ml-py) that the agent needs, verbatim."""
    spec = importlib.util.find_spec("pynvml")
    if spec is None or spec.origin is None:
        raise RuntimeError("nvidia-ml-py is not installed beside quarterdeck")
    source = Path(spec.origin).read_text(encoding="utf-8")
    wanted = set(_NVML_CALLS.findall(_source("agent.py"))) | {"NVMLError"}
    for kind in ("Compute", "Graphics"):
        wanted |= {f"nvmlDeviceGet{kind}RunningProcesses{ending}" for ending in ("", "_v2", "_v3")}
    return prune(source, wanted)


def prune(source: str, wanted: set[str]) -> str:
    """Keep of a module its plain statements and the functions and classes reachable from ``wanted``, verbatim."""
    tree = ast.parse(source)
    lines = source.splitlines(keepends=True)
    needed: set[str] = set(wanted)
    optional: list[tuple[ast.stmt, set[str], set[str]]] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            optional.append((node, {node.name}, _names(node)))
        elif isinstance(node, ast.Assign) and not _is_error_code(node):
            optional.append((node, {t.id for t in node.targets if isinstance(t, ast.Name)}, _names(node)))
        else:
            needed |= _names(node)
    growing = True
    while growing:
        before = len(needed)
        for _, defined, used in optional:
            if defined & needed or not defined:
                needed |= used
        growing = len(needed) > before
    dropped = {id(node) for node, defined, _ in optional if defined and not defined & needed}
    return "".join(_text(node, lines) for node in tree.body if id(node) not in dropped)


def _is_error_code(node: ast.Assign) -> bool:
    return any(isinstance(t, ast.Name) and t.id.startswith("NVML_ERROR_") for t in node.targets)


def _names(node: ast.AST) -> set[str]:
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}


def _text(node: ast.stmt, lines: list[str]) -> str:
    first = node.lineno
    if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.decorator_list:
        first = min(first, *(decorator.lineno for decorator in node.decorator_list))
    return "".join(lines[first - 1 : node.end_lineno])
