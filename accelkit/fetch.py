"""Put things into the cache all or nothing: locked, verified, left as they were when anything goes wrong."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from accelkit.errors import ToolchainError

AGAIN = "check the network or pip's index, then run again"


@contextmanager
def writing(where: Path) -> Iterator[None]:
    """Turn an OSError (no permission, disk full) into a ToolchainError that says where and what to do."""
    try:
        yield
    except OSError as error:
        advice = "the cache cannot be written; free space there or set ACCELKIT_CACHE to another directory"
        raise ToolchainError(f"{error.filename or where}: {error.strerror or error}: {advice}") from error


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """Hold the lock of a directory, made if needed; another process waits."""
    with writing(home):
        home.mkdir(parents=True, exist_ok=True)
        lock = (home / "lock").open("a")
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _sweep(home)
        yield


def _sweep(folder: Path) -> None:
    """Remove what a killed process left half done: whoever writes holds the lock."""
    for left in folder.glob(".new-*"):
        shutil.rmtree(left, ignore_errors=True)


def build_once(target: Path, make: Callable[[Path], None]) -> None:
    """Unless `target` is there, let `make` fill a directory beside it that becomes it, with a manifest, if all goes well."""
    if os.path.exists(target):
        return
    with locked(target.parent), writing(target):
        if os.path.exists(target):  # another process made it while this one waited for the lock
            return
        new = Path(tempfile.mkdtemp(prefix=".new-", dir=target.parent))
        try:
            new.chmod(0o755)
            make(new)
            files = [path for path in sorted(new.rglob("*")) if path.is_file()]
            manifest = {str(path.relative_to(new)): [path.stat().st_size, sha256(path)] for path in files}
            (new / "manifest.json").write_text(json.dumps(manifest, indent=1))
            os.replace(new, target)
        finally:
            shutil.rmtree(new, ignore_errors=True)


def verify(tree: Path, hashes: bool = False) -> None:
    """Hold the files of a built directory against its manifest: sizes, which is quick, and sha256 if asked."""
    file = tree / "manifest.json"
    try:
        for name, (size, digest) in json.loads(file.read_text()).items():
            file = tree / name
            if file.stat().st_size != size or (hashes and sha256(file) != digest):
                raise ValueError("not what was built")
    except (OSError, ValueError, TypeError, AttributeError):
        advice = f"run `accelkit doctor --repair`, or delete {tree}"
        raise ToolchainError(f"{file} is damaged or missing: {advice}") from None


def sha256(path: Path) -> str:
    """Return the sha256 of a file in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _run(command: list[str], progress: bool = False) -> str:
    """Run a command; return "" if it worked, else its last words; a progress bar goes to the terminal, if any."""
    out = 2 if progress and os.isatty(2) else subprocess.DEVNULL
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE, text=True, check=False)
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("ERROR", "E:"))] or lines or [f"exit code {done.returncode}"]
    return "" if done.returncode == 0 else errors[-1]


def wheel(spec: dict, arch: str, folder: Path, progress: bool) -> Path:
    """Return the wheel of an entry of versions.toml in `folder`, fetched by pip as the user has set it up; hold a lock.

    Raises ToolchainError if it is damaged, cannot be fetched, or is not the pinned one.
    """
    wanted, name = spec["sha256"][arch], f"{spec['package']}=={spec['version']}"
    pattern = _pattern(spec, arch)
    for found in folder.glob(pattern):
        if sha256(found) != wanted:
            advice = "run `accelkit doctor --repair`, or delete it"
            raise ToolchainError(f"{found} is damaged (not the pinned sha256): {advice}")
        return found
    if not importlib.util.find_spec("pip"):
        raise ToolchainError(f"{sys.executable} has no pip to fetch {name}: `python -m ensurepip`, then run again")
    if progress:
        print(f"Fetching {name} ({spec['size_mb']} MB) into {folder}", file=sys.stderr, flush=True)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=folder) as new:
            pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-cache-dir"]
            if words := _run([*pip, "--dest", new, name], progress):
                raise ToolchainError(f"pip could not fetch {name}: {words.removeprefix('ERROR: ')}; {AGAIN}")
            fetched = next(Path(new).glob(pattern), None)
            if not fetched or sha256(fetched) != wanted:
                raise ToolchainError(f"pip fetched another {name} than the pinned one; {AGAIN}")
            os.replace(fetched, folder / fetched.name)
            return folder / fetched.name


def _pattern(spec: dict, arch: str) -> str:
    return f"{spec['package'].replace('-', '_')}-{spec['version']}-*_{arch}.whl"


def discard_damaged(spec: dict, arch: str, folder: Path) -> None:
    """Delete the wheels of an entry of versions.toml that are not the pinned ones; hold a lock."""
    for found in folder.glob(_pattern(spec, arch)):
        if sha256(found) != spec["sha256"][arch]:
            found.unlink()


def package(names: tuple[str, ...], new: Path) -> str:
    """Unpack the first of these packages of the distribution into `new`, without root; return "" or why not.

    The machine's package lists serve if it has them, else private ones are fetched; apt verifies signatures.
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
                if found := next(Path(work).glob("*.deb"), None):
                    return _run(["dpkg-deb", "-x", str(found), str(new)])
        return words
