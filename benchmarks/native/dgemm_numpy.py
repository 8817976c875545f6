# C = A * B by numpy and the library behind it. The same commands and lines as dgemm.c; arguments: THREADS (set by the
# environment too) and SIZE.
import json
import re
import sys
import time

sys.path = [path for path in sys.path if path]
import numpy as np


def say(**fields):
    print(json.dumps(fields), flush=True)


def available():
    with open("/proc/meminfo") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 0


def library():
    """The library that is loaded, by its file; it is loaded once it has multiplied."""
    with open("/proc/self/maps") as file:
        names = sorted({line.split("/")[-1].strip() for line in file if "/" in line})
    found = [name for name in names if re.search("openblas|mkl_rt|mkl_core|blis|atlas|libblas|libcblas", name)]
    return found[0] if found else "not known"


def main():
    n = int(sys.argv[2])
    needed, have = 3 * 8 * n * n, available()
    if needed > 0.5 * have:
        say(error="more than half of the available memory", needed_bytes=needed, available_bytes=have)
        return 3
    numbers = np.random.RandomState(7)
    a, b, c = numbers.rand(n, n) - 0.5, numbers.rand(n, n) - 0.5, np.zeros((n, n))
    np.dot(a[:8, :8].copy(), b[:8, :8].copy())
    say(
        hello="dgemm",
        threads=int(sys.argv[1]),
        elements=n,
        bytes=needed,
        compiler="numpy " + np.__version__,
        library=library(),
        timer_resolution_s=time.get_clock_info("monotonic").resolution,
    )
    done = 0
    for line in sys.stdin:
        if line == "run\n":
            c.fill(float("nan"))
            a[np.arange(n), (np.arange(n) + done) % n] = numbers.rand(n) - 0.5
            since = time.monotonic()
            np.dot(a, b, out=c)
            took = time.monotonic() - since
            say(run=done, seconds=took, flop=2.0 * n * n * n)
            done += 1
        elif line == "check\n":
            x = numbers.rand(n) - 0.5
            away = float(np.abs(c.dot(x) - a.dot(b.dot(x))).max())
            norm = float(np.abs(a).sum(1).max() * np.abs(b).sum(1).max() * np.abs(x).max())
            residual = away / (norm * n * 2.220446049250313e-16)
            good = done > 0 and residual <= 16
            say(check=good, iterations=done, scaled_residual=min(1e300, residual), limit=16)
        elif line == "quit\n":
            break
    return 0


sys.exit(main())
