"""SavedModels in the cache of models: a directory there is one file, complete or not there."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from accelkit.models import files

SUFFIX = ".savedmodel"


def kept(stem: str, target: Path, make: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """Write a SavedModel to `target`, out of the cache where it is there under this stem, else by `make`; return its facts.

    They are what `make` returned and the seconds that it took.
    """

    def pack() -> tuple[bytes, dict[str, Any]]:
        facts, packed = make(target), io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for path in sorted(path for path in target.rglob("*") if path.is_file()):
                archive.write(path, str(path.relative_to(target)))
        return packed.getvalue(), facts

    found, facts = files.kept(stem, SUFFIX, pack)
    if not target.exists():
        with zipfile.ZipFile(found) as archive:
            archive.extractall(target)
    return facts


def listed(directory: Path) -> dict[str, Path]:
    """Return the files of a SavedModel by their name in a version of a repository."""
    found = sorted(path for path in directory.rglob("*") if path.is_file())
    return {f"{directory.name}/{path.relative_to(directory)}": path for path in found}
