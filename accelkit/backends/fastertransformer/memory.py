"""How much memory a checkpoint and a batch take, and how much there is: what does not fit is refused before it is tried."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from accelkit.backends.fastertransformer.contract import Row
from accelkit.backends.fastertransformer.settings import Settings
from accelkit.backends.key import Refused
from accelkit.models.gpt import sizing

SHARE = 0.9
"""Of what is free, the part that may be taken."""
LIMIT = "ACCELKIT_MEMORY_MB"
"""Environment variable: what the stand-in may take at most, where the machine is shared."""


def weights(settings: Settings) -> int:
    """Bytes of the weights of all ranks of an instance."""
    return sizing.weights(settings.header.sizes, settings.ranks, settings.data_type)


def batch(settings: Settings, rows: Sequence[Row]) -> int:
    """Bytes that a batch takes on all ranks: the key-value cache for its longest row, and its prompts on their way."""
    sizes, each = settings.header.sizes, sizing.BYTES[settings.data_type]
    reach, width = max(len(row.ids) + row.count for row in rows), max(len(row.ids) for row in rows)
    cache = sizing.cache(sizes, len(rows), reach, settings.data_type)
    scores = len(rows) * sizes.heads * width * reach * 4 * settings.stages
    passing = len(rows) * width * settings.world * (8 * sizes.width + 2 * sizes.inner) * each
    return cache + scores + passing + len(rows) * sizes.vocabulary * settings.ranks * 4


def free() -> int:
    """Bytes that processes of this machine, or of this container, may still take; the limit where that is less."""
    found = [line.split() for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable")]
    rooms = [int(found[0][1]) << 10] if found else [1 << 62]
    group = Path("/sys/fs/cgroup")
    try:
        rooms.append(int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    except (OSError, ValueError):
        pass  # no limit, or another kind of system
    if limit := os.environ.get(LIMIT):
        rooms.append(int(limit) << 20)
    return max(0, min(rooms))


def hold(what: str, needed: int, room: int) -> None:
    """Refuse what does not fit into the share of the room."""
    if needed > SHARE * room:
        raise Refused(
            f"out of memory: {what} {needed / 2**20:.1f} MB, and {room / 2**20:.1f} MB are free, of which {SHARE:.0%} may be taken"
        )
