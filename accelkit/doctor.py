"""Checks of this machine, each with one line that says how to put it right; the output is the bug report."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from accelkit import environment, interpreters, paths, toolchain, versions
from accelkit.errors import ConfigError, ToolchainError
from accelkit.machine import Machine, int8

ROOM_GB = 2.0  # toolchain, models and a comparison
MARKS = {"ok": "ok     ", "warn": "warn   ", "missing": "MISSING"}
GAINS = {
    "matrix": "INT8 can bring the most: matrix instructions for it",
    "dot": "INT8 pays: one instruction for four products",
    None: "INT8 gains little without VNNI, and may lose",
}


@dataclass(frozen=True)
class Check:
    """One thing looked at: state is ok, warn (works, with less) or missing (the kit cannot run); `fix` unless ok."""

    name: str
    state: str
    detail: str
    fix: str = ""


def checks(machine: Machine, root: Path = Path("/")) -> list[Check]:
    """Return every check of a machine in reading order; `root` is where dev and sys are."""
    memory = machine.memory_gb
    return [
        _python(machine),
        *_toolchain(machine),
        _check("cores", machine.usable_cores >= 2, _cores(machine), "give this process 2 CPUs or more", "warn"),
        _check("memory", memory >= 4, f"{memory:.1f} GB", "give it 4 GB or more, or stay with variant small", "warn"),
        _isa(machine),
        _gpu(machine, root),
        _packages(machine),
        *_interpreters(),
        *_environment(),
        _docker(machine),
        _disk(toolchain.cache_dir()),
        _loopback(),
        _shared_memory(root / "dev/shm"),
    ]


def text(machine: Machine, found: list[Check]) -> str:
    """Return the machine and the checks as lines for a terminal or a bug report."""
    width = max(len(check.name) for check in found)
    lines = [f"accelkit {_own_version()}", machine.line(), ""]
    for check in found:
        lines.append(f"{MARKS[check.state]}  {check.name:<{width}}  {check.detail}")
        if check.fix:
            lines.append(f"{'':{len(MARKS['ok']) + width + 2}}  fix: {check.fix}")
    packages = ", ".join(f"{name} {version}" for name, version in machine.runtimes.items())
    return "\n".join([*lines, "", f"packages: {packages or 'none'}"])


def _own_version() -> str:
    try:
        return metadata.version("accelkit")
    except metadata.PackageNotFoundError:
        return "(not installed)"


def _check(name: str, good: bool, detail: str, fix: str, otherwise: str) -> Check:
    return Check(name, "ok", detail) if good else Check(name, otherwise, detail, fix)


def _python(machine: Machine) -> Check:
    minors = versions.get("python.minors")
    good = ".".join(machine.python.split(".")[:2]) in minors
    fix = f"make a virtual environment with Python {minors[0]} to {minors[-1]}: `make setup PYTHON=python{minors[1]}`"
    return _check("python", good, machine.python, fix, "warn")


def _toolchain(machine: Machine) -> list[Check]:
    """Return two checks: whether the embedded server can run here, and whether it is fetched and undamaged."""
    detail = f"{machine.os} {machine.arch}, glibc {machine.glibc or 'missing'}"
    if reason := toolchain.unsupported(machine):
        state = "warn" if machine.docker else "missing"
        return [Check("system", state, detail, reason), Check("toolchain", "warn", "none for this system", reason)]
    system, repair = Check("system", "ok", detail), "`accelkit doctor --repair` (needs a network)"
    tools = f"Triton {versions.get('toolchain.server.triton')} and perf_analyzer"
    try:
        if toolchain.state(machine) == "missing":
            return [system, Check("toolchain", "warn", f"{tools} not fetched yet", repair)]
    except ToolchainError as error:
        return [system, Check("toolchain", "missing", str(error), repair)]
    return [system, Check("toolchain", "ok", f"{tools} in {toolchain.cache_dir()}, every hash right")]


def _cores(machine: Machine) -> str:
    nodes = f"{machine.numa_nodes} NUMA node{'s' if machine.numa_nodes > 1 else ''}"
    return f"{machine.usable_cores} usable CPUs, {machine.physical_cores} physical cores, {nodes}"


def _isa(machine: Machine) -> Check:
    kind = int8(machine.usable_isa())
    detail = f"{machine.best_isa()}: {GAINS[kind]} ({' '.join(machine.isa) or 'no flags readable'})"
    return _check("isa", kind is not None, detail, "expect INT8 gains only on a CPU with VNNI or AMX", "warn")


def _gpu(machine: Machine, root: Path) -> Check:
    if machine.gpus:
        gpus = (f"{gpu.name}, {gpu.memory_gb:.0f} GB, compute {gpu.compute_capability}" for gpu in machine.gpus)
        return Check("gpu", "ok", f"{'; '.join(gpus)}; driver {machine.gpus[0].driver}")
    vendors = (path.read_text().strip() for path in (root / "sys/bus/pci/devices").glob("*/vendor"))
    if "0x10de" in vendors:
        fix = "install NVIDIA's driver until `nvidia-smi` lists the GPU; in a container, start it with `--gpus all`"
        return Check("gpu", "warn", "an NVIDIA device is there, but no driver answers", fix)
    return Check("gpu", "warn", "no NVIDIA GPU", "none needed: the kit's lessons run on a CPU")


def _packages(machine: Machine) -> Check:
    pins = versions.get("packages")
    here = machine.runtimes
    wrong = [f"{name} {here[name]} (tested: {pin})" for name, pin in pins.items() if here.get(name, pin) != pin]
    absent = [
        name for name in ("onnx", "onnxruntime", "tritonclient", "papermill") if not {name, f"{name}-gpu"} & set(here)
    ]
    fix = "`make setup`, or pip install -c with the file of constraints/ for your Python"
    if absent:
        return Check("packages", "missing", f"not installed: {', '.join(absent)}", fix)
    return _check("packages", not wrong, ", ".join(wrong) or "as tested", fix, "warn")


def _interpreters() -> list[Check]:
    """Return one check for each backend or path to which the environment gives an interpreter of its own."""
    found = []
    backends = [path.parent.name for path in (interpreters.ROOT / "accelkit/backends").glob("*/model.py")]
    for name in sorted({*backends, *paths.names()}):
        if interpreters.named(name) is None:
            continue
        try:
            own, libraries = interpreters.foreign(name), interpreters.libraries(name)
        except ConfigError as error:
            found.append(Check("interpreter", "missing", str(error), f"correct {interpreters.variable(name)}"))
            continue
        has = ", ".join(f"{package} {version}" for package, version in interpreters.packages(name).items())
        more = f"; libraries of {', '.join(libraries)}" if libraries else ""
        minor = own.minor if own else ""
        found.append(
            Check(
                "interpreter",
                "ok",
                f"{name} runs in {interpreters.named(name)}, Python {minor}, with {has or 'no package'}{more}",
            )
        )
    return found


def _environment() -> list[Check]:
    """Return one check for each variable that looks like the kit's and has no effect."""
    return [
        Check("environment", "warn", f"{name} has no effect", f"unset it; did you mean {near}?" if near else "unset it")
        for name, near in environment.unknown().items()
    ]


