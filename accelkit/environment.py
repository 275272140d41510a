"""The environment variables that the kit reads, ACCELKIT_*: which there are, and those that nobody reads."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping

from accelkit import interpreters, paths
from accelkit.errors import ConfigError

MEMORY = "ACCELKIT_MEMORY_MB"
VARIABLES = (
    "ACCELKIT_BUDGET", "ACCELKIT_CACHE", "ACCELKIT_PROFILE_DIR", "ACCELKIT_RECORD", "ACCELKIT_TOUR", MEMORY,
    "ACCELKIT_HTTP_PORT", "ACCELKIT_GRPC_PORT", "ACCELKIT_METRICS_PORT", "ACCELKIT_LAB_PORT", "ACCELKIT_USER_ID",
)  # fmt: skip
"""Those of one name each; an interpreter and its libraries are named by backend or path besides."""


def known() -> list[str]:
    """Return the names of all variables that the kit, its containers or its tests read."""
    backends = [file.parent.name for file in (interpreters.ROOT / "accelkit/backends").glob("*/model.py")]
    named = sorted({*backends, *paths.names()})
    return [*VARIABLES, *(interpreters.variable(name, of) for of in ("PYTHON", "LIBS") for name in named)]


def unknown(environment: Mapping[str, str] = os.environ) -> dict[str, str | None]:
    """Return the variables that look like the kit's and are read by nothing, each with the nearest that is."""
    names = known()
    strange = sorted(name for name in environment if name.startswith("ACCELKIT") and name not in names)
    return {name: next(iter(difflib.get_close_matches(name, names, 1)), None) for name in strange}


def check(environment: Mapping[str, str]) -> None:
    """Raise ConfigError for a variable of the stand-in backends that does not hold what it has to."""
    limit = environment.get(MEMORY)
    if limit and not re.fullmatch(r"[1-9][0-9]*", limit):
        raise ConfigError(f"{MEMORY}={limit}: is no number of megabytes: write it as 4096, or unset it")
