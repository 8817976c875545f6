"""The theoretical peak of a host in double precision: cores x frequency x floating-point operations a cycle. Pure.

Where one of the three is not known there is no peak, with the reason: none is guessed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from benchmarks.machine import Machine

_AMD_ZEN4 = 25
_AMD_ZEN5 = 26


class Peak(Struct, frozen=True):
    """A peak in GFLOP/s and how it was worked out; None with the reason."""

    gflops: float | None
    words: str


def peak(machine: Machine, threads: int, ghz: float | None = None) -> Peak:
    """The peak of so many threads on a host.

    Args:
        machine: the host.
        threads: that compute; more than there are cores share them.
        ghz: the frequency, where a person gave it: it wins over the host's highest.
    """
    per_cycle, why = flop_per_cycle(machine)
    if per_cycle is None:
        return Peak(None, why)
    if machine.cores is None:
        return Peak(None, "the host does not say which CPUs share a core")
    if ghz is None and machine.max_hz is None:
        return Peak(None, "the host does not say its highest frequency, or its CPUs differ: give it with ghz=")
    hertz = machine.max_hz / 1e9 if ghz is None and machine.max_hz is not None else ghz or 0.0
    cores = min(threads, machine.cores)
    source = "its highest" if ghz is None else "as given"
    words = f"{cores} core{'s' if cores != 1 else ''} x {hertz:g} GHz ({source}) x {per_cycle} FLOP a cycle ({why})"
    return Peak(cores * hertz * per_cycle, words)


def flop_per_cycle(machine: Machine) -> tuple[int | None, str]:
    """Double-precision operations that a core can end in a cycle, and by which instructions; None with the reason."""
    flags = machine.flags
    if machine.architecture in ("x86_64", "i686", "i386"):
        return _x86(machine)
    if machine.architecture == "aarch64":
        if "sve" in flags:
            return None, "the width of its SVE vectors is not in /proc/cpuinfo"
        if "asimd" in flags:
            return 8, "NEON, two units"
    known = machine.architecture or "an architecture that is not said"
    return None, f"operations a cycle are not known for {known}"


def _x86(machine: Machine) -> tuple[int | None, str]:
    flags = machine.flags
    if "avx512f" in flags:
        return _avx512(machine)
    if "avx2" in flags and "fma" in flags:
        return 16, "AVX2 and FMA, two units"
    if "avx" in flags:
        return 8, "AVX"
    if "sse2" in flags:
        return 4, "SSE2"
    return None, "no vector instructions in its flags"


def _avx512(machine: Machine) -> tuple[int | None, str]:
    if machine.vendor != "AuthenticAMD":
        return 32, "AVX-512, where it has two units"
    known = {_AMD_ZEN4: (16, "AVX-512 in two halves"), _AMD_ZEN5: (32, "AVX-512, two units")}
    return known.get(machine.family or 0, (None, "an AMD family that is not known"))
