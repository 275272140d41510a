"""The pinned tritonserver and perf_analyzer: fetched once into a cache, verified by hash, found again offline.

Both come out of published wheels. The server's wheel also carries the libraries that perf_analyzer wants under other
names, so that nothing has to be installed; a distribution's Python without a shared library gets it from its package.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from accelkit import machine, versions
from accelkit.errors import ToolchainError

CONTAINER = "use the container mode: `accelkit serve --mode container`, with Docker"
BORROWED = {
    "libb64": "libb64.so.0d",
    "libcudart": "libcudart.so.12",
    "libssl": "libssl.so.3",
    "libcrypto": "libcrypto.so.3",
}


@dataclass(frozen=True)
class Toolchain:
    """Paths of the unpacked tools; start them with `server_libs`, `libpython.parent` or `analyzer_libs` in LD_LIBRARY_PATH.

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
    server = versions.get("toolchain.server")
    if here.os != "linux":
        reason = f"tritonserver is built for Linux only, this is {here.os}"
    elif here.arch not in server["sha256"]:
        reason = f"no wheel carries tritonserver for {here.arch}, only for {' and '.join(server['sha256'])}"
    elif here.glibc is None:
        reason = f"tritonserver needs glibc {server['glibc']} or newer, this system has another C library (musl?)"
    elif _number(here.glibc) < _number(server["glibc"]):
        reason = f"tritonserver needs glibc {server['glibc']} or newer, this system has {here.glibc}"
    elif ".".join(here.python.split(".")[:2]) not in server["stubs"]:
        minors = versions.get("python.minors")
        reason = f"Triton {server['triton']} has no stub for Python {here.python}: use Python {minors[0]} to {minors[-1]}, or"
        return f"{reason} {CONTAINER}"
    else:
        return None
    return f"{reason}: {CONTAINER}"


def _plan(here: machine.Machine) -> tuple[dict, dict, Path]:
    """Return the server's and the analyzer's entries of versions.toml for this machine, and where both are unpacked."""
    server, analyzer = versions.get("toolchain.server"), versions.get("toolchain.analyzer")
    if _number(here.glibc or "0") < _number(analyzer["glibc"]):
        analyzer = versions.get("toolchain.analyzer_older")
    hashes = server["sha256"][here.arch][:8], analyzer["sha256"][here.arch][:8]
    return server, analyzer, cache_dir() / "toolchain" / f"triton-{server['triton']}-{here.arch}-{'-'.join(hashes)}"


def state(here: machine.Machine) -> str:
    """Return `missing` or `unpacked`, every file's hash checked; fetches nothing. Raises ToolchainError if damaged."""
    tree = _plan(here)[2]
    if not tree.exists():
        return "missing"
    _verify(tree, hashes=True)
    return "unpacked"


def ensure(progress: bool = True) -> Toolchain:
    """Return the toolchain of this machine, fetching and unpacking what is not yet in the cache.

    Raises ToolchainError: unsupported machine, failed fetch, damaged file, cache that cannot be written.
    """
    here = machine.probe()
    if reason := unsupported(here):
        raise ToolchainError(reason)
    server, analyzer, tree = _plan(here)
    home = tree.parent
    if not tree.exists():
        with _locked(home):
            if not tree.exists():
                wheels = [_wheel(spec, here.arch, progress) for spec in (server, analyzer)]
                with _building(tree) as new:
                    _unpack(wheels, new)
                    _borrow_libraries(new)
                    _try_out(new)
    _verify(tree)
    return Toolchain(
        tritonserver=tree / "pytriton/tritonserver/bin/tritonserver",
        server_libs=tree / "nvidia_pytriton.libs",
        backends=tree / "pytriton/tritonserver/backends",
        stubs=tree / "pytriton/tritonserver/python_backend_stubs" / _minor(),
        perf_analyzer=tree / "bin/perf_analyzer",
        analyzer_libs=(tree / "lib",),
        libpython=_libpython(home, progress),
    )


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])


def _minor() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


@contextmanager
def _writing(where: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ToolchainError(
            f"{error.filename or where}: {error.strerror or error}: the cache cannot be written;"
            " free space or set ACCELKIT_CACHE to a directory that can"
        ) from error


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    with _writing(home):
        home.mkdir(parents=True, exist_ok=True)
        lock = (home / "lock").open("a")
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in home.glob(".new-*"):  # of a process that was killed; whoever writes holds the lock
            shutil.rmtree(left, ignore_errors=True)
        yield


@contextmanager
def _building(target: Path) -> Iterator[Path]:
    """Give a directory beside `target` that becomes `target`, with a manifest, if all goes well, and else goes away."""
    with _writing(target):
        new = Path(tempfile.mkdtemp(prefix=".new-", dir=target.parent))
        try:
            new.chmod(0o755)
            yield new
            files = [path for path in sorted(new.rglob("*")) if path.is_file()]
            manifest = {str(path.relative_to(new)): [path.stat().st_size, _sha256(path)] for path in files}
            (new / "manifest.json").write_text(json.dumps(manifest, indent=1))
            os.replace(new, target)
        finally:
            shutil.rmtree(new, ignore_errors=True)


def _verify(tree: Path, hashes: bool = False) -> None:
    """Hold the files of an unpacked tree against its manifest: sizes, which is quick, and sha256 if asked."""
    damaged = "manifest.json"
    try:
        for damaged, (size, sha256) in json.loads((tree / damaged).read_text()).items():
            path = tree / damaged
            if path.stat().st_size != size or (hashes and _sha256(path) != sha256):
                break
        else:
            return
    except (OSError, ValueError, AttributeError):
        pass
    raise ToolchainError(f"{tree / damaged} is damaged or missing: delete the directory {tree} and run again")


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        digest = hashlib.sha256()
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _say(text: str, progress: bool) -> None:
    if progress:
        print(text, file=sys.stderr, flush=True)


def _run(command: list[str], progress: bool = False, env: dict[str, str] | None = None) -> str:
    """Run a command; return "" if it worked, else its last words. Its own progress bar goes to the terminal, if any."""
    out = 2 if progress and os.isatty(2) else subprocess.DEVNULL
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE, text=True, check=False, env=env
        )
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("ERROR", "E:"))] or lines or [f"exit code {done.returncode}"]
    return "" if done.returncode == 0 else errors[-1]


