"""Files that are either complete or not there."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from accelkit.errors import ModelError


def cache() -> Path:
    """The directory of everything that the models build or import."""
    from accelkit.toolchain import cache_dir

    return cache_dir() / "models"


def reason(error: BaseException) -> str:
    """The first line of an error's text, or its kind where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]


def digest(*parts: bytes | Path) -> str:
    """16 hexadecimal digits of the SHA-256 over bytes and files' contents; ModelError for an unreadable file."""
    total = hashlib.sha256()
    for part in parts:
        total.update(hashlib.sha256(part if isinstance(part, bytes) else read(part)).digest())
    return total.hexdigest()[:16]


def read(path: Path) -> bytes:
    """A file's bytes; ModelError with the system's reason."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}") from error


def find(stem: str, suffix: str) -> Path | None:
    """The cached file whose name is the stem and its content's hash; None when there is none or it is damaged."""
    return next(
        (path for path in sorted(cache().glob(f"{stem}-*{suffix}")) if path.stem == f"{stem}-{digest(path)}"), None
    )


def kept(stem: str, suffix: str, make: Callable[[], tuple[bytes, dict[str, Any]]]) -> tuple[Path, dict[str, Any]]:
    """Return the cached file of a stem and its facts, by `make` where it is not there: those that this returned beside
    the content, and as wall_seconds how long it took."""
    found = find(stem, suffix)
    if found is None or not found.with_suffix(".json").is_file():
        started = time.perf_counter()
        content, facts = make()
        facts |= {"wall_seconds": round(time.perf_counter() - started, 3)}
        found = cache() / f"{stem}-{digest(content)}{suffix}"
        write(found.with_suffix(".json"), json.dumps(facts).encode() + b"\n")
        write(found, content)
    return found, dict(json.loads(read(found.with_suffix(".json"))))


def write(path: Path, data: bytes) -> Path:
    """Write beside the target, then rename: a full disk or a kill leaves no partial file; ModelError with the reason."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=path.parent) as scratch:
            fresh = Path(scratch, path.name)
            fresh.write_bytes(data)
            fresh.replace(path)
    except OSError as error:
        advice = "free space there or set ACCELKIT_CACHE to another directory"
        raise ModelError(f"cannot write {path}: {error.strerror or error}; {advice}") from error
    return path
