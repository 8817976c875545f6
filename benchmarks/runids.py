"""Names of runs and suites, and the hash that says whether two results may be compared."""

from __future__ import annotations

import hashlib
import secrets
import time
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from benchmarks.model import RunSpec


def new_run_id() -> str:
    """A new id: the wall clock as a label, and 24 random bits, since clocks are set back and runs start together."""
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"


def config_hash(spec: RunSpec, version: int) -> str:
    """What was measured and how, not where and when: benchmark, version, case, temperature, load and options.

    Hosts, endpoints, services, labels and times are left out: results that differ only in them are compared.
    """
    content: dict[str, Any] = {
        "benchmark": spec.benchmark,
        "version": version,
        "case": spec.case.text or spec.case.id,
        "temperature": spec.temperature,
        "load": spec.load,
        "options": spec.options,
    }
    return hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()[:16]
