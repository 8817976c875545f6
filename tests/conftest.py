"""Shared fixtures: needs(program) and the warnings that make a hidden failure loud."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

_EXTRA_PATH = "/usr/sbin:/sbin:/usr/local/sbin"


def find_program(name: str) -> str | None:
    """Where a program is, the sbin folders included."""
    return shutil.which(name, path=os.environ.get("PATH", "/usr/bin:/bin") + ":" + _EXTRA_PATH)


def _has_netns() -> bool:
    if find_program("unshare") is None:
        return False
    return subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode == 0


def _missing(need: str) -> str | None:
    if need == "root":
        return None if os.geteuid() == 0 else "needs root"
    if need == "netns":
        return None if _has_netns() else "needs network namespaces (root or unprivileged user namespaces)"
    if need == "cc":
        return None if find_program("cc") or find_program("gcc") else "needs a C compiler"
    if need == "captures":
        return None if os.environ.get("QUARTERDECK_CAPTURES") else "needs $QUARTERDECK_CAPTURES"
    return None if find_program(need) else f"needs {need}"


#: tests that wait for real time-outs: they begin first, so that a run does not end by waiting for one of them
_LONG = ("test_eight_nodes_of", "test_efficiency_is_measured", "test_a_frozen_watcher")


def pytest_configure(config: pytest.Config) -> None:
    """Keep compiled code where no ``__pycache__`` may be written: in pytest's cache, out of the tree.

    Without it each worker compiles every test anew, and each program that a test starts all of quarterdeck.
    """
    cache = getattr(config, "cache", None)  # none under -p no:cacheprovider
    if sys.dont_write_bytecode and sys.pycache_prefix is None and cache is not None:
        folder = str(cache.mkdir("bytecode"))
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = folder
        sys.dont_write_bytecode, sys.pycache_prefix = False, folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.name.startswith(_LONG))


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        for need in marker.args:
            reason = _missing(need)
            if reason is None:
                continue
            # real captures are not part of the project: they alone may be absent where all programs are required
            if os.environ.get("QUARTERDECK_REQUIRE") == "all" and need != "captures":
                pytest.fail(f"{reason}, and QUARTERDECK_REQUIRE=all makes that a failure")
            pytest.skip(reason)
