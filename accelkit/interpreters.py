"""The interpreter of a backend whose packages stop at another Python than the kit's: $ACCELKIT_PYTHON_<BACKEND> names it.

$ACCELKIT_LIBS_<BACKEND> holds directories of libraries for it. Both may name a path instead, such as ONNXRUNTIME_TENSORRT: a
server runs each backend in one interpreter, so `compare` serves such a path by a server of its own. No configuration names
either: what runs a backend is a matter of the machine, not of the model.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from accelkit.errors import ConfigError, ModelError
from accelkit.program import PREFIX

if TYPE_CHECKING:
    from accelkit.machine import Machine
    from accelkit.paths import Path as Recipe

ROOT = Path(__file__).resolve().parent.parent
_ASK = """
import json, os, sys, sysconfig
from importlib import metadata
name = "libpython%d.%d.so.1.0" % sys.version_info[:2]
get, base = sysconfig.get_config_var, sys.base_prefix
made_from = getattr(sys, "_base_executable", "") or sys.executable
folders = [get("LIBDIR") or "", os.path.join(get("LIBDIR") or "", get("MULTIARCH") or ""), os.path.join(base, "lib")]
found = {}
for package in sys.argv[1:]:
    try:
        found[package] = metadata.version(package)
    except metadata.PackageNotFoundError:
        pass
print(json.dumps({
    "executable": sys.executable,
    "base": os.path.dirname(os.path.realpath(made_from) if made_from == sys.executable else made_from),
    "minor": "%d.%d" % sys.version_info[:2],
    "libpython": next((path for path in (os.path.join(folder, name) for folder in folders) if os.path.exists(path)), ""),
    "sites": [path for path in sys.path if path and (os.path.basename(path) in ("site-packages", "dist-packages")
              or path in os.environ.get("PYTHONPATH", "").split(os.pathsep))],
    "packages": found,
}))
"""
# A script that starts an interpreter may set PYTHONPATH itself, so the kit comes along in the command.
_RUN = """
import runpy, sys
sys.path.insert(0, sys.argv.pop(1))
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True)
class Interpreter:
    """A Python: its executable, the folder of the one that it was made from, minor version, library and site-packages."""

    executable: Path
    base: Path
    minor: str
    libpython: Path
    sites: tuple[str, ...]


def variable(backend: str, of: str = "PYTHON") -> str:
    """Return the name of the environment variable of a backend, such as ACCELKIT_PYTHON_TENSORRT."""
    return f"ACCELKIT_{of}_" + re.sub(r"\W", "_", backend).upper()


def named(backend: str) -> str | None:
    """Return the executable that the environment names for a backend; None where the kit's own interpreter runs it."""
    return os.environ.get(variable(backend)) or None


def name(path: str, backend: str) -> str:
    """Return the name that the interpreter of a path is looked up by: the path's, where it has its own, or the backend's."""
    return path if any(os.environ.get(variable(path, of)) for of in ("PYTHON", "LIBS")) else backend


def own(path: Recipe) -> dict[str, str]:
    """Return the interpreter that a path does not share, by its backend, as Server takes it; empty where it shares."""
    found = name(path.NAME, path.BACKEND)
    return {} if found == path.BACKEND else {path.BACKEND: found}


def foreign(backend: str) -> Interpreter | None:
    """Return the interpreter that the environment names for a backend, or None.

    ConfigError for a path that is no Python, or one that Triton's Python backend cannot run.
    """
    from accelkit import versions

    executable, where = named(backend), variable(backend)
    if executable is None:
        return None
    facts, stubs = _asked(where, executable), versions.get("toolchain.server.stubs")
    if facts["minor"] not in stubs:
        raise ConfigError(
            f"{where}={executable} is Python {facts['minor']}, for which Triton has no stub: name one of {stubs[0]} to "
            f"{stubs[-1]}"
        )
    if not facts["libpython"]:
        raise ConfigError(
            f"{where}={executable} has no libpython{facts['minor']}.so.1.0, which Triton's Python backend needs: name a "
            "Python built with --enable-shared"
        )
    home, library = Path(facts["base"]), Path(facts["libpython"])
    return Interpreter(Path(facts["executable"]), home, facts["minor"], library, tuple(facts["sites"]))


def python(backend: str) -> Path:
    """Return the executable that runs a backend; ConfigError as foreign raises it."""
    found = foreign(backend)
    return found.executable if found else Path(sys.executable)


def libraries(backend: str) -> list[str]:
    """Return the directories of libraries that come first for a backend; ConfigError for one that is none."""
    where = variable(backend, "LIBS")
    found = [folder for folder in os.environ.get(where, "").split(os.pathsep) if folder]
    for folder in found:
        if not os.path.isdir(folder):
            raise ConfigError(f"{where} names {folder}, which is no directory: correct it or unset the variable")
    return found


def packages(backend: str) -> dict[str, str]:
    """Return the versions of the packages that the kit knows, as the interpreter of a backend sees them."""
    from accelkit import machine

    executable = named(backend)
    return machine.runtimes() if executable is None else dict(_asked(variable(backend), executable)["packages"])


def has(path: str, backend: str, machine: Machine) -> Mapping[str, str]:
    """Return the versions of the packages that run a path on a machine: in the interpreter that is its own, or the kit's."""
    own = name(path, backend)
    return packages(own) if named(own) else machine.runtimes


def launcher(backend: str) -> tuple[str, dict[str, str]]:
    """Return the executable that a backend's interpreter is started by, and its environment; ConfigError as foreign does."""
    executable = python(backend)
    env = _environment() if named(backend) else dict(os.environ)
    env["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, (*libraries(backend), env.get("LD_LIBRARY_PATH"))))
    return named(backend) or str(executable), env  # a script that starts it may set what it needs


def run(backend: str, module: str, arguments: list[str]) -> str:
    """Run `python -m module arguments` in the interpreter of a backend and return what it wrote to standard output.

    ModelError with the last line of its standard error when it fails.
    """
    executable, env = launcher(backend)
    command = [executable, "-c", _RUN, str(ROOT), module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env, stdin=subprocess.DEVNULL)
    if code := done.returncode:
        said = ([line.strip() for line in done.stderr.splitlines() if line.strip()] or ["it said nothing"])[-1]
        how = f"ended with code {code}" if code > 0 else f"was ended by signal {-code} ({signal.strsignal(-code)})"
        ended = "" if code == ModelError.exit_code else f"{module} {how}: "
        raise ModelError(ended + said.removeprefix(PREFIX))
    return done.stdout


def _environment() -> dict[str, str]:
    """This process's environment without what leads another Python to the packages of this one."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "PYTHONPATH")}


def _asked(where: str, executable: str) -> dict:
    from accelkit import machine, versions

    known = sorted({*versions.get("packages"), *versions.get("extras"), *machine.RUNTIMES})
    return _ask(where, executable, tuple(known))


@lru_cache
def _ask(where: str, executable: str, names: tuple[str, ...]) -> dict:
    """What an executable says of itself, asked once a process; a script may set its environment before it starts one."""
    try:
        done = subprocess.run(
            [executable, "-c", _ASK, *names], capture_output=True, text=True, check=False, env=_environment(),
            stdin=subprocess.DEVNULL, timeout=60,
        )  # fmt: skip
        return dict(json.loads(done.stdout))
    except (OSError, ValueError, TypeError, subprocess.TimeoutExpired):
        raise ConfigError(
            f"{where}={executable} is no Python that runs: name its executable or unset the variable"
        ) from None
