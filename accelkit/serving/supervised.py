"""Start a server under the supervisor, on free ports, and wait until it answers or says why it does not."""

from __future__ import annotations

import fcntl
import json
import os
import re
import select
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from accelkit.errors import ServerError
from accelkit.serving.client import reason
from accelkit.serving.launch import LOOPBACK, Spec, free_ports, start_failure, wait
from accelkit.serving.supervisor import discard

_SUPERVISOR = Path(__file__).with_name("supervisor.py")
_PREFIX = "accelkit-server-"
_TAKEN = re.compile(r"already (?:in use|allocated)|failed to bind|failed to start (?:HTTP|GRPC|Metrics)", re.IGNORECASE)
_NO_METRICS = re.compile(r"--allow-metrics=(?:false|0|off|no)", re.IGNORECASE)
_PLAIN = re.compile(r"[\w./+,:=@%-]+")
Ports = tuple[int, int, int]
GRACE_S = 10


@dataclass(frozen=True)
class Job:
    """What the supervisor runs: a command, its environment, a command that removes what outlives it, seconds for a clean end."""

    command: list[str]
    env: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    cleanup: list[str] = field(default_factory=list)
    grace: float = GRACE_S


class Supervised:
    """A running server and its supervisor."""

    def __init__(self, job: Job, directory: Path, lock: int, ports: Ports):
        self.command, self.log, self._directory, self._end = job.command, directory / "log.txt", directory, ""
        self.http, self.grpc, self.metrics = (f"{LOOPBACK}:{port}" for port in ports)
        told = {"command": job.command, "cleanup": job.cleanup, "grace": job.grace, "starter": os.getpid()}
        (directory / "job.json").write_text(json.dumps({**told, "directory": str(directory), "log": str(self.log)}))
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(_SUPERVISOR), str(directory / "job.json")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=job.env, start_new_session=True, pass_fds=(lock,),
        )  # fmt: skip
        assert self._process.stdin is not None and self._process.stdout is not None
        self._lifeline, self._says = self._process.stdin, self._process.stdout
        try:
            self.pid: int | None = json.loads(self._says.readline() or '{"pid": null}')["pid"]
        except BaseException:
            self.stop()
            raise

    def ended(self) -> bool:
        """Whether the server, and with it the supervisor, has ended."""
        return self._process.poll() is not None

    def tail(self, lines: int = 20) -> str:
        """Last lines of the log, also after the end."""
        try:
            text = self.log.read_text(errors="replace")
        except OSError:
            text = self._last_words() if not self._says.closed else self._end
        return "\n".join(text.splitlines()[-lines:])

    def stop(self, clean: bool = True) -> None:
        """Ask for an end, wait for it, and remove the directory if the supervisor was killed and could not."""
        try:
            if clean:
                self._lifeline.write(b"stop\n")
            self._lifeline.close()
        except OSError:
            pass
        self._last_words(None)
        self._says.close()
        self._process.wait()
        discard(self._directory)

    def _last_words(self, patience: float | None = 1) -> str:
        """The end of the log, which the supervisor says as its last; a log that is gone is a sign of its end."""
        if select.select([self._says], [], [], patience)[0] and (said := self._says.read().splitlines()):
            self._end = json.loads(said[-1]).get("tail", "")
        return self._end


def launch(spec: Spec, prepare: Callable[[Path, Ports, str], Job], binds: bool = True) -> Supervised:
    """Start what `prepare` makes of a directory, ports and an identity; ServerError with the server's own reason.

    A port may be taken between its choice and the server's bind: then the server is started again on others, and what the
    first one wrote of its models' profiles, which may be cut off, goes with it. A server that
    `binds` itself would go on without its metrics port, so that one is looked at too, unless it was asked to have none.
    """
    log = ""
    binds = binds and not any(_NO_METRICS.fullmatch(option) for option in spec.options)
    for _ in range(10):
        ports, identity = free_ports(spec.ports), f"accelkit-{uuid.uuid4().hex[:12]}"
        before = _files(spec.profile)
        directory, lock = _directory()
        try:
            running = Supervised(prepare(directory, ports, identity), directory, lock, ports)
        except BaseException:
            discard(directory)
            raise
        finally:
            os.close(lock)
        try:
            answers = wait(running.http, identity, spec.timeout, running.ended)
            if answers and (not binds or _listens(running, ports[2], spec.timeout)):
                return running
        except BaseException:
            running.stop()
            raise
        ended = running.ended()
        running.stop()
        log = running.tail(10_000)
        if not ended and not answers:
            raise ServerError(
                f"the server gave no answer within {spec.timeout:g} s: give it more, or read its log", log
            )
        if not _TAKEN.search(log) or None not in spec.ports:
            break
        for file in _files(spec.profile) - before:
            file.unlink()
    raise ServerError(f"the server did not start: {reason(start_failure(log))}", "\n".join(log.splitlines()[-20:]))


def _files(folder: Path | None) -> set[Path]:
    return set() if folder is None else {path for path in folder.rglob("*") if path.is_file()}


def _listens(running: Supervised, port: int, timeout: float) -> bool:
    """Whether the server's own process comes to listen at a port in time, before its log says that it cannot."""
    deadline = time.monotonic() + timeout
    while not running.ended() and not _TAKEN.search(running.tail(50)) and time.monotonic() < deadline:
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        sockets = {f"socket:[{row[9]}]" for row in rows if row[3] == "0A" and row[1].endswith(f":{port:04X}")}
        try:
            held = {os.path.basename(os.path.realpath(file)) for file in Path(f"/proc/{running.pid}/fd").iterdir()}
        except OSError:
            continue
        if sockets & held:
            return True
        time.sleep(0.01)
    return False


def plain(path: Path) -> bool:
    """Whether a shell takes the path as it is; the server hands some paths to one without quotes."""
    return _PLAIN.fullmatch(str(path)) is not None


def _directory() -> tuple[Path, int]:
    """A new directory for one server and the lock that says that it is in use; directories of dead ones go."""
    root = Path(tempfile.gettempdir())
    if not plain(root):
        root = Path("/tmp")
    for old in root.glob(f"{_PREFIX}*"):
        try:
            if time.time() - old.stat().st_mtime > 60 and old.stat().st_uid == os.getuid():
                with (old / "lock").open("a") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    discard(old)
        except OSError:
            continue
    directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
    held = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(held, fcntl.LOCK_EX)
    return directory, held
