"""Versions and image tags, all of them read from versions.toml."""

from __future__ import annotations

import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from accelkit.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE = Path(__file__).with_name("versions.toml")


@lru_cache(maxsize=1)
def table() -> dict[str, Any]:
    """Return the whole of versions.toml; do not change it."""
    with FILE.open("rb") as stream:
        return tomllib.load(stream)


def get(key: str) -> Any:
    """Return the entry at a dotted key, such as `packages.onnxruntime` (a str) or `toolchain.server` (a table)."""
    node: Any = table()
    for part in key.split("."):
        if not isinstance(node, dict) or part not in node:
            raise ConfigError(f"{key} is not in {FILE}: write its version there")
        node = node[part]
    return node
