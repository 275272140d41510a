"""What a server leaves on a machine: processes, ports, shared memory, directories."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def tree(directory: str | Path) -> set[int]:
    """Processes whose command line names the directory, stubs included."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and str(directory) in " ".join(command(int(entry.name))) and alive(int(entry.name)):
            found.add(int(entry.name))
    return found


def command(pid: int) -> list[str]:
    """Command line of a process; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []


def regions(directory: str | Path) -> set[Path]:
    """Shared-memory files that stubs of a server opened."""
    return {Path("/dev/shm") / name for name in (Path(directory) / "regions").read_text().split()}


def listening(address: str) -> bool:
    """Whether somebody accepts connections there."""
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    """Whether the condition comes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
