"""How much to measure: the one switch ACCELKIT_BUDGET, quick by default."""

from __future__ import annotations

import os
from dataclasses import dataclass

from accelkit.errors import ConfigError


@dataclass(frozen=True)
class Budget:
    """Sample counts for parity, repeats of every candidate and seconds of load in one repeat."""

    name: str
    samples: int
    repeats: int
    window_s: float


BUDGETS = {
    found.name: found
    for found in (Budget("smoke", 128, 4, 0.8), Budget("quick", 512, 5, 1.5), Budget("full", 4096, 9, 4.0))
}
"""smoke is for tests, which look at what runs and not at how fast: its intervals say nothing."""


def budget() -> Budget:
    """Return the budget that ACCELKIT_BUDGET names; ConfigError for a name that is none."""
    name = os.environ.get("ACCELKIT_BUDGET") or "quick"
    if name not in BUDGETS:
        raise ConfigError(f"ACCELKIT_BUDGET={name}: no such budget, use {', '.join(BUDGETS)}")
    return BUDGETS[name]
