"""The text that the tiny GPT was trained on, and the part of it that was held out."""

from __future__ import annotations

import lzma
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np

from accelkit.errors import ModelError

FILE = Path(__file__).parent / "assets" / "text.xz"
SPLITS = ("train", "test")
EVERY = 16
"""One chapter of so many is held out."""


@lru_cache
def chapters() -> tuple[str, ...]:
    """The chapters in order, a line for each paragraph; ModelError when the file is not there or damaged."""
    try:
        return tuple(lzma.decompress(FILE.read_bytes()).decode("ascii").rstrip("\n").split("\n\n"))
    except (OSError, lzma.LZMAError, UnicodeDecodeError) as error:
        raise ModelError(f"cannot read {FILE}: {error}; get the file of this version again") from None


def split(name: str) -> list[str]:
    """The chapters of train or test; ModelError for another name."""
    if name not in SPLITS:
        raise ModelError(f"gpt has no split {name!r}: there are {' and '.join(SPLITS)}")
    return [text for index, text in enumerate(chapters()) if (index % EVERY == EVERY - 1) == (name == "test")]


def stream(name: str, encode: Callable[[str], list[int]], end: int) -> np.ndarray:
    """The ids of a split, int64: before each chapter and after the last one stands the end."""
    found = [end]
    for text in split(name):
        found += [*encode(text), end]
    return np.array(found, np.int64)
