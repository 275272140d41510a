"""Own process above an embedded tritonserver: when its starter dies, everything that the server left goes with it.

Run as a script with the path of a JSON file {command, cleanup, grace, log, directory, starter}; standard library only. Standard
input is the lifeline: "stop" asks for a clean stop, end of file means that the starter is gone. Standard output carries
two JSON lines: {"pid"} after the start and {"exit", "tail"} at the end.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

_PDEATHSIG, _CHILD_SUBREAPER = 1, 36
_ORPHAN_GRACE = 2.0  # seconds that a server gets to end by itself after its starter died
_LAST_WORDS = 0.5
_TAIL_BYTES = 32_000
_prctl = ctypes.CDLL(None, use_errno=True).prctl


def _parents() -> dict[int, int]:
    """Parent of every process that is visible."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path("/proc", entry, "stat").read_text()
            except OSError:
                continue
            parents[int(entry)] = int(stat[stat.rindex(")") + 2 :].split()[1])
    return parents


def descendants(root: int) -> list[int]:
    """All processes below root, children before grandchildren."""
    parents, found = _parents(), [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found[1:]


def discard(directory: Path) -> None:
    """Remove a server's directory and the shared-memory regions whose names its stubs' launchers wrote there."""
    try:
        names = (directory / "regions").read_text().split()
    except OSError:
        names = []
    for name in names:
        try:
            os.unlink(f"/dev/shm/{Path(name).name}")
        except OSError:
            pass
    shutil.rmtree(directory, ignore_errors=True)


def _reap() -> dict[int, int]:
    """Exit codes of the children that have ended; orphans of the server are children here."""
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended[pid] = os.waitstatus_to_exitcode(status)


def _start(command: list[str], log: str) -> int:
    me, pid = os.getpid(), os.fork()
    if pid:
        return pid
    try:
        _prctl(_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != me:
            os._exit(1)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.execv(command[0], command)
    except OSError as error:
        os.write(2, f"cannot run {command[0]}: {error.strerror}\n".encode())
    os._exit(127)


def _say(message: dict) -> None:
    try:
        os.write(1, json.dumps(message).encode() + b"\n")
    except OSError:
        pass


def _watch(server: int, starter: int, wakeup: int, grace: float) -> tuple[int | None, float]:
    """Wait until the server ends, a stop is asked for or the starter dies; (exit code or None, seconds of grace: `grace` of a stop)."""
    while True:
        ready, _, _ = select.select([0, wakeup], [], [], 0.5)
        ended = _reap()
        if server in ended:
            return ended[server], 0.0
        if wakeup in ready and any(number != signal.SIGCHLD for number in os.read(wakeup, 512)):
            return None, _ORPHAN_GRACE
        if 0 in ready:
            return None, grace if os.read(0, 64) else _ORPHAN_GRACE
        if os.getppid() != starter:
            return None, _ORPHAN_GRACE


def _finish(server: int, starter: int, grace: float) -> int | None:
    """End the server and everything below this process; the server's exit code.

    With grace the stubs may finalize; the server then only says so in its log and waits for its next look at them.
    A starter that is killed while it waits for a clean stop shortens the grace.
    """
    code, deadline = None, time.monotonic() + grace
    if grace:
        os.kill(server, signal.SIGTERM)
    while True:
        code = _reap().get(server, code)
        below = descendants(os.getpid())
        if not below:
            return code
        if os.getppid() != starter:
            deadline = min(deadline, time.monotonic() + _ORPHAN_GRACE)
        if below == [server]:
            deadline = min(deadline, time.monotonic() + _LAST_WORDS)
        if time.monotonic() >= deadline or server not in below:
            for pid in below:
                try:
                    os.kill(pid, signal.SIGKILL)
                except OSError:
                    pass
        time.sleep(0.02)


def _remove_leftovers(started: float) -> None:
    """Remove the empty directories that Triton's Python backend has made since then and never removes itself.

    They bear no server's name, so they stay while another tritonserver runs.
    """
    comms = (Path(f"/proc/{pid}/comm") for pid in _parents())
    with contextlib.suppress(OSError):
        if any(comm.read_text() == "tritonserver\n" for comm in comms if comm.exists()):
            return
        for directory in Path("/tmp").glob("python_env_??????"):
            status = directory.stat()
            if status.st_uid == os.getuid() and status.st_ctime >= started - 1:
                directory.rmdir()


def main() -> None:
    """Start what the argument says, watch it, and leave nothing of it behind."""
    job = json.loads(Path(sys.argv[1]).read_text())
    _prctl(_CHILD_SUBREAPER, 1)
    wakeup, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    started = time.time()
    server = _start(job["command"], job["log"])
    _say({"pid": server})
    code, grace = _watch(server, job["starter"], wakeup, job["grace"])
    ended = _finish(server, job["starter"], grace)
    try:
        tail = Path(job["log"]).read_bytes()[-_TAIL_BYTES:].decode(errors="replace")
    except OSError:
        tail = ""
    if job["cleanup"]:
        subprocess.run(job["cleanup"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    discard(Path(job["directory"]))
    _remove_leftovers(started)
    _say({"exit": ended if code is None else code, "tail": tail})


if __name__ == "__main__":
    main()
