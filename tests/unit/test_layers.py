"""The packages below the screen stay free of it, and slow libraries are loaded when first used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEVER = ("textual", "rich", "plotext", "tui")
_PROGRAM = """
import importlib, pkgutil, sys
def everything(name):
    package = importlib.import_module(name)
    yield name
    for info in pkgutil.walk_packages(getattr(package, "__path__", []), name + "."):
        yield info.name
names = [name for root in sys.argv[1].split(",") for name in everything(root)]
for name in names:
    importlib.import_module(name)
print(len(names), *sorted({name.split(".")[0] for name in sys.modules}))
"""


def loaded_by(packages: str) -> tuple[int, set[str]]:
    """How many modules of these packages there are, and which top-level modules importing all of them loads."""
    result = subprocess.run(
        [sys.executable, "-c", _PROGRAM, packages], cwd=ROOT, capture_output=True, text=True, check=False, timeout=50
    )
    assert result.returncode == 0, result.stderr
    count, *names = result.stdout.split()
    return int(count), set(names)


def test_probes_run_without_the_screen_and_without_benchmarks():
    count, names = loaded_by("probes")
    assert count > 10
    assert not names & {*NEVER, "benchmarks", "boto3", "botocore"}


def test_benchmarks_run_without_the_screen():
    count, names = loaded_by("benchmarks,probes")
    assert count > 10
    assert not names & {*NEVER, "boto3", "botocore"}


@pytest.mark.parametrize(
    "module", ["probes.config", "probes.config.commands", "probes.inventory.targets", "probes.model"]
)
def test_reading_the_configuration_loads_nothing_slow(module):
    code = f"import sys, {module}; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"asyncssh", "asyncio", "cryptography", "boto3", "textual", "psutil"} & set(result.stdout.split())


def test_a_diagnosis_loads_ssh_and_certificates_only_when_it_needs_them():
    code = "import sys, probes.reach.gather; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"asyncssh", "cryptography", "boto3", "textual"} & set(result.stdout.split())
