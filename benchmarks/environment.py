"""Where the engine ran, and what is known of the host; labels of a result, measured by nobody."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.result import Environment
from probes.text import clean

if TYPE_CHECKING:
    from probes.model import Host


def environment(host: Host) -> Environment:
    """This machine's Python, system and processor; the host's instance type and region as its labels say."""
    instance_type, region = host.labels.get("instance_type"), host.labels.get("region")
    missing = {
        name: "no label of the host says it"
        for name, value in (("instance_type", instance_type), ("region", region))
        if value is None
    }
    return Environment(
        tool=f"quarterdeck {_version()}",
        python=platform.python_version(),
        os=clean(platform.platform()),
        cpu=_cpu(),
        gpu=None,
        instance_type=instance_type,
        region=region,
        missing={**missing, "gpu": "not read"},
    )


def _version() -> str:
    try:
        return version("quarterdeck")
    except PackageNotFoundError:
        return "(not installed)"


def _cpu() -> str:
    """The processor's name. Source: /proc/cpuinfo, else what Python knows."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, colon, value = line.partition(":")
            if colon and name.strip() in {"model name", "Model", "cpu model"}:
                return clean(value.strip())
    except OSError:
        pass
    return clean(platform.processor() or platform.machine())
