"""Tells fraud from honest card payments: one gradient boosted or random forest, in every file form that Triton's FIL takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from accelkit.errors import ModelError

if TYPE_CHECKING:
    from accelkit.models.trees.model import Trees

VARIANTS = ("xgboost_json", "xgboost_ubj", "lightgbm", "sklearn", "treelite")


def variants() -> tuple[str, ...]:
    """Library or file form of the forest; xgboost_json, xgboost_ubj and treelite hold the same one."""
    return VARIANTS


def get(variant: str | None = None, trees: int = 100, depth: int = 6) -> Trees:
    """The forest of that variant (None: xgboost_json) with so many trees of at most that depth; ModelError names the variants."""
    from accelkit.models.trees.model import Trees

    variant = variant or VARIANTS[0]
    if variant not in VARIANTS:
        raise ModelError(f"trees has no variant {variant!r}: there are {', '.join(VARIANTS)}")
    return Trees(variant, trees, depth)
