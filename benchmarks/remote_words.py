"""What goes over a channel to run a command on a host: command lines, lines on stdin, markers, and the witness.

The command line of a channel says nothing but a token; it is one single-quoted argument without a quote, ``!``,
backslash or newline inside, which every login shell reads alike. What is to be run follows on stdin: a line that makes
the shell the leader of a session, a line with environment, directory and command, then the command's own stdin.
"""

from __future__ import annotations

import importlib.resources
import re
import secrets
import shlex
from functools import lru_cache
from typing import Final

from msgspec import Struct

from benchmarks.errors import BenchError
from benchmarks.model import Side

#: the name of an environment variable
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: the environment variable that marks all that belongs to a command
MARK: Final = "QUARTERDECK_RUN"
#: the longest line a host reads, byte by byte, before it starts a command
_MAX_LINE: Final = 256 * 1024

_LEAD: Final = (
    "read -r p c t q g s r </proc/self/stat;"
    '[ "$p" = "$s" ]||[ "$p" = "$g" ]||exec setsid /bin/sh -c \'read -r x;eval "$x"\' {name};read -r x;eval "$x"\n'
)
_PYTHONS: Final = "python3 /usr/libexec/platform-python python3.13 python3.12 python3.11 python3.9 python3.6"

#: Runs a command as ``sh -c`` and says on stderr what it cost. A child keeps the peak of whom it was forked from, so a
#: small shell makes the command's process, waits with it for a word from here, and leaves it to us as its subreaper.
#: Where that cannot be had, our own peak is a floor below which the command's is not seen.
_WITNESS: Final = r"""
import os,sys,time
token,text=sys.argv[1:3]
clean=False
try:
    import ctypes
    clean=ctypes.CDLL(None).prctl(36,1,0,0,0)==0
except Exception:
    pass
go,gone=os.pipe()
say,said=os.pipe()
floor=0
first=os.fork()
if not first:
    try:
        os.dup2(go,7);os.dup2(0,8);os.dup2(said,9)
        if clean:
            start='{ read -r x <&7 && exec /bin/sh -c "$1" 7<&- 8<&- 9>&-; } <&8 & echo $! >&9'
            os.execv("/bin/sh",["sh","-c",start,"sh",text])
        os.read(go,1)
        os.execv("/bin/sh",["sh","-c",text])
    finally:
        os._exit(127)
os.close(go);os.close(said)
pid=first
if clean:
    pid=int(os.read(say,32))
    os.waitpid(first,0)
else:
    with open("/proc/self/statm") as file:
        floor=int(file.read().split()[1])*os.sysconf("SC_PAGE_SIZE")//1024
began=time.monotonic()
os.write(gone,b"\n")
use=None
try:
    _,status,use=os.wait4(pid,0)
except ImportError:
    _,status=os.waitpid(pid,0)
took=time.monotonic()-began
figures=(use.ru_maxrss,use.ru_utime+use.ru_stime) if use else (-1,-1)
os.write(2,("\nQDU1 %s %.9f %d %.6f %d\n"%((token,took)+figures+(floor,))).encode())
os._exit(128+os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))
"""


class Usage(Struct, frozen=True):
    """What one command cost, as the host itself saw it (monotonic clock, ``wait4``).

    ``peak_rss_bytes`` is of the largest single process, ``cpu_s`` of all that was waited for. ``missing`` says why a
    figure is None.
    """

    wall_s: float | None = None
    peak_rss_bytes: int | None = None
    cpu_s: float | None = None
    missing: dict[str, str] = {}


class Program(Struct, frozen=True):
    """What to run: ``command`` is a text for ``/bin/sh -c`` and can be seen on the host by whoever may see processes.

    ``env`` and ``stdin`` go over the channel and stand on no command line. ``cwd`` None: the home directory; ``~/``
    leads there too. ``witness``: have the host say what it cost (needs Python there, and takes its start). Of each of
    stdout and stderr the first and the last ``keep_bytes`` are kept.
    """

    command: str
    cwd: str | None = None
    env: dict[str, str] = {}
    stdin: bytes = b""
    witness: bool = False
    keep_bytes: int = 64 * 1024


def new_nonce() -> str:
    """A word that no banner prints by chance."""
    return secrets.token_hex(8)


def token(nonce: str, number: int) -> str:
    """What marks everything that belongs to one command."""
    return f"{nonce}.{number}."


def command_line(mark: str) -> str:
    """The command line of a command's channel."""
    return f"exec /bin/sh -c 'read -r x;eval \"$x\"' qd-{mark}"


