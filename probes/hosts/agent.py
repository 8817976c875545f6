"""The agent: one file, standard library only, Python 3.6 or later.

It is sent over stdin and never written to the host's disk. It prints one JSON line per interval (``encode``), in
exactly the shapes of ``probes.model``: objects tagged ``t`` (``h`` hello, ``s`` sample, ``p`` processes, ``n`` note,
``a`` answer) whose nested values are arrays in field order. Importing this file does nothing; ``main(settings)`` runs
the agent. The parsing functions and ``Host`` are also what turns the frames of the ``sh`` agent into the same samples,
so both modes compute every number by the same code. A simulated host builds its lines with ``sample_line``, ``gpu_row``
and the like, or from the structs of ``probes.model`` with ``msgspec.to_builtins``, and writes ``encode`` of them.

A value that could not be read is null, and a ``missing`` table names it with the reason (the names: see
``probes.model.Sample``).

Requests on stdin, one a line: ``h TOKEN`` heartbeat, ``p 1``/``p 0`` process list every interval or every 30 s,
``i SECONDS`` interval, ``m N`` and N bytes (zlib of pynvml), ``q`` quit. The end of stdin, a broken stdout or 15 s
without a heartbeat end the agent and its children.

Requests with a TOKEN (letters and digits) are answered by a line of type ``a`` that carries it; nothing of this is
done unless asked: ``l TOKEN`` listening sockets, settings of sshd, firewall; ``c TOKEN ADDRESS PORT MILLISECONDS`` one
TCP connect from here; ``b TOKEN PORT SECONDS`` listen on a port, answered when it does and when it ended; ``e TOKEN``
ends that before its time.

What may hang runs in threads: NVML, file systems, docker and systemctl. The sample line is never held up by them: NVML
values are at most ``max(3 s, 3 intervals)`` old, afterwards they are null with the reason ``timeout``.
"""

import _thread
import collections
import errno
import json
import os
import re
import resource
import select
import signal
import sys
import threading
import time
import zlib

WATCHDOG_S = 15.0
PROCESSES_S = 30.0
DISKS_S = 30.0
DISKS_WATCHED_S = 10.0
DISKS_OLD_S = 2 * DISKS_S + 3.0
UNITS_S = 300.0
UNITS_CHANGED_S = 60.0
DOCKER_S = 10.0
MAX_DOCKER_BYTES = 4 << 20
STATIC_S = 60.0
NO_DRIVER_S = 600.0
STUCK_S = 3.0
MAX_DISKS = 64
MAX_NET = 32
MAX_XIDS = 64
MAX_TOP = 40
MAX_GPU_PROCESSES = 256
MAX_UNITS = 100
MAX_CONTAINERS = 30
MAX_TEXT = 256
MAX_LISTENERS = 512
MAX_SOCKETS_BYTES = 16 << 20
MAX_ASKED = 32
MAX_HELD = 8
MAX_HOLD_S = 60
MAX_PEERS = 256
MAX_CONNECT_MS = 30000
MAX_ANSWERS = 256
OWNERS_S = 4.0
INSIDE_S = 9.0
PROGRAM_S = 3.0
LINGER_S = 0.2
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

# --- every second ------------------------------------------------------------------------------------------------

# What runs every second comes first. After a second in which others ran, nothing of it is in a cache, and it costs how
# many different places it touches: compiled first, its code and constants lie side by side. For the same reason a tick
# uses no regular expression and few objects, and writes JSON straight from integers.


class ProcFile(object):
    """One file of /proc kept open and read from its beginning each time; ``stop`` ends the reading early."""

    def __init__(self, path, stop=None):
        self.path = path
        self.stop = stop
        self.size = 4096  # of the buffer: what the file had, and some more
        self.fd = -1

    def read(self):
        if self.fd < 0:
            self.fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        size = self.size
        try:
            data = os.pread(self.fd, size, 0)
            if len(data) >= 2048 or len(data) == size:
                data = self.read_on(data)
        except OSError:
            os.close(self.fd)
            self.fd = -1
            raise
        if not size >> 2 < len(data) < size:
            self.size = min(2 * len(data) + 64, 1 << 20)
        return data

    def read_on(self, data):
        """The rest: a seq_file hands out a page at a time, so its end is an empty read or less than half of one."""
        while self.stop is None or self.stop not in data:
            more = os.pread(self.fd, max(self.size, 4096), len(data))
            if not more:
                break
            data += more
        return data


def parse_stat(data):
    """/proc/stat: [(name, busy, total)] in jiffies, the whole machine first.

    iowait counts as idle. guest and guest_nice are part of user and nice already, so only eight columns are added.
    """
    out = []
    for line in data.split(b"\n"):
        if line[:3] != b"cpu":
            break
        fields = line.split()
        if len(fields) < 9:  # an old kernel
            if len(fields) < 5:
                raise ValueError("a short cpu line in stat")
            fields += [b"0"] * 8
        busy = int(fields[1]) + int(fields[2]) + int(fields[3]) + int(fields[6]) + int(fields[7]) + int(fields[8])
        out.append((fields[0], busy, busy + int(fields[4]) + int(fields[5])))
    if not out or out[0][0] != b"cpu":
        raise ValueError("no cpu line in stat")
    return out


_MEMINFO = [(name, name.encode("ascii") + b":") for name in "MemTotal MemAvailable SwapTotal SwapFree".split()]


def parse_meminfo(data):
    """/proc/meminfo: the four values of interest in bytes, by their names there."""
    out = {}
    for name, head in _MEMINFO:
        at = data.find(head)
        if at == 0 or (at > 0 and data[at - 1] == 10):
            words = data[at + len(head) :].split(None, 1)
            if words and words[0].isdigit():
                out[name] = int(words[0]) * 1024
    return out


def decimal(word):
    """A number with two decimals, as /proc writes loads and the uptime, as JSON text."""
    digits = word[:-3] + word[-2:]
    if word[-3:-2] != b"." or not 3 <= len(digits) <= 15 or not digits.isdigit():
        raise ValueError("no number with two decimals: %r" % (word[:30],))
    return "%d.%02d" % divmod(int(digits), 100)


def parse_loadavg(data):
    """/proc/loadavg: the three averages, as JSON text."""
    words = data.split(None, 3)
    if len(words) < 3:
        raise ValueError("no load averages")
    return [decimal(word) for word in words[:3]]


def parse_net(data):
    """/proc/net/dev: {name as it stands there: (rx_bytes, tx_bytes)}."""
    out = {}
    for line in data.split(b"\n"):
        name, colon, rest = line.rpartition(b":")
        if colon:
            fields = rest.split(None, 9)
            if len(fields) >= 9:
                out[name] = (int(fields[0]), int(fields[8]))
    return out


def parse_diskstats(data, wanted=None):
    """/proc/diskstats: {(major, minor): (bytes read, bytes written)}, as bytes; a sector there is 512 bytes.

    ``wanted``: the numbers of interest, of all that there are; None: all.
    """
    out = {}
    for line in data.split(b"\n"):
        fields = line.split(None, 2)
        if len(fields) < 3:
            continue
        numbers = (fields[0], fields[1])
        if wanted is None or numbers in wanted:
            fields = fields[2].split(None, 8)
            if len(fields) >= 8:
                out[numbers] = (int(fields[3]) * 512, int(fields[7]) * 512)
    return out


def less(whole, part):
    """A difference that is not below nothing; None where either is not known."""
    return None if whole is None or part is None else max(whole - part, 0)


