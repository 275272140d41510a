"""Writes on where a text stops: a GPT-2, tiny and trained here, large with seeded weights, or a checkpoint of your own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from accelkit.errors import ModelError
from accelkit.models.gpt.layout import SIZES

if TYPE_CHECKING:
    from accelkit.models.gpt.model import Gpt

ASSETS = Path(__file__).parent / "assets"
KIND = "language model"


def variants() -> tuple[str, ...]:
    """tiny, and larger sizes with seeded weights, which are there to be measured and not to be read."""
    return tuple(SIZES)


def get(variant: str | None = None) -> Gpt:
    """The GPT of that variant, tiny by default, or of the Hugging Face checkpoint in a directory; ModelError names the variants."""
    from accelkit.models.gpt.model import Gpt

    variant = variant or next(iter(SIZES))
    if variant in SIZES:
        return Gpt(variant)
    if Path(variant, "config.json").is_file():
        return Gpt(Path(variant).resolve().name, Path(variant).resolve())
    raise ModelError(
        f"gpt has no variant {variant!r}: there are {', '.join(SIZES)}, and every directory with config.json and "
        "model.safetensors of a GPT-2"
    )
