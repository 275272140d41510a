"""Reads one word of letters and digits from a picture: None-ResNet-None-CTC, small (width 128) and full (width 512)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from accelkit.errors import ModelError
from accelkit.models import files

if TYPE_CHECKING:
    from accelkit.models.text_recognition.model import TextRecognition

ASSETS = Path(__file__).parent / "assets"
SHIPPED = ("small", "full")


def imported() -> Path:
    """Where imported checkpoints lie, one NAME.safetensors each."""
    return files.cache() / "imported"


def variants() -> tuple[str, ...]:
    """small, full, and the names of the imported checkpoints."""
    return SHIPPED + tuple(sorted(path.stem for path in imported().glob("*.safetensors")))


def get(variant: str | None = None) -> TextRecognition:
    """The model of that variant, small by default; ModelError names the variants."""
    from accelkit.models.text_recognition.model import TextRecognition

    variant = variant or SHIPPED[0]
    if variant not in variants():
        raise ModelError(f"text_recognition has no variant {variant!r}: there are {', '.join(variants())}")
    if variant in SHIPPED:
        return TextRecognition(variant, ASSETS / "small.safetensors", widened=variant == "full")
    return TextRecognition(variant, imported() / f"{variant}.safetensors")
