# Memory bandwidth by numpy: what is measured on a host without a compiler, and not comparable with stream.c.
# The same commands and lines as stream.c; arguments: THREADS (ignored, numpy's loops have one) and ELEMENTS.
import json
import sys
import time

sys.path = [path for path in sys.path if path]
import numpy as np

CHUNK = 1 << 16  # the product of triad stays in the cache


def say(**fields):
    print(json.dumps(fields), flush=True)


def scalar_of(i, a):
    return (0.3 if a > 1.0 else 0.5) + 0.1 * (i * 0.6180339887498949 % 1.0)


def chunks(n):
    return ((at, min(at + CHUNK, n)) for at in range(0, n, CHUNK))


def farthest(values, wanted):
    worst = max(float(np.abs(values[low:high] - wanted).max()) for low, high in chunks(len(values)))
    if worst != worst:
        return 1e300
    return worst / abs(wanted) if wanted else worst


def available():
    with open("/proc/meminfo") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 0


def main():
    n = int(sys.argv[2])
    needed, have = 3 * 8 * n, available()
    if needed > 0.5 * have:
        say(error="more than half of the available memory", needed_bytes=needed, available_bytes=have)
        return 3
    a, b, c = np.full(n, 1.0), np.full(n, 2.0), np.full(n, 0.0)
    product = np.zeros(CHUNK)
    expected = [1.0, 2.0, 0.0]
    say(
        hello="stream",
        threads=1,
        elements=n,
        bytes=needed,
        compiler="numpy " + np.__version__,
        timer_resolution_s=time.get_clock_info("monotonic").resolution,
    )
    done = 0
    for line in sys.stdin:
        if line == "run\n":
            s = scalar_of(done, expected[0])
            at = [time.monotonic()]
            np.copyto(c, a)
            at.append(time.monotonic())
            np.multiply(c, s, out=b)
            at.append(time.monotonic())
            np.add(a, b, out=c)
            at.append(time.monotonic())
            for low, high in chunks(n):
                part = product[: high - low]
                np.multiply(c[low:high], s, out=part)
                np.add(b[low:high], part, out=a[low:high])
            at.append(time.monotonic())
            expected[1] = s * expected[0]
            expected[2] = expected[0] + expected[1]
            expected[0] = expected[1] + s * expected[2]
            took = [to - since for since, to in zip(at, at[1:])]
            say(run=done, copy=took[0], scale=took[1], add=took[2], triad=took[3])
            done += 1
        elif line == "check\n":
            worst = max(farthest(values, wanted) for values, wanted in zip((a, b, c), expected))
            limit = max(1e-13, 8 * 2.220446049250313e-16 * done)
            say(check=worst <= limit, iterations=done, max_relative_error=worst, limit=limit)
        elif line == "quit\n":
            break
    return 0


sys.exit(main())
