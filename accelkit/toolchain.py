"""The pinned tritonserver and perf_analyzer: fetched once into a cache, verified by hash, found again offline."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """Return where the kit keeps what it fetches and builds: $ACCELKIT_CACHE, else `accelkit` in the user cache."""
    if own := os.environ.get("ACCELKIT_CACHE"):
        return Path(own).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().absolute() / "accelkit"