def tenths(part, whole):
    """The quotient of two integers as JSON text, to the nearest tenth."""
    return "%d.%d" % divmod((20 * part + whole) // (2 * whole), 10)


_VIRTUAL_NET = re.compile(r"^(veth|cali|cilium|lxc|vnet|tap|tun|flannel|cni|br-|docker|virbr|ifb|dummy|kube)")
_NO_CPU = ("count", "utilization_pct", "per_core_pct", "load1", "load5", "load15")


class Host(object):
    """Turns raw readings of one host into the JSON of its samples; keeps the reading before, for the rates.

    ``raw`` maps ``stat``, ``meminfo``, ``loadavg``, ``netdev`` and ``diskstats`` to bytes, or to a reason (str) when
    they could not be read. ``notes`` is called with (layer, text) when something is not as it should be.
    """

    def __init__(self, notes):
        self.notes = notes
        self.at_s = None
        self.passed_us = 0
        self.why = None  # the reason why there are no rates
        self.cpu_before = {}
        self.net_before = {}
        self.net_names = None
        self.net_heads = ()
        self.disk_before = {}
        self.disk_mounts = None
        self.disk_heads = ()
        self.disk_wanted = ()

    def sample(self, raw, now_s, mounts):
        """(JSON of the fields interval_s, cpu, memory, disks, net; of the cpu's second part; missing) of a sample.

        Args:
            raw: the readings.
            now_s: the host's clock, in seconds since its boot.
            mounts: rows of (mount, device, "major:minor", total_bytes, used_bytes, reason or None), or a reason. The
                same list again means the same rows.
        """
        missing = {}
        interval = "null"
        self.why = None
        if self.at_s is None:
            self.why = "not_yet"
        else:
            self.passed_us = int((now_s - self.at_s) * 1e6)
            if self.passed_us <= 0:
                self.why = "error"
            else:
                interval = "%d.%03d" % divmod((self.passed_us + 500) // 1000, 1000)
        if self.why:
            missing["interval_s"] = self.why
        self.at_s = now_s
        cpu, cores, memory, disks, net = "[0,null,null", "[null,null,null]", "[null,null,null,null,null]", "", ""
        try:
            cpu, cores = self._cpu(raw, missing)
        except Exception as error:
            self._broken("cpu", error, missing, ["cpu." + name for name in _NO_CPU])
        try:
            memory = self._memory(raw, missing)
        except Exception as error:
            self._broken("memory", error, missing, ["memory." + name for name in MEMORY_FIELDS])
        try:
            disks = self._disks(raw, missing, mounts)
        except Exception as error:
            self._broken("disks", error, missing, ("disks",))
        try:
            net = self._net(raw, missing)
        except Exception as error:
            self._broken("net", error, missing, ("net",))
        fields = '"interval_s":%s,"cpu":%s],"memory":%s,"disks":[%s],"net":[%s]' % (interval, cpu, memory, disks, net)
        return fields, cores, missing

    def _broken(self, layer, error, missing, names):
        for name in names:
            missing.setdefault(name, "error")
        self.notes(layer, "%s: %s" % (type(error).__name__, error))

    def _cpu(self, raw, missing):
        """The brief part of the CPU, still open, and its second part."""
        count, busy, cores = 0, "null", "null"
        stat = raw["stat"]
        if isinstance(stat, bytes):
            before, now, shares, bad = self.cpu_before, {}, [], []
            for name, used, total in parse_stat(stat):
                old = before.get(name)
                now[name] = (used, total)
                if old is not None:
                    spent, passed = used - old[0], total - old[1]
                    if 0 <= spent <= passed > 0:
                        shares.append(tenths(100 * spent, passed))
                        continue
                # a counter that went backwards is no share
                bad.append("not_yet" if old is None else "error")
                shares.append("null")
            if len(now) != len(shares):
                raise ValueError("a cpu twice in stat")
            self.cpu_before = now
            busy = shares[0]
            count = len(shares) - 1
            if busy == "null":
                missing["cpu.utilization_pct"] = bad.pop(0)
            if bad:
                missing["cpu.per_core_pct"] = bad[0]
            elif not count:
                missing["cpu.count"] = missing["cpu.per_core_pct"] = "unsupported"
            if len(bad) < count:
                cores = "[%s]" % (",".join(shares[1:]),)
        else:
            missing["cpu.count"] = missing["cpu.utilization_pct"] = missing["cpu.per_core_pct"] = stat
        loads = raw["loadavg"]
        if isinstance(loads, bytes):
            loads = parse_loadavg(loads)
        else:
            missing["cpu.load1"] = missing["cpu.load5"] = missing["cpu.load15"] = loads
            loads = ("null", "null", "null")
        return "[%d,%s,%s" % (count, busy, loads[0]), "[%s,%s,%s]" % (loads[1], loads[2], cores)

    def _memory(self, raw, missing):
        data = raw["meminfo"]
        found, reason = {}, data
        if isinstance(data, bytes):
            found, reason = parse_meminfo(data), "unsupported"  # kernels before 3.14 have no MemAvailable
        total, available = found.get("MemTotal"), found.get("MemAvailable")
        swap, free = found.get("SwapTotal"), found.get("SwapFree")
        row = (total, less(total, available), available, swap, less(swap, free))
        if None not in row:
            return "[%d,%d,%d,%d,%d]" % row
        for at, name in enumerate(MEMORY_FIELDS):
            if row[at] is None:
                missing["memory." + name] = reason
        return to_json(row)

    def _disks(self, raw, missing, mounts):
        data, wanted = raw["diskstats"], None
        if isinstance(mounts, list):
            if mounts is not self.disk_mounts:
                self.disk_mounts, self.disk_heads = mounts, [disk_head(row) for row in mounts]
                self.disk_wanted = {numbers for _, numbers, _ in self.disk_heads}
            wanted = self.disk_wanted
        counters, broken = {}, data
        if isinstance(data, bytes):  # all of them as long as there are no mounts: rates are there one sample after
            counters, broken = parse_diskstats(data, wanted), None
        before, self.disk_before = self.disk_before, counters
        if wanted is None:
            missing["disks"] = mounts
            return ""
        rows = []
        for head, numbers, absent in self.disk_heads:
            now = counters.get(numbers)
            if now is None:
                rates, reason = None, broken or "unsupported"
            else:
                rates, reason = self._rates(before.get(numbers), now)
            if rates:
                rows.append("%s%s,%s]" % (head, rates, absent))
                continue
            both = dict(json.loads(absent), read_bytes_per_s=reason, write_bytes_per_s=reason)
            rows.append("%snull,null,%s]" % (head, to_json(both)))
        return ",".join(rows)

    def _net(self, raw, missing):
        data = raw["netdev"]
        if not isinstance(data, bytes):
            missing["net"] = data
            return ""
        counters = parse_net(data)
        names = list(counters)
        if names != self.net_names:
            self._name_nets(names)
        before, self.net_before = self.net_before, counters
        rows = []
        for name, head in self.net_heads:
            rates, reason = self._rates(before.get(name), counters[name])
            if rates:
                rows.append("%s%s,{}]" % (head, rates))
                continue
            rows.append('%snull,null,{"rx_bytes_per_s":"%s","tx_bytes_per_s":"%s"}]' % (head, reason, reason))
        return ",".join(rows)

    def _rates(self, before, now):
        """(JSON of two rates per second, None) between two pairs of counters, or (None, reason)."""
        if self.why or before is None:
            return None, self.why or "not_yet"
        if now == before:  # most of many are idle
            return "0.0,0.0", None
        one, two, passed = (now[0] - before[0]) * 1000000, (now[1] - before[1]) * 1000000, self.passed_us
        if one < 0 or two < 0:
            return None, "error"
        return tenths(one, passed) + "," + tenths(two, passed), None

    def _name_nets(self, names):
        """Choose which interfaces have a row, and in which order."""
        spelled = [(name, text_of(name.strip(), 64)) for name in names]
        ordered = sorted(spelled, key=lambda pair: (pair[1] == "lo", bool(_VIRTUAL_NET.match(pair[1]))))
        if len(ordered) > MAX_NET:
            self.notes("net", "%d interfaces, %d are shown" % (len(ordered), MAX_NET))
            ordered = ordered[: MAX_NET - 1] + [pair for pair in ordered[MAX_NET - 1 :] if pair[1] == "lo"][:1]
        self.net_names = names
        self.net_heads = [(name, "[%s," % (to_json(text),)) for name, text in ordered]


def disk_head(row):
    """(the JSON of a disk's row up to its rates, its numbers as ``parse_diskstats`` has them, JSON of its reasons)."""
    mount, device, numbers, total, used, reason = row
    absent = {"total_bytes": reason, "used_bytes": reason} if reason else {}
    head = to_json([printable(mount), printable(device), total, used])[:-1] + ","
    return head, tuple(numbers.encode("ascii", "replace").split(b":")), to_json(absent)


def sample_text(seq, uptime, fields, more, own, echo, gpus, xid_events, missing):
    """A sample's line, of two parts (see ``encode``).

    Args:
        seq: its number.
        uptime: JSON of the host's uptime in seconds.
        fields: the first of what ``Host.sample`` gave.
        more: the second of it.
        own: JSON of what the agent itself uses.
        echo: JSON of the last heartbeat.
        gpus: rows in wire order.
        xid_events: rows, or None with a reason in ``missing``.
        missing: JSON of the reasons.
    """
    brief = details = "[]"
    if gpus:
        brief = to_json([row[:GPU_BRIEF] for row in gpus])
        details = to_json([row[GPU_BRIEF:] for row in gpus])
    xids = "null" if xid_events is None else to_json(xid_events) if xid_events else "[]"
    return (
        '{"t":"s","seq":%d,"uptime_s":%s,%s,"agent":%s,"echo":%s,"gpus":%s,"xid_events":%s,"missing":%s}'
        '\t{"cpu":%s,"gpus":%s}'
    ) % (seq, uptime, fields, own, echo, brief, xids, missing, more, details)


class Ticker(object):
    """The main loop, and what it does at every tick; what it works with is made by ``Agent``."""

    def loop(self):
        """Ticks on an absolute schedule; GPUs are asked at the tick and waited for a little."""
        gpus, monotonic = self.gpus, time.monotonic
        next_at = monotonic()
        emit_at = None
        while True:
            now = monotonic()
            if now > self.deadline:
                self.die()
            if emit_at is None and now >= next_at:
                if now >= self.slow_at:
                    self.slow_work(now)
                if gpus.present is not False or now >= gpus.retry_at:
                    gpus.kick(self.wants_processes(now))
                emit_at = now + (0.25 if self.interval_s > 0.5 else self.interval_s / 2)
                next_at += self.interval_s
                if next_at < now:  # suspended or starved: go on from here, without a burst
                    next_at = now + self.interval_s
            if emit_at is not None and (now >= emit_at or not gpus.pending):
                emit_at = None
                if not self.out:  # the watcher has taken the last line
                    self.tick(now)
            until = next_at if emit_at is None else emit_at
            if until > self.deadline:
                until = self.deadline + 0.01
            wait_ms = (until - monotonic()) * 1000.0
            # what comes meanwhile: requests, the GPU thread's readings, the kernel log, room on stdout
            for fd, _ in self.poll.poll(wait_ms if wait_ms > 0.0 else 0):
                before = self.interval_s
                self.serve(fd)
                if before != self.interval_s:
                    next_at = min(next_at, monotonic() + self.interval_s)

    def wants_processes(self, now):
        """Whether a process list is due: with the second sample, then every 30 s, or every tick on request."""
        return self.seq > 0 and (self.every_tick or now >= self.processes_at)

    def tick(self, now):
        """Write one sample and what else is due."""
        if self.hello is None or self.gpus.changed or self.units.changed:
            self.say_hello()
        try:
            self.out += (self.sample() + "\n").encode()
        except Exception as error:
            self.note("sample", "%s: %s" % (type(error).__name__, error))
        if self.wants_processes(now):
            try:
                self.process_list()
            except Exception as error:
                self.note("processes", "%s: %s" % (type(error).__name__, error))
        while self.note_lines:
            self.send(self.note_lines.popleft())
        self.flush()

    def sample(self):
        """One sample line."""
        raw = self.raw()
        now_s = time.clock_gettime(self.boot_clock)
        fields, more, missing = self.host.sample(raw, now_s, self.disks.view())
        try:
            uptime = decimal(raw["uptime"].split(None, 1)[0])
        except (AttributeError, ValueError, IndexError):
            uptime = "%.2f" % now_s
        gpus = self.gpus
        state = gpus.state
        if state is None or state[1] is not None or gpus.pending:
            rows, reason = gpus.view(max(3.0, 3 * self.interval_s))
        else:
            rows, reason = (), state[2]
        if reason:
            missing["gpus"] = reason
        log = self.kmsg
        if log.news:
            self.read_log()
        events = log.events
        if log.reason is not None:
            missing["xid_events"], events = log.reason, None
        own = self.own_use(raw["statm"], missing)
        echo = "null"
        if self.echo is not None:
            echo = "[%d,%d]" % (self.echo[0], int((time.monotonic() - self.echo[1]) * 1000))
        seq, self.seq = self.seq, self.seq + 1
        if missing != self.missing:  # mostly those of the sample before
            self.missing, self.missing_text = missing, to_json(missing)
        return sample_text(seq, uptime, fields, more, own, echo, rows, events, self.missing_text)

    def raw(self):
        """The readings every sample is made of."""
        out = {}
        for name, file in self.files.items():
            try:
                out[name] = file.read()
            except OSError as error:
                out[name] = reason_of(error)
        return out

    def read_log(self):
        """Take what is new in the kernel log, and wait for more."""
        log = self.kmsg
        log.news = False
        try:
            log.read()
        except Exception as error:
            log.reason = "error"
            self.note("kmsg", "%s: %s" % (type(error).__name__, error))
        if log.reason is None:
            self.poll.register(log.fd, select.POLLIN)

    def own_use(self, statm, missing):
        """JSON of [cpu_pct, rss_bytes] of this process, its ended children included."""
        ended = self.children.ended
        if ended != self.ended:
            use = resource.getrusage(resource.RUSAGE_CHILDREN)
            self.ended, self.ended_cpu_s = ended, use.ru_utime + use.ru_stime
        spent = time.process_time() + self.ended_cpu_s
        before, self.cpu_before = self.cpu_before, spent
        cpu = rss = "null"
        if before is None or self.host.why:
            missing["agent.cpu_pct"] = "not_yet"
        else:
            cpu = "%d.%03d" % divmod(int((spent - before) * 1e11) // self.host.passed_us, 1000)
        try:
            rss = int(statm.split(None, 2)[1]) * PAGE_BYTES
        except (AttributeError, ValueError, IndexError):
            missing["agent.rss_bytes"] = "error"
        return "[%s,%s]" % (cpu, rss)

    def flush(self):
        """Write what can be written; the rest when there is room."""
        try:
            self.out = self.out[os.write(1, self.out) :]
        except BlockingIOError:
            pass
        except OSError:
            self.die()
        if self.flushing != bool(self.out):
            self.flushing = not self.flushing
            if self.flushing:
                self.poll.register(1, select.POLLOUT)
            else:
                self.poll.unregister(1)

    def slow_work(self, now):
        """Start what is read more seldom than the rest."""
        self.slow_at = now + (DISKS_WATCHED_S if self.every_tick else DISKS_S)
        self.disks.refresh()
        if self.kmsg.reason is not None:
            self.kmsg.news = True
        if self.units.due(now, self.every_tick):
            self.units.refresh()


# --- lines out ---------------------------------------------------------------------------------------------------


def _chunks_maker():
    """What turns an object into chunks of JSON, made once: ``JSONEncoder.encode`` makes it anew for every line."""
    plain = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    try:
        escape = json.encoder.encode_basestring_ascii
        return json.encoder.c_make_encoder(None, plain.default, escape, None, ":", ",", False, False, False)
    except (AttributeError, TypeError):  # a Python without the C encoder, or with another one
        return lambda line, _: (plain.encode(line),)


_chunks = _chunks_maker()

MEMORY_FIELDS = ("total_bytes", "used_bytes", "available_bytes", "swap_total_bytes", "swap_used_bytes")
# in wire order, in two parts: what every sample is judged by, and what only a close look needs
GPU_BRIEF_FIELDS = (
    "utilization_pct",
    "memory_total_bytes",
    "memory_used_bytes",
    "temperature_c",
    "power_w",
    "power_limit_w",
    "throttle_reasons",
    "ecc_uncorrected",
)
GPU_MORE_FIELDS = (
    "memory_free_bytes",
    "memory_reserved_bytes",
    "sm_clock_mhz",
    "memory_clock_mhz",
    "fan_pct",
    "pstate",
    "ecc_corrected",
    "pcie_gen",
    "pcie_width",
)
GPU_FIELDS = GPU_BRIEF_FIELDS + GPU_MORE_FIELDS
# how many values of a row are brief: index, those fields, missing; and of the CPU: count, utilization_pct, load1
GPU_BRIEF = len(GPU_BRIEF_FIELDS) + 2
CPU_BRIEF = 3
# what one call of NVML tells together
MEMORY_INFO_FIELDS = ("memory_total_bytes", "memory_used_bytes", "memory_free_bytes", "memory_reserved_bytes")


def encode(line):
    """One line as the agent writes it: compact ASCII JSON and a newline, as bytes.

    A sample is two JSON objects with a tab between them: what it is judged by, and what only a close look needs (the
    watcher reads that when somebody looks). No JSON holds a raw tab.
    """
    parts = two_parts(line) if line.get("t") == "s" else (line,)
    return ("\t".join([to_json(part) for part in parts]) + "\n").encode("ascii")


def to_json(value):
    """Compact ASCII JSON."""
    return "".join(_chunks(value, 0))


def two_parts(sample):
    """The two objects of a sample: every row is cut behind its brief fields."""
    brief, rows, cpu = dict(sample), sample.get("gpus", ()), sample["cpu"]
    brief["cpu"] = cpu[:CPU_BRIEF]
    brief["gpus"] = [row[:GPU_BRIEF] for row in rows]
    return brief, {"cpu": cpu[CPU_BRIEF:], "gpus": [row[GPU_BRIEF:] for row in rows]}


def gpu_row(index, uuid, name, values, missing, mig=()):
    """One GPU in wire order; every field of ``GPU_FIELDS`` that is not in ``values`` needs a reason in ``missing``."""
    row = [index]
    row.extend([values.get(field) for field in GPU_BRIEF_FIELDS])
    row.extend([missing, uuid, name])
    row.extend([values.get(field) for field in GPU_MORE_FIELDS])
    row.append(list(mig))
    return row


def gpu_identity(row):
    """(index, uuid, name) of a row in wire order."""
    return row[0], row[GPU_BRIEF], row[GPU_BRIEF + 1]


def lost_gpu(index, uuid, name, reason):
    """A GPU none of whose values can be had: what is known of it, and the reason for all else."""
    missing = dict.fromkeys(GPU_FIELDS, reason)
    if uuid is None:
        missing["uuid"] = reason
    if name is None:
        missing["name"] = reason
    return gpu_row(index, uuid, name, {}, missing)


def hello_line(mode, hostname, **more):
    """A hello: os, kernel, driver, cuda, python, boot_id, pid, units, missing in ``more``."""
    line = {"t": "h", "mode": mode, "hostname": hostname}
    line.update(more)
    return line


def processes_line(total, top, gpu, missing):
    """A process list: rows of [pid, user, name, cpu_pct, rss_bytes] and [gpu, pid, user, name, memory_bytes]."""
    return {"t": "p", "total": total, "top": top, "gpu": gpu, "missing": missing}


def note_line(layer, text, need=None):
    """The agent's own word."""
    line = {"t": "n", "layer": layer, "text": text[:MAX_TEXT]}
    if need is not None:
        line["need"] = need
    return line


# --- small tools -------------------------------------------------------------------------------------------------


def text_of(raw, limit=MAX_TEXT):
    """Bytes of a stranger as a string of bounded length."""
    return raw[:limit].decode("utf-8", "replace")


def reason_of(error):
    """The wire reason of an OSError."""
    code = getattr(error, "errno", None)
    if code in (errno.EACCES, errno.EPERM):
        return "denied"
    if code in (errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ENOSYS, errno.EOPNOTSUPP):
        return "unsupported"
    if code == errno.ETIMEDOUT:
        return "timeout"
    return "error"


def slurp(path, limit=1 << 20):
    """A whole small file as bytes."""
    with open(path, "rb", 0) as file:
        chunks = []
        while limit > 0:
            chunk = file.read(min(limit, 65536))
            if not chunk:
                break
            chunks.append(chunk)
            limit -= len(chunk)
        return b"".join(chunks)


# --- parsing: pure functions, shared with sh mode ------------------------------------------------------------------


LOCAL_FS = frozenset(
    "ext2 ext3 ext4 xfs btrfs zfs f2fs jfs reiserfs bcachefs nilfs2 ntfs ntfs3 fuseblk exfat hfsplus ufs".split()
)
NETWORK_FS = frozenset(
    "nfs nfs4 cifs smb3 smbfs ceph lustre gpfs beegfs glusterfs fuse.glusterfs fuse.sshfs fuse.juicefs "
    "fuse.s3fs fuse.gcsfuse afs wekafs 9p virtiofs".split()
)
_OCTAL = re.compile(r"\\([0-7]{3})")


def parse_mountinfo(data):
    """/proc/self/mountinfo: [(mount, device, file system, "major:minor", root of the mount)]."""
    out = []
    for line in data.split(b"\n"):
        left, dash, right = line.partition(b" - ")
        fields = left.split(b" ")
        source = right.split(b" ")
        if not dash or len(fields) < 6 or len(source) < 2:
            continue
        texts = [_unoctal(raw) for raw in (fields[4], source[1], source[0], fields[2], fields[3])]
        out.append(tuple(texts))
    return out


def _unoctal(raw):
    text = raw[:1024].decode("utf-8", "surrogateescape")
    if "\\" not in text:
        return text
    spelled = _OCTAL.sub(lambda found: chr(int(found.group(1), 8)), text)
    # an escaped byte of a UTF-8 name came out as one character each: put them together again
    try:
        return spelled.encode("latin-1").decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return spelled


def select_mounts(entries):
    """The mounts worth a row: block file systems once per device, network ones, and whatever "/" is.

    A later mount on the same point hides an earlier one. Of several mounts of one device the whole file system wins
    over a bind mount of a folder, then the shorter path.
    """
    visible = {}
    for entry in entries:
        visible[entry[0]] = entry
    best = {}
    for entry in visible.values():
        mount, device, kind, numbers, root = entry
        network = kind in NETWORK_FS
        if mount != "/" and kind not in LOCAL_FS and not network:
            continue
        key = device if network or device.startswith("/dev/") or kind == "zfs" else numbers
        rank = (mount != "/", root != "/" and kind != "btrfs", len(mount), mount)
        if key not in best or rank < best[key][0]:
            best[key] = (rank, entry)
    rows = sorted((entry for _, entry in best.values()), key=lambda entry: entry[0])
    return rows[:MAX_DISKS]


_XID = re.compile(r"NVRM: (?:GPU at [^:]*: )?Xid \((?:PCI:)?([0-9a-fA-F:.]+)\): (\d+)(?:[,:]?\s*(.*))?$")


def parse_xid(text):
    """(pci, code, message) of a kernel message that is an XID error, else None."""
    found = _XID.search(text)
    if found is None:
        return None
    return found.group(1), int(found.group(2)), (found.group(3) or "").strip()[:MAX_TEXT]


def parse_kmsg(record):
    """[uptime_s, pci, code, message] of one record of /dev/kmsg, or None. Time there is microseconds since boot."""
    if b"Xid" not in record:
        return None
    head, _, rest = record.partition(b";")
    found = parse_xid(rest.partition(b"\n")[0].decode("utf-8", "replace"))
    stamp = head.split(b",")
    if found is None or len(stamp) < 3 or not stamp[2].isdigit():
        return None
    return [int(stamp[2]) / 1e6, found[0], found[1], found[2]]


def parse_process(raw):
    """/proc/PID/stat: (name, user and system time in ticks, start in ticks since boot, resident bytes)."""
    left = raw.index(b"(")
    right = raw.rindex(b")")
    fields = raw[right + 2 :].split()
    return (
        text_of(raw[left + 1 : right], 64),
        int(fields[11]) + int(fields[12]),
        int(fields[19]),
        max(int(fields[21]), 0) * PAGE_BYTES,
    )


def parse_passwd(data):
    """/etc/passwd: {uid: name}."""
    out = {}
    for line in data.split(b"\n"):
        fields = line.split(b":")
        if len(fields) > 2 and fields[2].isdigit():
            out.setdefault(int(fields[2]), text_of(fields[0], 64))
    return out


def parse_os_release(data):
    """PRETTY_NAME of /etc/os-release, else NAME and VERSION."""
    values = {}
    for line in data.decode("utf-8", "replace").split("\n"):
        key, _, value = line.strip().partition("=")
        values[key] = value.strip().strip("\"'")
    name = values.get("PRETTY_NAME") or " ".join(v for v in (values.get("NAME"), values.get("VERSION")) if v)
    return name[:MAX_TEXT] or None


_DOCKER_STATES = (
    ("Up", "running"),
    ("Exited", "exited"),
    ("Created", "created"),
    ("Restarting", "restarting"),
    ("Removal", "removing"),
    ("Dead", "dead"),
)


def container_row(name, status, image):
    """A row of [kind, name, state, detail] from docker's words for a container."""
    state = "unknown"
    for word, meaning in _DOCKER_STATES:
        if status.startswith(word):
            state = meaning
    for word in ("paused", "unhealthy"):
        if "(%s)" % word in status.lower():
            state = word
    return ["docker", name[:128], state, (status + ", " + image)[:MAX_TEXT]]


def worst_containers(rows):
    """A bounded list, what does not run first: a bound must never hide it."""
    return sorted(rows, key=lambda row: (row[2] == "running", row[1]))[:MAX_CONTAINERS]


def parse_docker(text):
    """`docker ps -a --format '{{.Names}}|{{.Status}}|{{.Image}}'`: rows of [kind, name, state, detail]."""
    lines = [line.rstrip("\r").split("|") for line in text.split("\n")]
    return worst_containers([container_row(*fields[:3]) for fields in lines if len(fields) >= 3 and fields[0]])


def parse_containers(answer):
    """What docker's socket answers to ``GET /containers/json?all=1``, with its head: the same rows.

    Raises:
        ValueError: it is no such answer.
    """
    head, _, body = answer.partition(b"\r\n\r\n")
    if head.split(None, 2)[1:2] != [b"200"]:
        raise ValueError("docker says %s" % (text_of(head.split(b"\r\n")[0], 80),))
    rows = []
    for found in json.loads(body.decode("utf-8", "replace")):
        name = str((found["Names"] or [found["Id"][:12]])[0])
        rows.append(container_row(name.lstrip("/"), str(found["Status"]), str(found["Image"])))
    return worst_containers(rows)


def docker_reason(said):
    """The wire reason in what a failed docker said; a client without a daemon is no docker host."""
    if "ermission denied" in said:
        return "denied"
    return "unsupported" if "Is the docker daemon running" in said or "no such file" in said else "error"


def worst_reason(reasons):
    """The reason that says most, of several."""
    known = set(reasons)
    for one in ("denied", "timeout", "error"):
        if one in known:
            return one
    return "unsupported"


_KNOWN_UNITS = re.compile(
    r"^(docker|containerd|crio|podman|kubelet|k3s|nvidia-.*|dcgm.*|slurm.*|munge|nginx|apache2|httpd|caddy|haproxy|"
    r"traefik|postgresql.*|mysql.*|mariadb.*|redis.*|mongod|rabbitmq.*|ollama|vllm.*|tgi.*|triton.*|voicevox.*|"
    r"openvoice.*|jupyter.*|ray.*|prometheus.*|grafana.*|node.exporter.*|ssh|sshd|chrony|chronyd|ntp|ntpd|"
    r"systemd-timesyncd|gunicorn.*|uvicorn.*|supervisor|amazon-.*)\.service$"
)


def parse_systemctl(text, local=()):
    """`systemctl list-units --type=service --all --plain --no-legend`: all failed units, then those that matter.

    ``local``: names of units an administrator wrote for this host (they matter too).
    """
    failed = []
    rest = []
    for line in text.split("\n"):
        fields = line.replace("\u25cf", " ").split(None, 4)
        if len(fields) < 4 or not fields[0].endswith(".service"):
            continue
        name, load, active, sub = fields[:4]
        what = fields[4] if len(fields) > 4 else ""
        row = ["systemd", name[:128], active, (sub + (", " + what if what else ""))[:MAX_TEXT]]
        if active == "failed":
            failed.append(row)
        elif load == "loaded" and (name in local or (active != "inactive" and _KNOWN_UNITS.match(name))):
            rest.append(row)
    return (sorted(failed) + sorted(rest))[: MAX_UNITS - MAX_CONTAINERS]


# --- processes: shared with sh mode ------------------------------------------------------------------


def printable(text):
    """A path that may hold undecodable bytes, as text that can be encoded."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")[:MAX_TEXT]


class ProcessTable(object):
    """The busiest processes from two scans: shares of one core between them, exact also for a newly started one."""

    def __init__(self):
        self.before = {}
        self.at_s = None

    def rank(self, scan, now_s):
        """[(pid, name, cpu_pct or None, rss_bytes)], busiest first, then largest.

        Args:
            scan: {pid: (name, ticks, start in ticks, rss_bytes)}.
            now_s: the host's clock, seconds since boot.
        """
        rows = []
        for pid, (name, ticks, start, rss) in scan.items():
            before = self.before.get(pid)
            cpu = None
            if before is not None and before[2] == start:
                passed = now_s - self.at_s
                spent = ticks - before[1]
            else:
                # not in the scan before: it started since then, or that scan was cut short
                passed = now_s - start / float(TICKS_PER_S)
                spent = ticks if self.at_s is not None and start / float(TICKS_PER_S) >= self.at_s - 0.05 else -1
            if spent >= 0 and passed > 0.005:
                cpu = round(spent * 100.0 / TICKS_PER_S / passed, 1)
            rows.append((pid, name, cpu, rss))
        self.before = scan
        self.at_s = now_s
        rows.sort(key=lambda row: (-(row[2] or 0.0), -row[3], row[0]))
        return rows


# --- reading this host ---------------------------------------------------------------------------------------------


class Kmsg(object):
    """XID errors of the kernel log, incrementally. ``reason`` is set while the log cannot be read."""

    FIRST_RECORDS = 50000
    TICK_RECORDS = 2000

    def __init__(self, path="/dev/kmsg"):
        self.path = path
        self.fd = -1
        self.news = True  # whether there is something to read
        self.events = []
        self.reason = "not_yet"

    def read(self):
        """Take what is new; bounded."""
        bound = self.TICK_RECORDS
        if self.fd < 0:
            bound = self.FIRST_RECORDS
            try:
                self.fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError as error:
                self.reason = reason_of(error)
                return
        while bound > 0:
            bound -= 1
            try:
                record = os.read(self.fd, 8192)
            except OSError as error:
                if error.errno == errno.EPIPE:  # the oldest records were overwritten: go on with the next
                    continue
                if error.errno == errno.EINVAL:  # a record longer than the buffer is skipped by the kernel
                    continue
                self.reason = None if error.errno == errno.EAGAIN else reason_of(error)
                return
            if not record:
                self.reason = None
                return
            event = parse_kmsg(record)
            if event is not None:
                self.events.append(event)
                del self.events[:-MAX_XIDS]
        self.news = True  # the bound, not the end: go on at the next tick


class Disks(object):
    """Sizes of file systems, in a thread: one that hangs (NFS) becomes "timeout" and holds up nobody."""

    MAX_THREADS = 8

    def __init__(self, proc):
        self.path = proc + "/self/mountinfo"
        self.mounts = None
        self.failed = None
        self.results = {}
        self.busy = {}
        self.threads = 0
        self.lock = threading.Lock()
        self.table = None
        self.places = {}  # of an entry of the table: its device's numbers, whether it is a folder
        self.version = 0  # of the results
        self.shown = None
        self.shown_version = 0
        self.shown_until = 0.0
        self.started = 0
        self.idle = threading.Event()  # the newest thread is done
        self.idle.set()

    def refresh(self):
        """Read all file systems anew in a thread, unless too many threads hang."""
        now = time.monotonic()
        if not self.idle.is_set():
            stuck = [since for since in list(self.busy.values()) if now - since > STUCK_S]
            if not stuck:
                return
        if self.threads >= self.MAX_THREADS:
            return
        with self.lock:
            self.threads += 1
            self.started += 1
            self.idle.clear()
        _thread.start_new_thread(self._work, (self.started,))  # a Thread costs twice that, and waits until it runs

    def _work(self, number):
        try:
            table = slurp(self.path)
            if table != self.table:
                self.mounts, self.table, self.places = select_mounts(parse_mountinfo(table)), table, {}
                with self.lock:
                    self.version += 1
            mounts = self.mounts
            self.failed = None
            for entry in mounts:
                mount = entry[0]
                with self.lock:
                    if mount in self.busy:  # another thread hangs here
                        continue
                    self.busy[mount] = time.monotonic()
                    self.version += 1
                try:
                    self.results[mount] = self._measure(mount, entry) + (time.monotonic(),)
                finally:
                    with self.lock:
                        self.busy.pop(mount, None)
                        self.version += 1
            known = {entry[0] for entry in mounts}
            for mount in list(self.results):
                if mount not in known:
                    del self.results[mount]
        except Exception as error:
            self.failed = reason_of(error)
        finally:
            with self.lock:
                self.threads -= 1
                if self.started == number:
                    self.idle.set()

    def _measure(self, mount, entry):
        """(numbers, total, used, reason, is a folder)."""
        numbers = entry[3]
        try:
            # Python 3.6 in the C locale would not find a non-ASCII name
            path = mount.encode("utf-8", "surrogateescape")
            sizes = os.statvfs(path)
            known = self.places.get(entry)
            if known is None:
                known = self.places[entry] = (self._device(entry), mount == "/" or os.path.isdir(path))
            numbers, folder = known
        except OSError as error:
            return numbers, None, None, reason_of(error), True
        if not sizes.f_blocks:
            return numbers, None, None, "unsupported", folder
        unit = sizes.f_frsize or sizes.f_bsize
        return numbers, sizes.f_blocks * unit, (sizes.f_blocks - sizes.f_bfree) * unit, None, folder

    @staticmethod
    def _device(entry):
        """Numbers of the device: of btrfs and mapped devices, the mount's own number is another."""
        if entry[1].startswith("/dev/"):
            try:
                device = os.stat(entry[1]).st_rdev
                return "%d:%d" % (os.major(device), os.minor(device))
            except OSError:
                pass  # a container sees the name but not the device: the mount's number is the best there is
        return entry[3]

    def view(self):
        """Rows for ``Host.sample``, or a reason; the same list as long as nothing changes."""
        if self.shown is not None and time.monotonic() < self.shown_until and self.version == self.shown_version:
            return self.shown
        mounts = self.mounts
        if mounts is None:
            return self.failed or "not_yet"
        self.shown_version = self.version
        now = time.monotonic()
        rows = []
        until = now + DISKS_OLD_S
        for mount, device, _, numbers, _ in mounts:
            since = self.busy.get(mount)
            got = self.results.get(mount)
            if since is not None:
                until = min(until, max(since + STUCK_S, now))
            if got is not None and not got[4]:
                continue  # a file bound over a file (containers): not a file system of its own
            if since is not None and now - since > STUCK_S:
                rows.append((mount, device, numbers, None, None, "timeout"))
            elif got is None:
                rows.append((mount, device, numbers, None, None, "not_yet"))
            elif now - got[5] > DISKS_OLD_S:
                rows.append((mount, device, got[0], None, None, "timeout"))
            else:
                rows.append((mount, device, got[0], got[1], got[2], got[3]))
                until = min(until, got[5] + DISKS_OLD_S)
        if rows != self.shown:
            self.shown = rows
        self.shown_until = until
        return self.shown


class Users(object):
    """Names of user ids: /etc/passwd at once, directory services (which may hang) later, from a thread."""

    def __init__(self):
        self.names = None
        self.asked = set()

    def name(self, uid):
        if self.names is None:
            try:
                self.names = parse_passwd(slurp("/etc/passwd"))
            except OSError:
                self.names = {}
        known = self.names.get(uid)
        if known is None:
            if uid not in self.asked and len(self.asked) < 256:
                self.asked.add(uid)
                threading.Thread(target=self._ask, args=(uid,), daemon=True).start()
            return str(uid)
        return known

    def _ask(self, uid):
        try:
            import pwd

            self.names[uid] = pwd.getpwuid(uid).pw_name[:64]
        except (ImportError, KeyError, OSError):
            return


def user_of(pid, users, proc):
    """The name of the owner of a process, or None when it is gone or hidden."""
    try:
        return users.name(os.stat("%s/%d" % (proc, pid)).st_uid)
    except OSError:
        return None


def scan_processes(proc, limit_s=0.5):
    """({pid: (name, ticks, start, rss_bytes)}, how many there are, whether time ran out)."""
    pids = [name for name in os.listdir(proc) if name.isdigit()]
    found = {}
    until = time.monotonic() + limit_s
    late = False
    for at, name in enumerate(pids):
        if not at & 63 and time.monotonic() > until:
            late = True
            break
        try:
            fd = os.open("%s/%s/stat" % (proc, name), os.O_RDONLY)
        except OSError:
            continue  # it ended meanwhile
        try:
            found[int(name)] = parse_process(os.read(fd, 2048))
        except (OSError, ValueError, IndexError):
            continue
        finally:
            os.close(fd)
    return found, len(pids), late


class Children(set):
    """Process ids of the children that run; ``ended`` counts those that were waited for."""

    ended = 0

    def discard(self, pid):
        set.discard(self, pid)
        self.ended += 1


def run_program(argv, children, timeout_s=10.0):
    """(exit status or None on a timeout, stdout, stderr) of a short program, with a hard end; its group is killed."""
    import subprocess

    environ = dict(os.environ, LC_ALL="C")
    child = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environ,
        start_new_session=True,
    )
    children.add(child.pid)
    try:
        out, err = child.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        kill_group(child.pid)
        child.stdout.close()
        child.stderr.close()
        child.wait()
        return None, "", ""
    finally:
        children.discard(child.pid)
    return child.returncode, out[: 1 << 20].decode("utf-8", "replace"), err[:4096].decode("utf-8", "replace")


def kill_group(pid):
    """End a child and whatever it started."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except OSError:
        return


_SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def which(program):
    """Where a program is, or None."""
    for folder in os.environ.get("PATH", "/usr/bin:/bin").split(":") + ["/usr/local/bin", "/usr/bin", "/bin", *_SBIN]:
        path = os.path.join(folder, program)
        if folder and os.access(path, os.X_OK):
            return path
    return None


class Units(object):
    """Containers and services, asked of docker's socket and of systemctl in a thread.

    The two cost many times what a sample costs: they are asked every five minutes, and once a minute while somebody
    looks, or when a unit or a container came or went, which folders of theirs show.
    """

    SIGNS = ("/run/systemd/units", "/run/containerd/io.containerd.runtime.v2.task/moby", "/run/docker.sock")

    def __init__(self, notes, children, proc="/proc"):
        self.notes = notes
        self.uptime = proc + "/uptime"
        self.asked_at = None
        self.signs = None
        self.news = 0  # how many times to ask because of a change: at once, and when it has settled
        self.children = children
        self.rows = None
        self.missing = {"units": "not_yet"}
        self.uptime_s = None  # of the host, when they were asked
        self.thread = None
        self.since = 0.0
        self.changed = False

    def due(self, now, watched):
        """Whether to ask now. ``watched``: somebody looks at this host."""
        signs = [sign_of(path) for path in self.SIGNS]
        if signs != self.signs:
            self.signs, self.news = signs, 0 if self.signs is None else 2
        soon = self.news or watched or self.asking()
        if self.asked_at is not None and now - self.asked_at < (UNITS_CHANGED_S if soon else UNITS_S):
            return False
        self.asked_at = now
        self.news = max(self.news - 1, 0)
        return True

    def asking(self):
        return self.thread is not None and self.thread.is_alive()

    def refresh(self):
        if self.asking():
            if (
                time.monotonic() - self.since > 30.0 and self.rows is not None
            ):  # not even a kill ended what it waits for
                self.rows, self.uptime_s, self.missing, self.changed = None, None, {"units": "timeout"}, True
            return
        self.since = time.monotonic()
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def _work(self):
        rows, missing, asked = [], {}, False
        uptime_s = quiet(lambda: float(slurp(self.uptime).split()[0]))
        for name, read in (("docker", self._docker), ("systemd", self._systemd)):
            try:
                got = read()
            except Exception as error:
                got = reason_of(error)
                if got == "error":
                    self.notes("units", "%s: %s: %s" % (name, type(error).__name__, error))
            if isinstance(got, list):
                asked = True
                rows += got
            else:
                missing["units." + name] = got
        if not asked:
            missing = {"units": worst_reason(missing.values())}
        elif uptime_s is None:
            missing["units_uptime_s"] = "error"
        self.rows, self.uptime_s, self.missing = (rows, uptime_s, missing) if asked else (None, None, missing)
        self.changed = True

    def _docker(self):
        path = docker_socket()
        if path is None or would_start(path):
            return "unsupported"
        try:
            return parse_containers(ask_socket(path, b"GET /containers/json?all=1 HTTP/1.0\r\nHost: docker\r\n\r\n"))
        except ConnectionRefusedError:  # left behind by a daemon that ended
            return "unsupported"

    def _systemd(self):
        program = which("systemctl")
        if program is None or not os.path.isdir("/run/systemd/system"):
            return "unsupported"
        status, out, _ = run_program(
            [program, "list-units", "--type=service", "--all", "--plain", "--no-legend", "--no-pager", "--full"],
            self.children,
        )
        if status is None:
            return "timeout"
        return parse_systemctl(out, local_units()) if status == 0 else "error"


def docker_socket():
    """Where this host's own docker listens, or None. A client's program may be set to another host's; this is not."""
    chosen = os.environ.get("DOCKER_HOST")
    if chosen:
        return chosen[7:] if chosen.startswith("unix://") else None
    for path in ("/run/docker.sock", "/var/run/docker.sock", "/run/user/%d/docker.sock" % os.getuid()):
        if os.path.exists(path):
            return path
    return None


def would_start(path, units="/run/systemd/units"):
    """Whether systemd listens in place of a daemon that does not run: to connect would start it."""
    name = "podman" if "podman" in os.path.realpath(path) else "docker"
    there = [os.path.lexists("%s/invocation:%s.%s" % (units, name, kind)) for kind in ("socket", "service")]
    return there == [True, False]


def ask_socket(path, request):
    """The whole answer of a server on a Unix socket that closes behind it (HTTP/1.0), within ``DOCKER_S``.

    Raises:
        OSError: it cannot be reached, or took too long.
        ValueError: the answer is too long.
    """
    import _socket  # the module around it costs the host more memory than all of this file's code

    until = time.monotonic() + DOCKER_S
    chunks, size = [], 0
    sock = _socket.socket(_socket.AF_UNIX)
    try:
        sock.settimeout(DOCKER_S)
        sock.connect(path)
        sock.sendall(request)
        while True:
            sock.settimeout(max(until - time.monotonic(), 0.001))
            chunk = sock.recv(65536)
            if not chunk:
                return b"".join(chunks)
            chunks.append(chunk)
            size += len(chunk)
            if size > MAX_DOCKER_BYTES:
                raise ValueError("docker's answer is over %d bytes" % (MAX_DOCKER_BYTES,))
    except _socket.timeout:
        raise OSError(errno.ETIMEDOUT, "no whole answer")
    finally:
        sock.close()


def sign_of(folder):
    """What changes when an entry of a folder comes or goes, or None."""
    try:
        found = os.stat(folder)
    except OSError:
        return None
    return found.st_ino, found.st_mtime, found.st_nlink


def local_units(folder="/etc/systemd/system"):
    """Names of the services an administrator wrote (files, not links) on this host."""
    try:
        return {
            name
            for name in os.listdir(folder)
            if name.endswith(".service") and not os.path.islink(os.path.join(folder, name))
        }
    except OSError:
        return set()


# --- GPUs ------------------------------------------------------------------------------------------------------------

_NVML_REASONS = {3: "unsupported", 13: "unsupported", 25: "unsupported", 4: "denied", 10: "timeout", 15: "gpu_lost"}
_NVML_PATHS = (
    "libnvidia-ml.so.1",
    "/usr/lib/wsl/lib/libnvidia-ml.so.1",
    "/run/opengl-driver/lib/libnvidia-ml.so.1",
    "/usr/local/nvidia/lib64/libnvidia-ml.so.1",
)
_NVML_NEEDED = (
    "nvmlInit",
    "nvmlMemory_v2",
    "nvmlDeviceGetMemoryInfo",
    "nvmlDeviceGetHandleByIndex",
    "nvmlDeviceGetUtilizationRates",
    "nvmlDeviceGetMigMode",
    "nvmlDeviceGetComputeRunningProcesses_v3",
)
THROTTLE_BITS = (
    (0x1, "gpu_idle"),
    (0x2, "applications_clocks_setting"),
    (0x4, "sw_power_cap"),
    (0x8, "hw_slowdown"),
    (0x10, "sync_boost"),
    (0x20, "sw_thermal_slowdown"),
    (0x40, "hw_thermal_slowdown"),
    (0x80, "hw_power_brake_slowdown"),
    (0x100, "display_clock_setting"),
)
_NO_VALUE = (0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF)


def throttle_names(mask):
    """The names of the bits of a clocks-event (throttle) mask; a bit without a name is named by its number."""
    names = [name for bit, name in THROTTLE_BITS if mask & bit]
    for place in range(9, 64):
        if mask >> place & 1:
            names.append("bit_%d" % place)
    return names


class NvmlMissingError(Exception):
    """No GPU rows can be had; ``reason`` goes on the wire."""

    def __init__(self, reason, text):
        Exception.__init__(self, text)
        self.reason = reason


class Nvml(object):
    """NVML through pynvml. All calls are made by one thread (``Gpus``)."""

    def __init__(self, module):
        self.nv = module
        self.ready = False
        self.driver = None
        self.cuda = None
        self.static_at = None
        self.devices = []

    def ask(self, name, *args):
        """(value, None) or (None, reason) of one NVML call."""
        call = getattr(self.nv, name, None)
        if call is None:
            return None, "unsupported"
        try:
            value = call(*args)
        except self.nv.NVMLError as error:
            return None, _NVML_REASONS.get(getattr(error, "value", None), "error")
        except (AttributeError, ValueError, TypeError):
            return None, "error"
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if isinstance(value, int) and value in _NO_VALUE:
            return None, "unsupported"
        return value, None

    def start(self):
        """Initialise, once; raises NvmlMissingError."""
        if self.ready:
            return
        try:
            self.nv.nvmlInit()
        except self.nv.NVMLError as error:
            reason = _NVML_REASONS.get(getattr(error, "value", None), "error")
            raise NvmlMissingError(reason, "nvmlInit: %s" % (error,))
        self.ready = True
        self.driver = self.ask("nvmlSystemGetDriverVersion")[0]
        cuda = self.ask("nvmlSystemGetCudaDriverVersion")[0]
        if cuda:
            self.cuda = "%d.%d" % (cuda // 1000, cuda % 1000 // 10)

    def refresh(self):
        """Handles, names, limits: what changes rarely."""
        count, reason = self.ask("nvmlDeviceGetCount")
        if count is None:
            self.ready = False  # a driver that was reloaded wants a new start
            self.ask("nvmlShutdown")
            raise NvmlMissingError(reason, "nvmlDeviceGetCount failed")
        known = {device["index"]: device for device in self.devices}
        self.devices = []
        for index in range(min(count, 64)):
            device = known.get(index) or {"index": index, "uuid": None, "name": None, "mig": []}
            handle, why = self.ask("nvmlDeviceGetHandleByIndex", index)
            device["handle"], device["why"] = handle, why
            if handle is not None:
                for field, call in (("uuid", "nvmlDeviceGetUUID"), ("name", "nvmlDeviceGetName")):
                    value, why = self.ask(call, handle)
                    if value is not None or device[field] is None:
                        device[field], device[field + "_why"] = value, why
                device["limit"] = self._limit(handle)
                device["mig"] = self._migs(handle)
            self.devices.append(device)
        self.static_at = time.monotonic()

    def _limit(self, handle):
        value, why = self.ask("nvmlDeviceGetEnforcedPowerLimit", handle)
        if value is None and why == "unsupported":
            value, why = self.ask("nvmlDeviceGetPowerManagementLimit", handle)
        return (None, why) if value is None else (value / 1000.0, None)

    def _migs(self, handle):
        mode, _ = self.ask("nvmlDeviceGetMigMode", handle)
        if not mode or not mode[0]:
            return []
        found = []
        count, _ = self.ask("nvmlDeviceGetMaxMigDeviceCount", handle)
        for index in range(min(count or 0, 16)):
            mig, _ = self.ask("nvmlDeviceGetMigDeviceHandleByIndex", handle, index)
            if mig is not None:
                found.append((index, mig, self.ask("nvmlDeviceGetUUID", mig)[0], self.ask("nvmlDeviceGetName", mig)[0]))
        return found

    def read(self):
        """The rows of all GPUs."""
        self.start()
        if self.static_at is None or time.monotonic() - self.static_at > STATIC_S:
            self.refresh()
        return [self._row(device) for device in self.devices]

    def _row(self, device):
        if device["handle"] is None:
            return lost_gpu(device["index"], device["uuid"], device["name"], device["why"] or "error")
        values, missing = {}, {}
        for field in ("uuid", "name"):
            if device[field] is None:
                missing[field] = device.get(field + "_why") or "error"
        for read in (self._memory, self._load, self._slow):
            read(device, values, missing)
            if "gpu_lost" in missing.values():
                self.static_at = min(self.static_at or 0.0, time.monotonic() - STATIC_S + 10.0)  # ask again soon
                return lost_gpu(device["index"], device["uuid"], device["name"], "gpu_lost")
        migs = []
        for index, handle, uuid, name in device["mig"]:
            info, _ = self.memory_info(handle)
            migs.append([index, uuid, name, int(info.total) if info else None, int(info.used) if info else None])
        return gpu_row(device["index"], device["uuid"], device["name"], values, missing, migs)

    def put(self, values, missing, field, got, convert=None):
        """Store the answer of ``ask`` as a value or as a reason."""
        value, why = got
        if value is None:
            missing[field] = why or "error"
        else:
            values[field] = value if convert is None else convert(value)

    def memory_info(self, handle):
        """Memory by the v2 call, which keeps reserved apart from used; v1 where there is no v2."""
        info, why = self.ask("nvmlDeviceGetMemoryInfo", handle, getattr(self.nv, "nvmlMemory_v2", None))
        if info is None and why == "unsupported":
            return self.ask("nvmlDeviceGetMemoryInfo", handle)
        return info, why

    def _memory(self, device, values, missing):
        info, why = self.memory_info(device["handle"])
        if info is None:
            for field in MEMORY_INFO_FIELDS:
                missing[field] = why
            return
        values["memory_total_bytes"] = int(info.total)
        values["memory_used_bytes"] = int(info.used)
        values["memory_free_bytes"] = int(info.free)
        reserved = getattr(info, "reserved", None)
        self.put(values, missing, "memory_reserved_bytes", (reserved, "unsupported"), int)

    def _load(self, device, values, missing):
        handle, ask = device["handle"], self.ask
        got, why = ask("nvmlDeviceGetUtilizationRates", handle)
        self.put(values, missing, "utilization_pct", (None if got is None else got.gpu, why), float)
        self.put(values, missing, "temperature_c", ask("nvmlDeviceGetTemperature", handle, 0), float)
        self.put(values, missing, "power_w", ask("nvmlDeviceGetPowerUsage", handle), lambda mw: mw / 1000.0)
        self.put(values, missing, "power_limit_w", device["limit"])
        self.put(values, missing, "sm_clock_mhz", ask("nvmlDeviceGetClockInfo", handle, 1), float)
        self.put(values, missing, "memory_clock_mhz", ask("nvmlDeviceGetClockInfo", handle, 2), float)

    def _slow(self, device, values, missing):
        handle, ask = device["handle"], self.ask
        self.put(values, missing, "fan_pct", ask("nvmlDeviceGetFanSpeed", handle), float)
        state, why = ask("nvmlDeviceGetPerformanceState", handle)
        if state is not None and not 0 <= state <= 15:
            state, why = None, "unsupported"
        self.put(values, missing, "pstate", (state, why), lambda number: "P%d" % number)
        mask = ask("nvmlDeviceGetCurrentClocksEventReasons", handle)
        if mask[1] == "unsupported":  # its name before 2023
            mask = ask("nvmlDeviceGetCurrentClocksThrottleReasons", handle)
        self.put(values, missing, "throttle_reasons", mask, throttle_names)
        self.put(values, missing, "ecc_corrected", ask("nvmlDeviceGetTotalEccErrors", handle, 0, 0), int)
        self.put(values, missing, "ecc_uncorrected", ask("nvmlDeviceGetTotalEccErrors", handle, 1, 0), int)
        for field, call in (
            ("pcie_gen", "nvmlDeviceGetCurrPcieLinkGeneration"),
            ("pcie_width", "nvmlDeviceGetCurrPcieLinkWidth"),
        ):
            value, why = ask(call, handle)
            if value == 0:  # a link has no generation 0: passed-through GPUs report it when it cannot be read
                value, why = None, "unsupported"
            self.put(values, missing, field, (value, why), int)

    def processes(self):
        """([(gpu index, pid, name, memory_bytes)], {missing}) of all GPUs; MIG instances are asked one by one too."""
        rows, missing = [], {}
        for device in self.devices:
            if device["handle"] is None:
                missing["gpu"] = device["why"] or "error"
                continue
            merged, reason = {}, None
            for handle in [device["handle"]] + [mig[1] for mig in device["mig"]]:
                for kind in ("Compute", "Graphics"):
                    found, why = self._running(kind, handle)
                    if found is None:
                        if kind == "Compute":
                            reason = why
                        continue
                    for process in found:
                        used = process.usedGpuMemory
                        before = merged.get(process.pid)
                        merged[process.pid] = before if used is None else max(used, before or 0)
            if reason and not merged:
                missing["gpu"] = reason
            for pid, used in merged.items():
                rows.append((device["index"], int(pid), self.ask("nvmlSystemGetProcessName", pid)[0], used))
                if used is None:
                    missing["gpu.memory_bytes"] = "unsupported"
        return rows[:MAX_GPU_PROCESSES], missing

    def _running(self, kind, handle):
        for ending in ("_v3", "_v2", ""):
            found, why = self.ask("nvmlDeviceGet%sRunningProcesses%s" % (kind, ending), handle)
            if found is not None or why != "unsupported":
                return found, why
        return None, "unsupported"


class Gpus(object):
    """The thread that makes all NVML calls, and what the rest of the agent may know of it.

    ``state``: (when, rows or None, reason why there are no rows, processes or None), replaced as one. ``wake`` is the
    reading end of a pipe that turns readable when a reading is done.
    """

    def __init__(self, notes, need):
        self.notes = notes
        self.need = need
        self.state = None
        self.nvml = None
        self.asked_at = None
        self.sent = None
        self.want = threading.Semaphore(0)
        self.want_processes = False
        self.pending = False
        self.changed = False
        self.wake, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self.wake, False)
        self.present = None
        self.failed = False
        self.retry_at = 0.0
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def kick(self, processes):
        """Ask for a reading; nothing happens while the last one is still under way."""
        now = time.monotonic()
        if self.pending or (self.present is False and now < self.retry_at):
            return
        self.pending = True
        self.asked_at = now
        self.want_processes = processes
        self.want.release()

    def _work(self):
        while True:
            self.want.acquire()
            began = time.monotonic()  # the age of a reading is that of its oldest value
            rows = processes = None
            try:
                rows = self._read()
                reason = None if rows is not None else "not_yet" if self.present else "unsupported"
                if rows is not None and self.want_processes:
                    processes = self.nvml.processes()
            except NvmlMissingError as error:
                reason = error.reason
                self._failed(str(error))
            except Exception as error:
                reason = "error"
                self._failed("%s: %s" % (type(error).__name__, error))
            if self.state is None or self.state[2] != reason:
                self.changed = True
            self.state = (began, rows, reason, processes)
            self.pending = False
            self.rouse()

    def rouse(self):
        """Wake the main loop; from any thread."""
        try:
            os.write(self._wake, b".")
        except OSError:
            pass  # full: the main loop is awake already

    def _failed(self, text):
        """Say it, and do not ask the driver again at once."""
        if time.monotonic() >= self.retry_at:
            self.retry_at = time.monotonic() + STATIC_S
        self.notes("nvml", text)

    def _read(self):
        if time.monotonic() < self.retry_at and self.state is not None:
            raise NvmlMissingError(self.state[2] or "error", "")
        if not self.present:
            self.present = self._load_library()
            if not self.present:
                self.retry_at = time.monotonic() + NO_DRIVER_S
                return None
        if self.nvml is None:
            module = self._module()
            if module is None:
                return None
            self.nvml = Nvml(module)
        ready = self.nvml.ready
        try:
            return self.nvml.read()
        finally:
            if self.nvml.ready != ready:
                self.changed = True

    def _load_library(self):
        try:
            import ctypes
        except ImportError as error:
            if os.path.exists("/proc/driver/nvidia/version"):
                raise NvmlMissingError("error", "this Python has no ctypes, so no GPU can be read: %s" % (error,))
            return False
        for path in _NVML_PATHS:
            try:
                ctypes.CDLL(path)
            except OSError:
                continue
            return True
        return False

    def _module(self):
        if self.sent is not None:
            source, self.sent = self.sent, None
            self.failed = True
            module = module_from(source)
            self.failed = False
            return module
        if self.failed:
            raise NvmlMissingError("error", "the pynvml that was sent does not load here")
        found = host_pynvml()
        if found is None and self.need is not None:
            need, self.need = self.need, None
            need()
        return found

    def view(self, limit_s):
        """(rows, reason): rows for the sample, or a reason why there are none."""
        now = time.monotonic()
        state = self.state
        if state is None:
            hung = self.asked_at is not None and now - self.asked_at > limit_s
            return [], "timeout" if hung else "not_yet"
        when, rows, reason, _ = state
        if rows is None:
            hung = self.pending and now - self.asked_at > limit_s
            return [], "timeout" if hung else reason
        if now - when > limit_s:
            return [lost_gpu(*gpu_identity(row), "timeout") for row in rows], None
        return rows, None


def module_from(source):
    """The pynvml whose source the watcher sent, as a module that is on no disk."""
    import types

    module = types.ModuleType("pynvml")
    module.__file__ = "<pynvml sent by the watcher>"
    sys.modules["pynvml"] = module  # it looks itself up by this name
    try:
        exec(compile(source, module.__file__, "exec"), module.__dict__)
    except BaseException:
        del sys.modules["pynvml"]
        raise
    return module


def host_pynvml():
    """The host's own pynvml, if it has all that is needed; site paths are unknown to an isolated interpreter."""
    version = "python%d.%d" % sys.version_info[:2]
    folders = []
    for prefix in (sys.prefix, "/usr", "/usr/local"):
        for lib in ("lib", "lib64"):
            folders.append(os.path.join(prefix, lib, version, "site-packages"))
            folders.append(os.path.join(prefix, lib, version, "dist-packages"))
    folders.append("/usr/lib/python3/dist-packages")
    for folder in folders:
        if not os.path.isfile(os.path.join(folder, "pynvml.py")):
            continue
        sys.path.insert(0, folder)
        try:
            import pynvml

            if all(hasattr(pynvml, name) for name in _NVML_NEEDED):
                return pynvml
        except Exception:
            pass  # a broken or too new copy: the watcher's own is asked for
        finally:
            sys.path.remove(folder)
        sys.modules.pop("pynvml", None)
    return None


# --- what is asked now and then: who listens here, can that node be reached ------------------------------------------

_SOCKET = re.compile(
    rb"^ *\d+: ([0-9A-Fa-f]{8}|[0-9A-Fa-f]{32}):([0-9A-Fa-f]{4}) [0-9A-Fa-f]+:[0-9A-Fa-f]{4} 0A"
    rb" [0-9A-Fa-f:]+ [0-9A-Fa-f:]+ [0-9A-Fa-f]+ +(\d{1,10}) +\d+ (\d{1,20}) ",
    re.M,
)
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - it is compared with
_MAPPED = b"\0" * 10 + b"\xff\xff"


def parse_address(digits, order=sys.byteorder):
    """The address in the hexadecimal words of /proc/net/tcp and tcp6; IPv4 mapped into IPv6 comes out as IPv4."""
    import socket

    raw = bytes.fromhex(digits)
    if order == "little":  # each 32-bit word is printed as the number it is on that host
        raw = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
    if len(raw) == 16 and raw[:12] == _MAPPED:
        raw = raw[12:]
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)


def parse_listeners(data):
    """/proc/net/tcp or tcp6: [(address, port, uid, inode)] of the sockets that listen."""
    out = []
    for digits, port, uid, inode in _SOCKET.findall(data):
        out.append((parse_address(digits.decode("ascii")), int(port, 16), int(uid), int(inode)))
    return out


def width_of(address):
    """How wide a listening address is: 0 for all addresses, 1 for one of them, 2 for the loopback only."""
    if address in _EVERYWHERE:
        return 0
    return 2 if address == "::1" or address.startswith("127.") else 1


def select_listeners(rows):
    """At most ``MAX_LISTENERS`` rows of [address, port, ...], and whether each port is there with its widest address.

    A host with more sockets than that has most of them on a few ports, so further sockets of one port go first.
    """
    rows = sorted(rows, key=lambda row: (row[1], width_of(row[0]), row[0], row[3] or 0))
    ranks = collections.defaultdict(int)
    ranked = []
    for row in rows:
        ranks[row[1]] += 1
        ranked.append((ranks[row[1]], row))
    ranked.sort(key=lambda one: one[0])
    shown = sorted((row for _, row in ranked[:MAX_LISTENERS]), key=lambda row: row[1])
    return shown, len(ranks) <= MAX_LISTENERS


def read_listeners(path, until):
    """(rows of ``parse_listeners``, whether the file was read to its end): it lists all connections and may be long."""
    rows = []
    rest = b""
    left = MAX_SOCKETS_BYTES
    with open(path, "rb", 0) as file:
        while True:
            chunk = file.read(65536)
            if not chunk:
                return rows + parse_listeners(rest), True
            left -= len(chunk)
            head, newline, rest = (rest + chunk).rpartition(b"\n")
            rows += parse_listeners(head + newline)
            if left < 0 or len(rows) > 8 * MAX_LISTENERS or time.monotonic() > until:
                return rows, False


def socket_owners(proc, inodes, until):
    """({inode: (pid, name)}, the reason why others have none or None). The kernel shows root all, others their own."""
    wanted = set(inodes)
    found = {}
    # a socket of several processes: the first of them, but the service rather than the systemd that opened it for it
    pids = sorted((int(name) for name in os.listdir(proc) if name.isdigit()), key=lambda pid: (pid == 1, pid))
    denied = 1 not in pids  # hidepid: other people's are not even listed
    for at, pid in enumerate(pids):
        if not wanted:
            break
        if time.monotonic() > until:
            return found, "timeout"
        if not at & 63:
            time.sleep(0.002)  # sampling goes first
        denied = _sockets_of(proc, pid, wanted, found) == "denied" or denied
    return found, ("denied" if denied else "unsupported") if wanted else None


def _sockets_of(proc, pid, wanted, found):
    """Move from ``wanted`` to ``found`` what this process has open; a reason when it may not be looked at."""
    folder = "%s/%d/fd/" % (proc, pid)
    try:
        for name in os.listdir(folder):
            try:
                target = os.readlink(folder + name)
            except OSError as error:
                if error.errno == errno.ENOENT:  # closed meanwhile
                    continue
                raise
            if target.startswith("socket:[") and int(target[8:-1]) in wanted:
                inode = int(target[8:-1])
                found[inode] = (pid, text_of(slurp("%s/%d/comm" % (proc, pid), 64).strip(), 64))
                wanted.discard(inode)
    except (OSError, ValueError) as error:
        return reason_of(error)
    return None


SSHD_KEYS = frozenset(
    "passwordauthentication kbdinteractiveauthentication permitrootlogin pubkeyauthentication permitemptypasswords "
    "port x11forwarding maxauthtries".split()
)


def parse_sshd(text):
    """`sshd -T`: the settings of ``SSHD_KEYS``; one that is there several times (port) has all its values."""
    out = {}
    for line in text.split("\n"):
        key, _, value = line.strip().partition(" ")
        if key.lower() in SSHD_KEYS and len(out.get(key.lower(), "")) < 64:
            out[key.lower()] = (out.get(key.lower(), "") + " " + value[:64]).strip()
    return out


_POLICY = re.compile(r"type filter hook input [^;]*;[^;\n]*policy (accept|drop)")


def parse_nft(text):
    """`nft list ruleset`: (number of rules, the policy of the input hook or None)."""
    rules = depth = 0
    chain = False
    for line in text.split("\n"):
        word = line.split(None, 1)[:1]
        if line.rstrip().endswith("{") and "}" not in line:
            depth += 1
            chain = depth == 2 and word == ["chain"]
        elif word == ["}"]:
            depth -= 1
            chain = False
        elif chain and word and word[0] not in ("type", "policy", "comment"):
            rules += 1
    policies = set(_POLICY.findall(text))
    return rules, "drop" if "drop" in policies else "accept" if policies else None


def parse_iptables(text):
    """`iptables -S`: (number of rules, the policy of INPUT or None)."""
    policy = re.search(r"^-P INPUT (\w{1,16})", text, re.M)
    return len(re.findall(r"^-A ", text, re.M)), policy.group(1).lower() if policy else None


def said_reason(said):
    """The wire reason in what a failed program said."""
    for words in ("ermission denied", "not permitted", "must be root", "no hostkeys available"):
        if words in said:
            return "denied"
    return "error"


def first_words(said):
    """The first line a program said, bounded."""
    return said.strip().split("\n")[0][:MAX_TEXT]


def ask_program(argv, children, until):
    """(stdout or None, reason or None, what it said) of a short program."""
    left = min(PROGRAM_S, until - time.monotonic())
    if left <= 0:
        return None, "timeout", "no time was left to ask"
    try:
        status, out, err = run_program(argv, children, left)
    except OSError as error:
        return None, reason_of(error), str(error)
    if status is None:
        return None, "timeout", "no answer in %.1f s" % (left,)
    if status:
        return None, said_reason(err + out), first_words(err or out) or "exit status %d" % (status,)
    return out, None, ""


def firewall_row(tool, path, children, until):
    """[tool, rules, policy of input, missing] and what it said."""
    argv = [path, "list", "ruleset"] if tool == "nft" else [path, "-S"]
    if tool != "nft":
        version = ask_program([path, "-V"], children, until)[0] or ""
        if "nf_tables" not in version:
            # the legacy tool would load its tables into the kernel just by being asked; without tables there is no rule
            try:
                if not slurp("/proc/net/%s_tables_names" % (tool[:-6],), 256).strip():
                    return [tool, 0, None, {"input_policy": "unsupported"}], ""
            except OSError as error:
                if error.errno == errno.ENOENT:
                    return [tool, 0, None, {"input_policy": "unsupported"}], ""
                return [tool, None, None, dict.fromkeys(("rules", "input_policy"), reason_of(error))], str(error)
    out, reason, said = ask_program(argv, children, until)
    if out is not None and len(out) >= 1 << 20:
        reason, said = "error", "the rules are longer than 1 MiB"
    if reason:
        return [tool, None, None, dict.fromkeys(("rules", "input_policy"), reason)], said
    rules, policy = parse_nft(out) if tool == "nft" else parse_iptables(out)
    return [tool, rules, policy, {} if policy else {"input_policy": "unsupported"}], ""


def answer_line(token, **more):
    """The answer to a request: ``inside``, ``connect`` or ``hold`` (arrays), or ``refused`` (a reason), ``detail``."""
    line = {"t": "a", "token": token}
    line.update(more)
    return line


_NAME = re.compile(r"[0-9A-Za-z_:][0-9A-Za-z._:%-]{0,252}$")


def connect_words(words):
    """(address, port, seconds) of a connect request; ValueError says what is wrong with it."""
    address, port, limit_ms = [word.decode("ascii") for word in words]
    if not _NAME.match(address):
        raise ValueError("no address: %r" % (address[:60],))
    return address, number_word(port, 1, 65535, "port"), number_word(limit_ms, 1, MAX_CONNECT_MS, "timeout") / 1000.0


def number_word(word, low, high, what):
    """A whole number of a request within its bounds."""
    if not re.match(r"[0-9]{1,9}$", word) or not low <= int(word) <= high:
        raise ValueError("no %s from %d to %d: %r" % (what, low, high, word[:20]))
    return int(word)


def spell_end(where):
    """One end of a connection as text."""
    return "[%s]:%d" % where[:2] if ":" in where[0] else "%s:%d" % where[:2]


_CONNECT_STATES = {
    0: "open",
    errno.ECONNREFUSED: "refused",
    errno.EAGAIN: "silent",
    errno.EINPROGRESS: "silent",
    errno.ETIMEDOUT: "silent",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.EHOSTDOWN: "unreachable",
    errno.ENETDOWN: "unreachable",
    errno.EACCES: "unreachable",
    errno.EPERM: "unreachable",
}


def connect_once(family, where, limit_s):
    """[state, address, errno name, milliseconds, our end, words] of one TCP connect."""
    import socket

    own = None
    words = ""
    began = time.monotonic()
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.settimeout(limit_s)
            code = sock.connect_ex(where)
            if code == 0:
                own = spell_end(sock.getsockname())
                if sock.getsockname()[:2] == sock.getpeername()[:2]:
                    # nobody listens, but our own end was given this very port: TCP then connects to itself
                    code, own, words = errno.ECONNREFUSED, None, "nothing listens: the connect met itself"
    except OSError as error:
        code, words = error.errno or errno.EIO, str(error)
    took_ms = round((time.monotonic() - began) * 1000, 3)
    state = _CONNECT_STATES.get(code, "error")
    name = None
    if state == "silent":
        name = "ETIMEDOUT"
    elif code:
        name = errno.errorcode.get(code, str(code))
    return [state, where[0], name, took_ms, own, words[:MAX_TEXT]]


def try_connect(address, port, limit_s):
    """``connect_once`` to an address, or to the addresses of a name in turn until one is open, as a client does."""
    import socket

    until = time.monotonic() + limit_s
    try:
        found = socket.getaddrinfo(address, port, 0, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return ["unresolved", None, None, None, None, str(error)[:MAX_TEXT]]
    targets = []
    for family, _, _, _, where in found:
        if (family, where) not in targets and len(targets) < 4:
            targets.append((family, where))
    result = ["unresolved", None, None, None, None, "the name took longer than %g s" % (limit_s,)]
    for at, (family, where) in enumerate(targets):
        left = until - time.monotonic()
        if left <= 0:
            break
        result = connect_once(family, where, left / (len(targets) - at))
        if result[0] == "open":
            break
    return result


def open_port(port):
    """A socket that listens on a port of all addresses; OSError when that cannot be had."""
    import socket

    try:
        return _listening(socket.AF_INET6, "::", port)
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EACCES, errno.EPERM):
            raise
    return _listening(socket.AF_INET, "0.0.0.0", port)  # noqa: S104 - a host without IPv6; all addresses are the point


def _listening(family, address, port):
    import socket

    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what is left of old connections is nobody
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind((address, port))
        sock.listen(128)
    except OSError:
        sock.close()
        raise
    return sock


class Requests(object):
    """What the watcher asks now and then: each in a thread of its own, bounded, answered by a line with its token."""

    def __init__(self, proc, users, children, answer):
        self.proc = proc
        self.users = users
        self.children = children
        self.answer = answer
        self.lock = threading.Lock()
        self.busy = 0
        self.looking = threading.Semaphore(2)
        self.held = {}

    def take(self, verb, words):
        """Start on one request; what is wrong with it is answered, unless even its token is."""
        token = words[0].decode("ascii", "replace")
        if not re.match(r"[0-9A-Za-z]{1,32}$", token):
            raise ValueError("no token")
        try:
            if verb == b"l":
                self.start(token, self.inside)
            elif verb == b"c":
                self.start(token, self.connect, *connect_words(words[1:]))
            elif verb == b"b":
                port, seconds = [word.decode("ascii") for word in words[1:]]
                self.hold(
                    token, number_word(port, 1, 65535, "port"), number_word(seconds, 1, MAX_HOLD_S, "number of seconds")
                )
            else:
                self.release(token)
        except ValueError as error:
            self.refuse(token, "error", str(error))

    def refuse(self, token, reason, detail):
        self.answer(answer_line(token, refused=reason, detail=detail[:MAX_TEXT]))

    def start(self, token, work, *args):
        """Run ``work`` in a thread; False when there are too many already."""
        with self.lock:
            free = self.busy < MAX_ASKED
            self.busy += free
        if not free:
            self.refuse(token, "error", "busy: %d requests are being worked on" % (self.busy,))
            return False
        try:
            threading.Thread(target=self._run, args=(token, work) + args, daemon=True).start()
        except RuntimeError as error:  # no more threads here
            self._done()
            self.refuse(token, "error", str(error))
            return False
        return True

    def _done(self):
        with self.lock:
            self.busy -= 1

    def _run(self, token, work, *args):
        try:
            line = work(token, *args)
        except Exception as error:
            line = answer_line(token, refused="error", detail=("%s: %s" % (type(error).__name__, error))[:MAX_TEXT])
        self._done()
        self.answer(line)

    # --- who listens ---

    def inside(self, token):
        if not self.looking.acquire(False):
            return answer_line(token, refused="error", detail="busy: the last two looks are not done yet")
        try:
            until = time.monotonic() + INSIDE_S
            missing, words = {}, {}
            rows, total = self.listeners(missing, words, time.monotonic() + OWNERS_S)
            sshd = self.sshd(missing, words, until)
            firewall = self.firewall(missing, words, until)
            return answer_line(token, inside=[rows, total, sshd, firewall, missing, words])
        finally:
            self.looking.release()

    def sockets(self, missing, words, until):
        """Rows of ``parse_listeners`` of both families, or None; a reason in ``missing`` when they are not all."""
        rows = []
        for name in ("tcp", "tcp6"):
            try:
                got, whole = read_listeners("%s/net/%s" % (self.proc, name), until)
            except OSError as error:
                if name == "tcp6" and error.errno == errno.ENOENT:  # a kernel without IPv6
                    continue
                missing["listeners"] = reason_of(error)
                words["listeners"] = "%s: %s" % (name, error.strerror)
                continue
            rows += got
            if not whole:
                missing["listeners"] = "timeout"
                words["listeners"] = "%s is too long to be read to its end" % (name,)
        return rows if rows or "listeners" not in missing else None

    def listeners(self, missing, words, until, port=None):
        """(rows of [address, port, process, pid, user], how many there are or None when that is not known)."""
        sockets = self.sockets(missing, words, until)
        if sockets is None:
            return None, None
        sockets = sorted(row for row in sockets if port is None or row[1] == port)
        wanted = {inode for _, _, _, inode in sockets if inode}
        owners, why = socket_owners(self.proc, wanted, until)
        seen = set()  # several sockets on one port (SO_REUSEPORT) of one process are one row
        for address, number, uid, inode in sockets:
            pid, name = owners.get(inode, (None, None))
            user = self.users.name(uid) if pid is None else user_of(pid, self.users, self.proc)
            seen.add((number, address, pid or 0, name, user))
        rows = [[address, number, name, pid or None, user] for number, address, pid, name, user in seen]
        shown, whole = select_listeners(rows)
        if not whole and "listeners" not in missing:
            missing["listeners"], words["listeners"] = "error", "more than %d ports are listened on" % (MAX_LISTENERS,)
        if any(row[3] is None for row in shown):
            missing["owners"] = why or "unsupported"
        return shown, None if "listeners" in missing else len(rows)

    def sshd(self, missing, words, until):
        program = which("sshd")
        out, reason, said = None, "unsupported", "no sshd here"
        if program is not None:
            out, reason, said = ask_program([program, "-T"], self.children, until)
        if reason:
            missing["sshd"], words["sshd"] = reason, said
            return None
        return parse_sshd(out)

    def firewall(self, missing, words, until):
        rows = []
        for tool in ("nft", "iptables", "ip6tables"):
            program = which(tool)
            if program is None:
                continue
            row, said = firewall_row(tool, program, self.children, until)
            rows.append(row)
            if said:
                words["firewall." + tool] = said
        if not rows:
            missing["firewall"], words["firewall"] = "unsupported", "neither nft nor iptables here"
        return rows or None

    # --- from node to node ---

    def connect(self, token, address, port, limit_s):
        return answer_line(token, connect=try_connect(address, port, limit_s))

    def hold(self, token, port, seconds):
        """Listen on a port for a while, from this very moment: what is asked next may already count on it."""
        if len(self.held) >= MAX_HELD or token in self.held:
            self.refuse(token, "error", "busy: %d ports are held" % (len(self.held),))
            return
        try:
            sock = open_port(port)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                self.start(token, self.who_has, port)
            else:
                state = "denied" if reason_of(error) == "denied" else "error"
                self.answer(answer_line(token, hold=[state, None, 0, [], str(error)[:MAX_TEXT]]))
            return
        sock.setblocking(False)
        ears, self.held[token] = os.pipe()
        if not self.start(token, self.accept, sock, ears, time.monotonic() + seconds):
            self.let_go(token, sock, ears)

    def who_has(self, token, port):
        missing, words = {}, {}
        rows, _ = self.listeners(missing, words, time.monotonic() + OWNERS_S, port)
        detail = "" if rows else "by a socket that does not listen, or one that cannot be seen from here"
        return answer_line(token, hold=["in_use", rows[0] if rows else None, 0, [], detail])

    def accept(self, token, sock, ears, until):
        """Close every connection at once, and say in the end whose they were."""
        accepted, peers = 0, []
        self.answer(answer_line(token, hold=["listening", None, 0, [], ""]))
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        poll.register(ears, select.POLLIN)
        try:
            while time.monotonic() < until:
                for fd, _ in poll.poll(1000 * max(until - time.monotonic(), 0.001)):
                    if fd == ears:
                        # who has connected may still be on the way to the queue
                        until = min(until, time.monotonic() + LINGER_S)
                        poll.unregister(ears)
                accepted += take_peers(sock, peers)
        finally:
            self.let_go(token, sock, ears)
        return answer_line(token, hold=["ended", None, accepted, peers, ""])

    def let_go(self, token, sock, ears):
        with self.lock:
            os.close(self.held.pop(token))
        os.close(ears)
        sock.close()

    def release(self, token):
        """End a listening before its time."""
        with self.lock:
            if token in self.held:
                os.write(self.held[token], b".")


def take_peers(sock, peers):
    """Accept and close what waits, some at a time; how many there were."""
    for count in range(64):
        try:
            peer, where = sock.accept()
        except OSError as error:
            if error.errno == errno.EAGAIN:
                return count
            if error.errno != errno.ECONNABORTED:  # one that is gone already has been here
                raise
        else:
            peer.close()
            if len(peers) < MAX_PEERS:
                peers.append(spell_end((plain_address(where[0]), where[1])))
    return 64


def plain_address(text):
    """An address without the prefix of IPv4 in IPv6."""
    return text[7:] if text.startswith("::ffff:") and "." in text else text


# --- the agent -------------------------------------------------------------------------------------------------------


class Agent(Ticker):
    """The main loop: requests in, lines out, everything that hangs kept away from it."""

    def __init__(self, settings):
        self.interval_s = clamp(settings.get("interval_s"), 0.05, 3600.0, 1.0)
        self.watchdog_s = clamp(settings.get("watchdog_s"), 0.1, 3600.0, WATCHDOG_S)
        self.processes_s = clamp(settings.get("processes_s"), 0.05, 3600.0, PROCESSES_S)
        self.proc = settings.get("proc", "/proc")
        self.boot_clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
        self.out = b""
        self.inbox = b""
        self.blob_left = -1
        self.seq = 0
        self.echo = None
        self.every_tick = False
        self.processes_at = 0.0
        self.note_lines = collections.deque()  # other threads append
        self.noted = set()
        self.answers = collections.deque()  # the same
        self.children = Children()
        self.ended = 0
        self.ended_cpu_s = 0.0
        self.hello = None
        self.cpu_before = None
        self.missing, self.missing_text = {}, "{}"
        self.users = Users()
        self.table = ProcessTable()
        self.host = Host(self.note)
        self.kmsg = Kmsg(settings.get("kmsg", "/dev/kmsg"))
        self.disks = Disks(self.proc)
        self.units = Units(self.note, self.children, self.proc)
        self.slow_at = 0.0
        self.files = {
            "stat": ProcFile(self.proc + "/stat", b"\nintr"),
            "meminfo": ProcFile(self.proc + "/meminfo", b"SwapFree"),
            "loadavg": ProcFile(self.proc + "/loadavg", b"\n"),
            "netdev": ProcFile(self.proc + "/net/dev"),
            "diskstats": ProcFile(self.proc + "/diskstats"),
            "uptime": ProcFile(self.proc + "/uptime", b"\n"),
            "statm": ProcFile(self.proc + "/self/statm", b"\n"),
        }
        self.gpus = Gpus(self.note, self.need_pynvml)
        self.poll = select.poll()
        self.poll.register(0, select.POLLIN)
        self.poll.register(self.gpus.wake, select.POLLIN)
        self.flushing = False
        self.requests = Requests(self.proc, self.users, self.children, self.answer)

    # --- its own word ---

    def note(self, layer, text):
        """Say something once; from any thread."""
        if text and (layer, text) not in self.noted and len(self.noted) < 100:
            self.noted.add((layer, text))
            self.note_lines.append(note_line(layer, text))

    def need_pynvml(self):
        self.note_lines.append(note_line("nvml", "this host has no usable pynvml", "pynvml"))

    def answer(self, line):
        """Say what was asked for; from any thread. A watcher that does not read loses the newest."""
        if len(self.answers) < MAX_ANSWERS:
            self.answers.append(line)
            self.gpus.rouse()

    # --- life and death ---

    def alive(self):
        """A heartbeat came."""
        self.deadline = time.monotonic() + self.watchdog_s
        # should the main thread itself hang (a read of /proc can), this signal still comes through
        signal.setitimer(signal.ITIMER_REAL, self.watchdog_s + 1.0)

    def die(self, *_):
        """End at once, with all children; threads that hang in a driver are left behind with the process."""
        for pid in list(self.children):
            kill_group(pid)
        os._exit(0)

    def run(self):
        """Serve until the end."""
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGALRM):
            signal.signal(number, self.die)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        os.set_blocking(0, False)
        os.set_blocking(1, False)
        self.alive()
        self.slow_work(time.monotonic())
        self.disks.idle.wait(0.05)  # sizes are in the first sample unless a file system is slow
        self.loop()

    def serve(self, fd):
        """Do what one end that is ready asks for."""
        if fd == 0:
            self.read_requests()
        elif fd == 1:
            self.flush()
        elif fd == self.kmsg.fd:  # read at the next tick, however much comes until then
            self.poll.unregister(fd)
            self.kmsg.news = True
        else:
            os.read(fd, 4096)
        if self.answers:
            self.send_answers()

    def read_requests(self):
        try:
            data = os.read(0, 65536)
        except BlockingIOError:
            return
        except OSError:
            self.die()
        if not data:
            self.die()
        self.inbox += data
        while self.inbox:
            if self.blob_left >= 0:
                if len(self.inbox) < self.blob_left:
                    return
                blob, self.inbox = self.inbox[: self.blob_left], self.inbox[self.blob_left :]
                self.blob_left = -1
                self.take_pynvml(blob)
                continue
            line, newline, rest = self.inbox.partition(b"\n")
            if not newline:
                if len(line) > 4096:
                    self.die()
                return
            self.inbox = rest
            self.request(line.split())

    def request(self, words):
        """Obey one request; one that makes no sense is said and ignored."""
        try:
            verb = words[0] if words else b""
            if verb == b"h":
                self.echo = (int(words[1]), time.monotonic())
                self.alive()
            elif verb == b"p":
                self.every_tick = words[1] == b"1"
                self.slow_at = 0.0
            elif verb == b"i":
                self.interval_s = clamp(float(words[1]), 0.05, 3600.0, self.interval_s)
            elif verb == b"m":
                self.blob_left = min(max(int(words[1]), 0), 1 << 22)
            elif verb == b"q":
                self.die()
            elif verb in (b"l", b"c", b"b", b"e"):
                self.requests.take(verb, words[1:])
        except (ValueError, IndexError):
            self.note("agent", "a request that makes no sense: %r" % (b" ".join(words)[:60],))

    def take_pynvml(self, blob):
        try:
            self.gpus.sent = zlib.decompress(blob)
        except zlib.error as error:
            self.note("nvml", "pynvml did not arrive whole: %s" % (error,))

    # --- lines ---

    def send(self, line):
        self.out += encode(line)

    def send_answers(self):
        """One after the other, each when the watcher has taken what came before: samples are not held up by many."""
        while self.answers and not self.out:
            self.send(self.answers.popleft())
            self.flush()

    def process_list(self):
        """Scan, and write the list; the very first scan is only what the second is compared with."""
        now_s = time.clock_gettime(self.boot_clock)
        scan, total, late = scan_processes(self.proc)
        first = self.table.at_s is None
        ranked = self.table.rank(scan, now_s)
        if first:
            return
        self.processes_at = time.monotonic() + self.processes_s - 0.01
        missing = {"top": "timeout"} if late else {}
        top = [[pid, user_of(pid, self.users, self.proc), name, cpu, rss] for pid, name, cpu, rss in ranked[:MAX_TOP]]
        self.send(processes_line(total, top, self.gpu_processes(scan, missing), missing))

    def gpu_processes(self, scan, missing):
        state = self.gpus.state
        if state is None or self.gpus.pending:
            missing["gpu"] = "timeout" if self.gpus.pending else "not_yet"
            return None
        if state[1] is None or state[3] is None:
            missing["gpu"] = state[2] or "not_yet"
            return None
        found, absent = state[3]
        missing.update(absent)
        if "gpu" in absent and not found:
            return None
        rows = []
        for gpu, pid, name, used in found:
            known = scan.get(pid)
            user = user_of(pid, self.users, self.proc)
            rows.append([gpu, pid, user, known[0] if known else name and name[:MAX_TEXT], used])
        return rows

    def say_hello(self):
        """Send a hello where it changed."""
        self.gpus.changed = self.units.changed = False
        try:
            line = self.hello_now()
        except Exception as error:
            self.note("hello", "%s: %s" % (type(error).__name__, error))
            line = hello_line("python", "?", missing={"hostname": "error"})
        if line != self.hello:
            self.hello = line
            self.send(line)

    def hello_now(self):
        missing = {}
        name = os.uname()
        nvml = self.gpus.nvml
        ready = nvml is not None and nvml.ready
        facts = {
            "os": quiet(lambda: parse_os_release(slurp("/etc/os-release"))),
            "boot_id": quiet(lambda: text_of(slurp(self.proc + "/sys/kernel/random/boot_id").strip(), 64)),
            "driver": nvml.driver if ready else quiet(lambda: driver_version(self.proc)),
            "cuda": nvml.cuda if ready else None,
            "units": self.units.rows,
            "units_uptime_s": self.units.uptime_s,
        }
        for field in ("os", "boot_id"):
            if facts[field] is None:
                missing[field] = "unsupported"
        state = self.gpus.state
        for field in ("driver", "cuda"):
            if facts[field] is None:
                missing[field] = "error" if ready else (state[2] if state and state[2] else "not_yet")
        missing.update(self.units.missing)
        return hello_line(
            "python+nvml" if ready else "python",
            name.nodename,
            kernel=name.release,
            python="%d.%d.%d" % sys.version_info[:3],
            pid=os.getpid(),
            missing=missing,
            **facts,
        )


DRIVER = re.compile(rb"(?:NVRM version:[^\n]*?\s|^)(\d+\.\d+(?:\.\d+)?)\b")


def driver_version(proc):
    """The version of the loaded NVIDIA kernel module."""
    found = DRIVER.search(slurp(proc + "/driver/nvidia/version", 4096))
    return found.group(1).decode("ascii") if found else None


def quiet(read):
    """The value, or None where the file is not there or not as expected (the field then carries a reason)."""
    try:
        return read()
    except (OSError, ValueError):
        return None


def clamp(value, low, high, otherwise):
    """A number of the settings within its bounds."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return otherwise
    return min(max(number, low), high) if number == number else otherwise


def main(settings):
    """Run the agent on stdin and stdout until its watcher is gone. ``settings``: interval_s, watchdog_s (optional)."""
    sys.dont_write_bytecode = True
    Agent(settings).run()