def _docker(machine: Machine) -> Check:
    detail = machine.docker or "no docker client"
    fix = "only for the container mode: install Docker, start its engine, let your user reach it"
    return _check("docker", bool(machine.docker) and "none" not in detail, detail, fix, "warn")


def _disk(folder: Path) -> Check:
    parent = next(path for path in (folder, *folder.parents) if os.path.isdir(path))
    free = shutil.disk_usage(parent).free / 2**30
    try:
        if os.path.exists(folder) and not os.path.isdir(folder):
            raise NotADirectoryError
        tempfile.TemporaryDirectory(dir=parent).cleanup()
    except OSError:
        fix = "set ACCELKIT_CACHE to a directory that you may write to"
        return Check("cache", "missing", f"{folder} cannot be written", fix)
    fix = f"free {ROOM_GB:.0f} GB, or set ACCELKIT_CACHE to a larger disk"
    return _check("cache", free >= ROOM_GB, f"{free:.1f} GB free at {folder}", fix, "warn")


def _loopback() -> Check:
    try:
        with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname(), 2):
            return Check("loopback", "ok", "a port of 127.0.0.1 can be opened and reached")
    except OSError as error:
        fix = "bring the loopback device up (`ip link set lo up`), or let the sandbox use it"
        return Check("loopback", "missing", f"127.0.0.1: {error.strerror or error}", fix)


def _shared_memory(folder: Path) -> Check:
    if not folder.is_dir():
        fix = "mount a tmpfs there; Triton's Python backend needs it"
        return Check("shm", "missing", f"{folder} does not exist", fix)
    usage = shutil.disk_usage(folder)
    free, detail = usage.free >> 20, f"{usage.free >> 20} of {usage.total >> 20} MB free in {folder}"
    fix = "more room: `docker run --shm-size 1g`, or remount it larger; delete what dead programs left there"
    return _check("shm", free >= 256, detail, fix, "warn" if free > 16 else "missing")
