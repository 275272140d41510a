"""The pinned tritonserver and perf_analyzer: fetched once into a cache, verified by hash, found again offline.

Both come out of published wheels. The server's wheel also carries the libraries that perf_analyzer wants under other
names, so that nothing has to be installed; a distribution's Python without a shared library gets it from its package.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelkit import fetch, machine, versions
from accelkit.errors import ToolchainError

CONTAINER = "use the container mode: `accelkit serve --mode container`, with Docker"
BORROWED = {"libb64": "so.0d", "libcudart": "so.12", "libssl": "so.3", "libcrypto": "so.3"}
TOOLS = {"pytriton/tritonserver/bin/tritonserver": "nvidia_pytriton.libs", "bin/perf_analyzer": "lib"}


@dataclass(frozen=True)
class Toolchain:
    """Paths of the tools; `server_libs` and `libpython.parent`, or `analyzer_libs`, belong into LD_LIBRARY_PATH.

    `backends` holds python/; `stubs` holds the Python backend's stub of this interpreter's minor version.
    """

    tritonserver: Path
    server_libs: Path
    backends: Path
    stubs: Path
    perf_analyzer: Path
    analyzer_libs: tuple[Path, ...]
    libpython: Path


def cache_dir() -> Path:
    """Return where the kit keeps what it fetches and builds: $ACCELKIT_CACHE, else `accelkit` in the user cache."""
    if own := os.environ.get("ACCELKIT_CACHE"):
        return Path(own).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().absolute() / "accelkit"


def unsupported(here: machine.Machine) -> str | None:
    """Return in one line why the embedded server cannot run on this machine and what to use instead, None if it can."""
    server, minors = versions.get("toolchain.server"), versions.get("python.minors")
    if here.os != "linux":
        return f"tritonserver is built for Linux only, this is {here.os}: {CONTAINER}"
    if here.arch not in server["sha256"]:
        return f"no wheel carries tritonserver for {here.arch}, only for {', '.join(server['sha256'])}: {CONTAINER}"
    if here.glibc is None:
        return f"tritonserver needs glibc {server['glibc']}, this system has another C library (musl?): {CONTAINER}"
    if _number(here.glibc) < _number(server["glibc"]):
        return f"tritonserver needs glibc {server['glibc']} or newer, this system has {here.glibc}: {CONTAINER}"
    if ".".join(here.python.split(".")[:2]) not in server["stubs"]:
        range_ = f"Python {minors[0]} to {minors[-1]}"
        return f"Triton {server['triton']} has no stub for Python {here.python}: use {range_}, or {CONTAINER}"
    return None


def analyzer(here: machine.Machine) -> dict[str, Any]:
    """Return the entry of versions.toml of the newest perf_analyzer that runs on this machine's glibc."""
    newest = versions.get("toolchain.analyzer")
    older = _number(here.glibc or "0") < _number(newest["glibc"])
    return versions.get("toolchain.analyzer_older") if older else newest


def state(here: machine.Machine) -> str:
    """Return `missing` or `unpacked`, every file's hash checked; fetches nothing. Raises ToolchainError if damaged."""
    tree = _plan(here)[2]
    if not os.path.exists(tree):
        return "missing"
    fetch.verify(tree, hashes=True)
    return "unpacked"


def ensure(progress: bool = True) -> Toolchain:
    """Return the toolchain of this machine, fetching and unpacking what is not yet in the cache.

    Raises ToolchainError: unsupported machine, failed fetch, damaged file, cache that cannot be written.
    """
    here = machine.probe()
    if reason := unsupported(here):
        raise ToolchainError(reason)
    *specs, tree = _plan(here)

    def make(new: Path) -> None:
        _unpack([fetch.wheel(spec, here.arch, cache_dir() / "wheels", progress) for spec in specs], new)
        _borrow_libraries(new)
        _try_out(new)

    fetch.build_once(tree, make)
    fetch.verify(tree)
    return Toolchain(
        tritonserver=tree / "pytriton/tritonserver/bin/tritonserver",
        server_libs=tree / "nvidia_pytriton.libs",
        backends=tree / "pytriton/tritonserver/backends",
        stubs=tree / "pytriton/tritonserver/python_backend_stubs" / _minor(),
        perf_analyzer=tree / "bin/perf_analyzer",
        analyzer_libs=(tree / "lib",),
        libpython=_libpython(tree.parent, progress),
    )


