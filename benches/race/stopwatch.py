"""How long a command takes, how much of the processors and how much memory, it and all its descendants together.

Wall time ends when the kernel says that the command ended. CPU is what wait4 tells: user and system time of the command
and of every descendant that was waited for. Memory is the highest sum of the PSS of all of them, read from /proc every
few milliseconds, so pages that several share count once; a peak that lasts less than that is missed. Reading costs some
tenths of a millisecond each time, for every system alike.

What a command says goes to a file, and its end is shown if it fails: a failure is an error, never a time.
"""

import os
import select
import subprocess
import time
from dataclasses import dataclass

# Often at first, because some commands last 20 ms; later so seldom that it costs about one hundredth.
EARLY_S, EARLY_EVERY_S, EVERY_S = 0.2, 0.004, 0.03


@dataclass
class Measured:
    """One run of one command."""

    wall_s: float
    cpu_s: float
    memory_mib: float


class Failed(Exception):
    """A command did not end well, or gave something wrong."""


def measure(argv, log, cwd=None, env=None):
    """Runs `argv` (a list, or a pipeline in one string) to its end, and measures it."""
    if isinstance(argv, str):
        argv = ["bash", "-c", "set -o pipefail; " + argv]
    with open(log, "wb") as said:
        begin = time.monotonic()
        child = subprocess.Popen(argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        ended = os.pidfd_open(child.pid)
        watch = select.poll()
        watch.register(ended, select.POLLIN)
        peak = 0
        while True:
            age = time.monotonic() - begin
            if watch.poll(1000 * (EARLY_EVERY_S if age < EARLY_S else EVERY_S)):
                break
            peak = max(peak, sum(pss_kib(pid) for pid in family(child.pid)))
        wall = time.monotonic() - begin
        os.close(ended)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        with open(log, "rb") as said:
            tail = said.read()[-1500:].decode(errors="replace")
        raise Failed(f"exit status {child.returncode} of {' '.join(argv)}\n{tail}")
    return Measured(wall, used.ru_utime + used.ru_stime, peak / 1024)


def family(pid):
    """A process and its descendants, as far as they live."""
    found = [pid]
    for parent in found:
        try:
            for thread in os.listdir(f"/proc/{parent}/task"):
                with open(f"/proc/{parent}/task/{thread}/children", "rb") as children:
                    found.extend(int(child) for child in children.read().split())
        except OSError:
            pass
    return found


def pss_kib(pid):
    """Its share of the memory that it uses."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as lines:
            return next((int(line.split()[1]) for line in lines if line.startswith(b"Pss:")), 0)
    except OSError:
        return 0
