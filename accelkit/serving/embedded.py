"""The pinned tritonserver as a child of this process, with the kit's stand-in backends."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import site
import sys
from collections.abc import Mapping
from pathlib import Path

from accelkit import environment, interpreters, toolchain
from accelkit.interpreters import Interpreter
from accelkit.serving.launch import LOOPBACK, Spec, arguments
from accelkit.serving.supervised import GRACE_S, Job, Ports, Supervised, plain
from accelkit.serving.supervised import launch as supervise

BACKENDS = Path(__file__).resolve().parent.parent / "backends"
ABSENT = Path(__file__).with_name("absent.py")
PROFILED_S = 120
"""Seconds that instances have at their end to write what ran: frameworks trace one more execution for it."""
_STUB, _UTILS = "triton_python_backend_stub", "triton_python_backend_utils.py"
# Freed buffers stay with the process, as with the allocator of NVIDIA's image: no page faults for each request.
_MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_TOP_PAD_": str(1 << 24),
}


def launch(spec: Spec) -> Supervised:
    """Start tritonserver and wait until it answers; ServerError with its own reason when it ends before."""
    environment.check({**os.environ, **spec.env})
    tools = toolchain.ensure()

    def prepare(directory: Path, ports: Ports, identity: str) -> Job:
        repository = spec.repository
        if not plain(repository):
            repository = directory / "repository"
            repository.symlink_to(spec.repository)
        assemble(directory / "backends", tools, directory, spec.interpreters)
        command = [str(tools.tritonserver), f"--backend-directory={directory / 'backends'}", f"--id={identity}"]
        command += arguments(spec, repository, LOOPBACK, ports)
        if any(option.startswith("--cache-config") for option in spec.options):
            command.append(f"--cache-directory={tools.backends.parent / 'caches'}")
        env = {**_MALLOC, **os.environ, **spec.env}
        env["LD_LIBRARY_PATH"] = f"{tools.server_libs}:{env.get('LD_LIBRARY_PATH', '')}".rstrip(":")
        if spec.profile is not None:
            spec.profile.mkdir(parents=True, exist_ok=True)
            env["ACCELKIT_PROFILE_DIR"] = str(spec.profile)
            command.insert(1, f"--exit-timeout-secs={PROFILED_S}")  # before an option that says otherwise
        return Job(command, env, grace=PROFILED_S if spec.profile else GRACE_S)

    return supervise(spec, prepare)


def assemble(target: Path, tools: toolchain.Toolchain, directory: Path, called: Mapping[str, str]) -> None:
    """Lay out the backend directory: the Python backend, and each stand-in under its official name.

    Every one gets a launcher under the stub's name, so that a backend may run in an interpreter of its own; `called`
    holds the name of that interpreter where it is not the backend's.
    """
    running = _running(tools.libpython)
    shared = _home(directory / "python", running)
    for name in ["python", *sorted(entry.parent.name for entry in BACKENDS.glob("*/model.py"))]:
        backend = target / name
        backend.mkdir(parents=True)
        # The core refuses a library that a link leads out of its directory.
        shutil.copyfile(tools.backends / "python/libtriton_python.so", backend / "libtriton_python.so")
        (backend / _UTILS).symlink_to(tools.backends / "python" / _UTILS)
        if name != "python":
            (backend / "model.py").symlink_to(BACKENDS / name / "model.py")
        named = called.get(name, name)
        own = interpreters.foreign(named)
        home = _home(directory / f"python-{name}", own) if own else shared
        stub = tools.stubs.parent / (own or running).minor / _STUB
        libraries = [str(home / "libpython"), *interpreters.libraries(named), str(tools.server_libs)]
        launcher = backend / _STUB
        launcher.write_text(_launcher(home, stub, libraries, directory / "regions"))
        launcher.chmod(0o755)


def _running(libpython: Path) -> Interpreter:
    """The interpreter of this process."""
    sites = [*site.getsitepackages(), *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])]
    base = Path(getattr(sys, "_base_executable", sys.executable)).parent
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    return Interpreter(Path(sys.executable), base, minor, libpython, tuple(sites))


def _home(home: Path, python: Interpreter) -> Path:
    """A virtual environment that equals an interpreter; stubs ignore PYTHONPATH but find the first python3 in PATH."""
    packages = home / "lib" / f"python{python.minor}" / "site-packages"
    packages.mkdir(parents=True)
    (home / "bin").mkdir()
    (home / "bin/python3").symlink_to(python.executable)
    (home / "libpython").mkdir()
    (home / "libpython" / re.sub(r"(\.so\.\d+)\..*", r"\1.0", python.libpython.name)).symlink_to(python.libpython)
    (home / "pyvenv.cfg").write_text(f"home = {python.base}\ninclude-system-site-packages = false\n")
    lines = [str(BACKENDS.parent.parent), *(f"import site; site.addsitedir({entry!r})" for entry in python.sites)]
    (packages / "accelkit.pth").write_text("\n".join(lines) + "\n")
    return home


def _launcher(interpreter: Path, stub: Path, libraries: list[str], regions: Path) -> str:
    """Shell script that notes the stub's shared-memory region, lets it find its interpreter, and becomes it.

    Its first argument is the model's file.
    """
    python, target, noted, absent = (shlex.quote(str(path)) for path in (interpreter, stub, regions, ABSENT))
    libs = shlex.quote(":".join(libraries))
    return f"""#!/bin/sh
[ -n "$2" ] && echo "$2" >> {noted}
[ -e "$1" ] || {{ export ABSENT_MODEL_FILE="$1"; shift; set -- {absent} "$@"; }}
unset PYTHONHOME
export PATH={python}/bin:"$PATH" LD_LIBRARY_PATH={libs}:"$LD_LIBRARY_PATH"
exec {target} "$@"
"""