def _wheel(spec: dict, arch: str, progress: bool) -> Path:
    """Return the wheel of one entry of versions.toml out of the cache, fetched by pip with the user's own settings."""
    folder, wanted = cache_dir() / "wheels", spec["sha256"][arch]
    pattern = f"{spec['package'].replace('-', '_')}-{spec['version']}-*_{arch}.whl"
    for found in folder.glob(pattern):
        if _sha256(found) != wanted:
            raise ToolchainError(f"{found} is damaged (its sha256 is not the pinned one): delete it and run again")
        return found
    if not importlib.util.find_spec("pip"):
        raise ToolchainError(
            f"{sys.executable} has no pip to fetch {spec['package']} with: `python -m ensurepip`, run again"
        )
    _say(f"Fetching {spec['package']} {spec['version']} ({spec['size_mb']} MB) into {folder}", progress)
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=cache_dir() / "toolchain") as new:
            name = f"{spec['package']}=={spec['version']}"
            pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-cache-dir"]
            if words := _run([*pip, "--dest", new, name], progress):
                raise ToolchainError(
                    f"pip could not fetch {name}: {words}; check the network or pip's index, run again"
                )
            fetched = next(Path(new).glob(pattern), None)
            if not fetched or _sha256(fetched) != wanted:
                raise ToolchainError(f"pip fetched another {name} than the pinned one: check pip's index, run again")
            os.replace(fetched, folder / fetched.name)
            return folder / fetched.name


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
    for stem, name in BORROWED.items():
        for library in (new / "nvidia_pytriton.libs").glob(f"{stem}-*"):
            (new / "lib" / name).symlink_to(Path("../nvidia_pytriton.libs") / library.name)


def _try_out(new: Path) -> None:
    """Start both tools once: the loader exits with 127 if a library of the system is missing or too old."""
    for tool, libs in (
        ("pytriton/tritonserver/bin/tritonserver", "nvidia_pytriton.libs"),
        ("bin/perf_analyzer", "lib"),
    ):
        env = {**os.environ, "LD_LIBRARY_PATH": str(new / libs)}
        done = subprocess.run([new / tool, "--help"], capture_output=True, text=True, check=False, env=env)
        if done.returncode == 127:
            words = (done.stderr.strip().splitlines() or ["it does not start"])[-1].partition("libraries: ")
            raise ToolchainError(
                f"{Path(tool).name} does not run here: {words[2] or words[0]}; install it or {CONTAINER}"
            )


def _libpython(home: Path, progress: bool) -> Path:
    """Return libpython3.X.so.1.0 of this interpreter: its own, else out of the distribution's package."""
    name = f"libpython{_minor()}.so.1.0"
    own = Path(sysconfig.get_config_var("LIBDIR") or "/usr/lib") / name
    multiarch = own.parent / (sysconfig.get_config_var("MULTIARCH") or "") / name
    for path in (own, multiarch, Path(sys.base_prefix) / "lib" / name):
        if path.exists():
            return path
    package = f"libpython{_minor()}"
    advice = f"use a Python built with --enable-shared, install {package}, or {CONTAINER}"
    lacks = f"{sys.base_prefix}: this Python {_minor()} has no {name}, which Triton's Python backend needs"
    if sys.base_prefix != "/usr" or not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise ToolchainError(f"{lacks}: {advice}")
    tree = home / f"{package}-{sysconfig.get_config_var('MULTIARCH')}"
    if not tree.exists():
        with _locked(home):
            if not tree.exists():
                _say(f"Fetching {package} from the distribution (this Python has no shared library)", progress)
                with _building(tree) as new:
                    if words := _fetch_package((package, f"{package}t64"), new):
                        raise ToolchainError(f"{lacks}, and apt-get could not fetch {package}: {words}; {advice}")
    _verify(tree, hashes=True)
    found = next((p for p in tree.rglob(name) if p.is_file()), None)
    if not found:
        raise ToolchainError(f"{tree} holds no {name}: {advice}")
    return found


def _fetch_package(names: tuple[str, ...], new: Path) -> str:
    """Unpack a distribution's package into `new`, without root; return "" or why not.

    The machine's package lists serve if it has them; else they are fetched into a private directory. apt verifies signatures.
    """
    with tempfile.TemporaryDirectory(prefix=".new-", dir=new.parent) as work:
        state, cache = Path(work, "state"), Path(work, "cache")
        (state / "lists/partial").mkdir(parents=True)
        (cache / "archives/partial").mkdir(parents=True)
        plain = ["apt-get", "-q", f"-oDir::Cache={cache}", "-oAPT::Sandbox::User=root"]
        own = [f"-oDir::State={state}", f"-oDir::State::lists={state}/lists"]
        words = ""
        for apt, update in ((plain, False), ([*plain, *own, "-oDir::State::status=/var/lib/dpkg/status"], True)):
            if update and (words := _run([*apt, "update"])):
                break
            for name in names:
                words = _run(["env", "-C", work, *apt, "download", name])
                if package := next(Path(work).glob("*.deb"), None):
                    return _run(["dpkg-deb", "-x", str(package), str(new)])
        return words
