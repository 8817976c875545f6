"""The script of the simulated faults: pure functions of the time since the demo started.

Each fault repeats: it is on from ``start_s`` to ``end_s`` of every ``period_s`` seconds. The first of them come within
half a minute, and no two kinds share a period, so that the screen is never still. Faults without an entry here hold
all the time (wrong host key, wrong user key, silent ports, full disk, ...).

=============  ======  ===========  ==========================================================================
fault          period  on           what the watcher sees
=============  ======  ===========  ==========================================================================
throttle        120 s   15 to  70   GPUs heat up past their slowdown temperature, clocks fall, reasons are given
gpu_lost        150 s   40 to 110   one GPU answers nothing more (XID 79 in the kernel log, fields ``gpu_lost``)
xid             170 s   30 to 170   a few XIDs come one by one; one uncorrected ECC error
driver_hung     140 s   35 to  75   the driver does not answer: GPU fields ``timeout``
hung            130 s   50 to 100   nothing more on the open connection, and no banner on a new one
reboot          200 s   90 to 110   connection gone, port refused, then back with a new boot id
flood           180 s   60 to  70   thousands of lines a second
garbage          20 s   18 to  19   one line that is no sample: binary, too long, escape sequences, not JSON
flapping         90 s   45 to  75   a service (not a host): its port is closed
=============  ======  ===========  ==========================================================================
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from probes.demo.catalog import Fault
from probes.demo.noise import clamp

if TYPE_CHECKING:
    from probes.demo.catalog import HostSpec

#: hosts of later rounds of the roster play their part this much later
ROUND_SHIFT_S: Final = 7.0


@dataclass(frozen=True, slots=True)
class Window:
    """A fault that is on from ``start_s`` to ``end_s`` of every ``period_s``."""

    period_s: float
    start_s: float
    end_s: float

    def phase(self, t: float) -> float:
        """Seconds into the current period."""
        return t % self.period_s

    def on(self, t: float) -> bool:
        """Whether the fault is on."""
        return t >= 0 and self.start_s <= t % self.period_s < self.end_s

    def count(self, t: float) -> int:
        """How often it has begun so far."""
        return max(0, math.floor((t - self.start_s) / self.period_s) + 1)

    def begun_s(self, t: float) -> float | None:
        """When it began last, or None before the first time."""
        count = self.count(t)
        return (count - 1) * self.period_s + self.start_s if count else None

    def swell(self, t: float, rise_s: float) -> float:
        """Like ``on``, but rising from 0 to 1 within ``rise_s`` and falling again as slowly after the end."""
        if t < 0:
            return 0.0
        since = t % self.period_s
        return clamp((since - self.start_s) / rise_s, 0.0, 1.0) - clamp((since - self.end_s) / rise_s, 0.0, 1.0)


WINDOWS: Final = {
    Fault.THROTTLE: Window(120.0, 15.0, 70.0),
    Fault.GPU_LOST: Window(150.0, 40.0, 110.0),
    Fault.XID: Window(170.0, 30.0, 170.0),
    Fault.DRIVER_HUNG: Window(140.0, 35.0, 75.0),
    Fault.HUNG: Window(130.0, 50.0, 100.0),
    Fault.REBOOT: Window(200.0, 90.0, 110.0),
    Fault.FLOOD: Window(180.0, 60.0, 70.0),
    Fault.GARBAGE: Window(20.0, 18.0, 19.0),
}
FLAPPING: Final = Window(90.0, 45.0, 75.0)


def window(host: HostSpec, fault: Fault) -> Window | None:
    """The window of ``fault`` if this host plays that part."""
    return WINDOWS[fault] if host.fault is fault else None


def local_time(host: HostSpec, t: float) -> float:
    """The host's own script time: hosts of later rounds lag behind."""
    return t - host.round * ROUND_SHIFT_S


def active(host: HostSpec, fault: Fault, t: float) -> bool:
    """Whether the host plays ``fault`` and it is on at ``t`` seconds after the start of the demo."""
    script = window(host, fault)
    return script is not None and script.on(local_time(host, t))


def boot_age_s(host: HostSpec, t: float) -> float:
    """The host's uptime in seconds: a rebooted host counts from the end of its last reboot."""
    script = window(host, Fault.REBOOT)
    since = local_time(host, t)
    if script is not None:
        begun = script.begun_s(since)
        if begun is not None:
            return max(0.0, since - begun - (script.end_s - script.start_s)) + 8.0
    return host.boot_s + t


def boots(host: HostSpec, t: float) -> int:
    """How often the host has rebooted since the demo started."""
    script = window(host, Fault.REBOOT)
    return 0 if script is None else script.count(local_time(host, t))
