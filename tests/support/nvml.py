"""The NVML double: compile it once, point a process at it, and tell it faults while that process runs."""

from __future__ import annotations

import subprocess
from pathlib import Path

_SOURCE = Path(__file__).with_name("nvml_double.c")


def build(folder: Path) -> Path:
    """Compile libnvidia-ml.so.1 into ``folder`` and return the folder for LD_LIBRARY_PATH."""
    library = folder / "libnvidia-ml.so.1"
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o", str(library), str(_SOURCE)], check=True
    )
    return folder


class NvmlDouble:
    """What one process sees as its driver."""

    def __init__(self, library_folder: Path, control: Path) -> None:
        self._control = control
        self.environ = {"LD_LIBRARY_PATH": str(library_folder), "NVML_DOUBLE": str(control)}
        self.tell()

    def tell(self, *lines: str) -> None:
        """Replace what it is told (see nvml_double.c), in one step."""
        fresh = self._control.with_suffix(".new")
        fresh.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")
        fresh.replace(self._control)