def repair(progress: bool = True) -> Toolchain:
    """Remove the unpacked tools and every damaged wheel from the cache, and return what `ensure` then fetches anew."""
    here = machine.probe()
    if unsupported(here) is None:
        *specs, tree = _plan(here)
        with fetch.locked(tree.parent), fetch.writing(tree.parent):
            for old in (tree, *tree.parent.glob("libpython*")):
                shutil.rmtree(old, ignore_errors=True)
            for spec in specs:
                fetch.discard_damaged(spec, here.arch, cache_dir() / "wheels")
    return ensure(progress)


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])


def _minor() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _plan(here: machine.Machine) -> tuple[dict, dict, Path]:
    """Return the server's and the analyzer's entries of versions.toml for this machine, and where both are unpacked."""
    server, load = versions.get("toolchain.server"), analyzer(here)
    hashes = server["sha256"][here.arch][:8], load["sha256"][here.arch][:8]
    return server, load, cache_dir() / "toolchain" / f"triton-{server['triton']}-{here.arch}-{'-'.join(hashes)}"


def _unpack(wheels: list[Path], new: Path) -> None:
    """Unpack what is needed of the wheels: the server with its libraries, and bin/perf_analyzer."""
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for entry in archive.infolist():
                if entry.filename.endswith("bin/perf_analyzer"):
                    entry.filename = "bin/perf_analyzer"
                elif not entry.filename.startswith(("nvidia_pytriton.libs/", "pytriton/tritonserver/")):
                    continue
                path = Path(archive.extract(entry, new))
                if path.is_file() and path.name in ("tritonserver", "perf_analyzer", "triton_python_backend_stub"):
                    path.chmod(0o755)


def _borrow_libraries(new: Path) -> None:
    """Link the libraries of perf_analyzer under their ordinary names to the copies that the server's wheel carries."""
    (new / "lib").mkdir()
    for stem, suffix in BORROWED.items():
        for library in (new / "nvidia_pytriton.libs").glob(f"{stem}-*.{suffix}*"):
            (new / "lib" / f"{stem}.{suffix}").symlink_to(Path("../nvidia_pytriton.libs") / library.name)


def _try_out(new: Path) -> None:
    """Start both tools once: the loader exits with 127 if a library of the system is missing or too old."""
    for tool, libs in TOOLS.items():
        env = {**os.environ, "LD_LIBRARY_PATH": str(new / libs)}
        done = subprocess.run([new / tool, "--help"], capture_output=True, text=True, check=False, env=env)
        if done.returncode == 127:
            words = (done.stderr.strip().splitlines() or ["it does not start"])[-1].rpartition("libraries: ")[2]
            raise ToolchainError(f"{Path(tool).name} does not run here: {words}; install that, or {CONTAINER}")


def _libpython(home: Path, progress: bool) -> Path:
    """Return libpython3.X.so.1.0 of this interpreter: its own, else out of the distribution's package."""
    name, package = f"libpython{_minor()}.so.1.0", f"libpython{_minor()}"
    libdir, multiarch = Path(sysconfig.get_config_var("LIBDIR") or "/usr/lib"), sysconfig.get_config_var("MULTIARCH")
    for path in (libdir / name, libdir / str(multiarch) / name, Path(sys.base_prefix) / "lib" / name):
        if path.exists():
            return path
    lacks = f"{sys.base_prefix}: this Python {_minor()} has no {name}, which Triton's Python backend needs"
    advice = f"use a Python built with --enable-shared, install {package}, or {CONTAINER}"
    if sys.base_prefix != "/usr" or not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise ToolchainError(f"{lacks}: {advice}")
    tree = home / f"{package}-{multiarch}"

    def make(new: Path) -> None:
        if progress:
            print(f"Fetching the distribution's {package} into {tree}", file=sys.stderr, flush=True)
        if words := fetch.package((package, f"{package}t64"), new):
            raise ToolchainError(f"{lacks}, and apt-get could not fetch {package}: {words}; {advice}")

    fetch.build_once(tree, make)
    fetch.verify(tree, hashes=True)
    found = next((path for path in tree.rglob(name) if path.is_file()), None)
    if not found:
        raise ToolchainError(f"{tree} holds no {name}: {advice}")
    return found
