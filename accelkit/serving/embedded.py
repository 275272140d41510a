"""The pinned tritonserver as a child of this process, with the kit's stand-in backends, under a supervisor."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shlex
import shutil
import site
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

from accelkit import toolchain
from accelkit.errors import ServerError
from accelkit.serving.client import reason
from accelkit.serving.launch import LOOPBACK, Spec, arguments, free_ports, start_failure, wait
from accelkit.serving.supervisor import discard

BACKENDS = Path(__file__).resolve().parent.parent / "backends"
_SUPERVISOR = Path(__file__).with_name("supervisor.py")
_PREFIX = "accelkit-server-"
_STUB, _UTILS = "triton_python_backend_stub", "triton_python_backend_utils.py"
_TAKEN = re.compile(r"already in use|failed to bind|Address in use|failed to start (?:HTTP|GRPC|Metrics)", re.IGNORECASE)
# Large buffers stay mapped between requests, as with the tcmalloc of NVIDIA's image: no page faults for each request.
_MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 30), "MALLOC_TOP_PAD_": str(1 << 24)}


class Embedded:
    """A running tritonserver and its supervisor."""

    def __init__(self, process: subprocess.Popen, directory: Path, command: list[str], ports: tuple[int, int, int]):
        self._process, self._directory, self._end = process, directory, ""
        self.http, self.grpc, self.metrics = (f"{LOOPBACK}:{port}" for port in ports)
        self.command, self.log = command, directory / "log.txt"
        self.pid: int | None = json.loads(process.stdout.readline() or '{"pid": null}')["pid"]

    def ended(self) -> bool:
        """Whether the server, and with it the supervisor, has ended."""
        return self._process.poll() is not None

    def tail(self, lines: int) -> str:
        """Last lines of the log, also after the end."""
        try:
            text = self.log.read_text(errors="replace")
        except OSError:
            text = self._end
        return "\n".join(text.splitlines()[-lines:])

    def stop(self) -> None:
        """Ask for a clean end, wait for it, and remove the directory if the supervisor could not."""
        try:
            self._process.stdin.write(b"stop\n")
            self._process.stdin.close()
        except OSError:
            pass
        rest = self._process.stdout.read()
        self._process.stdout.close()
        self._process.wait()
        if rest:
            self._end = json.loads(rest.splitlines()[-1])["tail"]
        discard(self._directory)


def launch(spec: Spec) -> Embedded:
    """Start the server and wait until it answers; ServerError with its own reason when it ends before."""
    tools = toolchain.ensure()
    for _ in range(10):
        running = _start(spec, tools, free_ports(spec.ports), identity := f"accelkit-{uuid.uuid4().hex}")
        try:
            answers = wait(running.http, identity, spec.timeout, running.ended)
        except BaseException:
            running.stop()
            raise
        if answers:
            return running
        late = not running.ended()
        running.stop()
        log = running.tail(10_000)
        if late:
            raise ServerError(f"the server gave no answer within {spec.timeout:g} s: allow it more time, or read its log", running.tail(20))
        if not _TAKEN.search(log):
            break
        if None not in spec.ports:
            break
    raise ServerError(f"the server did not start: {reason(start_failure(log))}", running.tail(20))


def _start(spec: Spec, tools: toolchain.Toolchain, ports: tuple[int, int, int], identity: str) -> Embedded:
    directory, lock = _directory()
    repository = spec.repository
    if re.search(r"[^\w./+,:=@%-]", str(repository)):
        # The server passes the path to a shell without quotes.
        repository = directory / "repository"
        repository.symlink_to(spec.repository)
    assemble(directory / "backends", tools, directory)
    command = [str(tools.tritonserver), f"--backend-directory={directory / 'backends'}", f"--id={identity}"]
    command += arguments(spec, repository, LOOPBACK, ports)
    if any(option.startswith("--cache-config") for option in spec.options):
        command.append(f"--cache-directory={tools.backends.parent / 'caches'}")
    env = {**_MALLOC, **os.environ, **spec.env}
    env["LD_LIBRARY_PATH"] = _join(str(tools.server_libs), env.get("LD_LIBRARY_PATH", ""))
    if spec.profile is not None:
        spec.profile.mkdir(parents=True, exist_ok=True)
        env["ACCELKIT_PROFILE_DIR"] = str(spec.profile)
    job = {"command": command, "log": str(directory / "log.txt"), "directory": str(directory), "starter": os.getpid()}
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(_SUPERVISOR), json.dumps(job)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env=env, bufsize=0, start_new_session=True, pass_fds=(lock,), cwd="/",
    )  # fmt: skip
    os.close(lock)
    return Embedded(process, directory, command, ports)


def assemble(target: Path, tools: toolchain.Toolchain, directory: Path) -> None:
    """Lay out the backend directory: the Python backend, and each stand-in under its official name.

    Every one gets a launcher under the stub's name, so that a backend may run in an interpreter of its own.
    """
    interpreter = _interpreter(directory / "python", tools.libpython)
    names = ["python", *sorted(entry.parent.name for entry in BACKENDS.glob("*/model.py"))]
    for name in names:
        backend = target / name
        backend.mkdir(parents=True)
        # The core refuses a library that a link leads out of its directory.
        shutil.copyfile(tools.backends / "python/libtriton_python.so", backend / "libtriton_python.so")
        (backend / _UTILS).symlink_to(tools.backends / "python" / _UTILS)
        if name != "python":
            (backend / "model.py").symlink_to(BACKENDS / name / "model.py")
        launcher = backend / _STUB
        launcher.write_text(_launcher(interpreter, tools.stubs / _STUB, tools.server_libs, directory / "regions"))
        launcher.chmod(0o755)


def _interpreter(home: Path, libpython: Path) -> Path:
    """A virtual environment that equals the running interpreter's; stubs ignore PYTHONPATH but find the first python3 in PATH."""
    packages = home / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    packages.mkdir(parents=True)
    (home / "bin").mkdir()
    (home / "bin/python3").symlink_to(sys.executable)
    (home / "libpython").mkdir()
    (home / "libpython" / re.sub(r"(\.so\.\d+)\..*", r"\1.0", libpython.name)).symlink_to(libpython)
    base = Path(getattr(sys, "_base_executable", sys.executable)).parent
    (home / "pyvenv.cfg").write_text(f"home = {base}\ninclude-system-site-packages = false\n")
    sites = [*site.getsitepackages(), *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])]
    lines = [f"import site; site.addsitedir({entry!r})" for entry in sites]
    (packages / "accelkit.pth").write_text("\n".join([str(BACKENDS.parent.parent), *lines]) + "\n")
    return home


