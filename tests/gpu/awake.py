"""Keep the cores of a virtual machine awake: `with awake():`, what idle=poll does on a host.

A core that has nothing to do halts, and in a virtual machine it then takes the host tens of microseconds to wake it. A request
to a server wakes threads of three processes several times. Processes of the class SCHED_IDLE run only where nothing else does
and give way at once, so that no core halts.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_SPIN = """import os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
while os.getppid() == int(sys.argv[2]):
    for _ in range(10**7):
        pass
"""


@contextmanager
def awake() -> Iterator[None]:
    """Let a process of the lowest class spin on every core of this one's affinity until the context ends."""
    line = [sys.executable, "-S", "-c", _SPIN]
    spinning = [subprocess.Popen([*line, str(core), str(os.getpid())]) for core in sorted(os.sched_getaffinity(0))]
    try:
        yield
    finally:
        for one in spinning:
            one.kill()
            one.wait()