def lines(program: Program, mark: str) -> bytes:
    """The two lines that start a program.

    Raises:
        BenchError: layer ``plan``: a NUL, a name that is none, or far too long.
    """
    for name, value in program.env.items():
        if _NAME.fullmatch(name) is None or "\0" in value:
            raise _unusable(f"{name!r} is no environment variable that a shell could set")
    texts = (program.command, program.cwd or "")
    if not program.command.strip() or any("\0" in text for text in texts):
        raise _unusable("the command or its directory is empty or has a NUL in it")
    fields = [*program.env.values(), *texts]
    parts = ["QDnl=$(printf '\\n.');QDnl=${QDnl%.}"] if any("\n" in field for field in fields) else []
    parts += [f"export {name}={_quoted(value)}" for name, value in program.env.items()]
    parts.append(f"export {MARK}={mark}")
    if program.cwd:
        parts.append(f'cd -- {_path(program.cwd)} 2>/dev/null||{{ echo "QDC1 {mark} cwd";exit 1;}}')
    parts += [f'echo "QDC1 {mark} start" >&2', f'echo "QDC1 {mark} start"']
    run = f"/bin/sh -c {_quoted(program.command)}"
    parts.append(_witnessed(run, program.command, mark) if program.witness else run)
    # the shell stays: its command line is what the keeper finds a command by that has emptied its environment
    line = ";".join([*parts, "exit $?"])
    raw = (_LEAD.format(name=f"qd-{mark}") + line + "\n").encode(errors="surrogateescape")
    if len(raw) > _MAX_LINE:
        raise _unusable(f"command and environment are longer than {_MAX_LINE // 1024} KiB")
    return raw


def _witnessed(plain: str, command: str, mark: str) -> str:
    # its lines are joined again on the host: a line of stdin has none
    code = _quoted(_WITNESS.strip())
    found = (
        f"for QDpy in {_PYTHONS};do command -v $QDpy >/dev/null 2>&1&&$QDpy -IBS -c pass </dev/null 2>/dev/null&&break;"
        "QDpy=;done"
    )
    none = f'{{ echo;echo "QDU1 {mark} none"; }} >&2'
    witness = f"$QDpy -IBS -c {code} {mark} {_quoted(command)}"
    run = f'if [ -n "$QDpy" ];then {witness};else {plain};QDrc=$?;{none};exit $QDrc;fi'
    return f"QDnl=$(printf '\\n.');QDnl=${{QDnl%.}};{found};{run}"


def _quoted(text: str) -> str:
    """A word of the shell that is ``text``; a newline in it is the variable ``QDnl``."""
    return '"$QDnl"'.join(shlex.quote(part) for part in text.split("\n"))


def _path(path: str) -> str:
    if path == "~":
        return '"$HOME"'
    return f'"$HOME"/{_quoted(path[2:])}' if path.startswith("~/") else _quoted(path)


def _unusable(cause: str) -> BenchError:
    return BenchError(cause, layer="plan", side=Side.CLIENT)


# --- the keeper ---


def keeper_line(nonce: str) -> str:
    """The command line of the keeper's channel; it must not hold the nonce followed by a dot."""
    return f"exec /bin/sh -c 'read -r n;eval \"$(dd bs=1 count=$n 2>/dev/null)\"' qdk-{nonce}"


def keeper_payload(nonce: str, silence_s: float, grace_s: float) -> bytes:
    """What the keeper's shell reads: a count and so many bytes.

    Args:
        nonce: of all commands that it keeps.
        silence_s: how long it does without a heartbeat.
        grace_s: from TERM to KILL.
    """
    head = f"QD_N={nonce}\nQD_W={silence_s:g}\nQD_G={max(round(grace_s * 10), 1)}\n"
    body = (head + _keeper()).encode()
    return b"%d\n" % len(body) + body


@lru_cache(maxsize=1)
def _keeper() -> str:
    text = importlib.resources.files("benchmarks").joinpath("keeper.sh").read_text(encoding="utf-8")
    stripped = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in stripped if line and not line.startswith("#")) + "\n"


# --- what comes back ---


def find_marker(data: bytes | bytearray, mark: str) -> tuple[str, int] | None:
    """The word behind the marker and where the data proper begins; None: not there yet."""
    at = data.find(b"QDC1 " + mark.encode() + b" ")
    end = data.find(b"\n", at) if at >= 0 else -1
    if end < 0:
        return None
    return data[at:end].split(b" ", 2)[2].decode("ascii", "replace"), end + 1


def take_usage(tail: bytes, mark: str) -> tuple[Usage, bytes]:
    """The witness's words out of the end of stderr, and the end of stderr without them."""
    found = re.search(rb"\nQDU1 " + re.escape(mark.encode()) + rb" ([^\n]*)\n", tail)
    if found is None:
        why = "error"
        return Usage(missing={"wall_s": why, "peak_rss_bytes": why, "cpu_s": why}), tail
    rest = tail[: found.start()] + tail[found.end() :]
    words = found.group(1).split()
    try:
        wall_s, peak_kib, cpu_s, floor_kib = float(words[0]), int(words[1]), float(words[2]), int(words[3])
    except (ValueError, IndexError):
        why = "unsupported"  # no Python there
        return Usage(missing={"wall_s": why, "peak_rss_bytes": why, "cpu_s": why}), rest
    missing: dict[str, str] = {}
    if peak_kib < 0 or peak_kib <= floor_kib * 1.05:
        missing["peak_rss_bytes"] = "unsupported"
    if cpu_s < 0:
        missing["cpu_s"] = "unsupported"
    peak = None if "peak_rss_bytes" in missing else peak_kib * 1024
    return Usage(wall_s, peak, None if "cpu_s" in missing else cpu_s, missing), rest