def _launcher(interpreter: Path, stub: Path, libraries: Path, regions: Path) -> str:
    """Shell script that notes the stub's shared-memory region, lets it find its interpreter, and becomes it."""
    interpreter, stub, libraries, regions = (shlex.quote(str(path)) for path in (interpreter, stub, libraries, regions))
    return f"""#!/bin/sh
[ -n "$2" ] && echo "$2" >> {regions}
unset PYTHONHOME
export PATH={interpreter}/bin:"$PATH" LD_LIBRARY_PATH={interpreter}/libpython:{libraries}:"$LD_LIBRARY_PATH"
exec {stub} "$@"
"""


def _join(*parts: str) -> str:
    return os.pathsep.join(dict.fromkeys(part for part in parts if part))


def _directory() -> tuple[Path, int]:
    """A new directory for one server and the lock that says that somebody uses it; directories of dead ones go."""
    root = Path(tempfile.gettempdir())
    if re.search(r"[^\w./+,:=@%-]", str(root)):
        root = Path("/tmp")
    for old in root.glob(f"{_PREFIX}*"):
        try:
            if time.time() - old.stat().st_mtime > 60 and old.stat().st_uid == os.getuid():
                with (old / "lock").open() as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    discard(old)
        except OSError:
            continue
    directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
    held = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(held, fcntl.LOCK_EX)
    return directory, held
