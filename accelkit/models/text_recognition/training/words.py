"""Texts to draw: words of a list and random strings, those of the test split never among those of training."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from accelkit.models.text_recognition.charset import CHARSET, canonical, fits

KINDS = ("word", "letters", "digits", "mixed")
LONGEST = 16
RANDOM_SHARE = 0.3
ALIKE = frozenset("01oil")
"""Symbols that some fonts draw alike: 0 and O, 1 and I and l. Random strings of nothing else are not drawn, and mixed
strings leave them out, so that the rest of the string tells a letter from a digit. A text is in one case throughout, or
a word with a capital first letter, so that I and l do not meet by chance."""
_ALPHABETS = {"letters": CHARSET[10:], "digits": CHARSET[:10], "mixed": "".join(s for s in CHARSET if s not in ALIKE)}


def held_out(text: str) -> bool:
    """Whether a text belongs to the test split: a tenth of all texts, by the hash of its letters and digits."""
    return hashlib.sha256(canonical(text).encode()).digest()[0] < 26


def vocabulary(paths: Iterable[Path], test: bool) -> list[str]:
    """The plain lower-case words of 2 to 16 letters in word lists, one a line, of the test split or of training."""
    words = {line.strip().lower() for path in paths for line in path.read_text(errors="ignore").splitlines()}
    return sorted(
        w for w in words if w.isascii() and w.isalpha() and 2 <= len(w) <= LONGEST and fits(w) and held_out(w) == test
    )


def draw(
    generator: np.random.Generator, words: list[str], test: bool, random_share: float = RANDOM_SHARE
) -> tuple[str, str]:
    """A text in some case and its kind; `random_share` of them are random strings."""
    if generator.random() >= random_share:
        text, kind = words[generator.integers(len(words))], "word"
        case = generator.random()
        return (text if case < 0.5 else text.capitalize() if case < 0.7 else text.upper()), kind
    kind = KINDS[1 + generator.integers(3)]
    low, high = (3, 10) if test else (1, 14)
    while True:
        text = "".join(generator.choice(list(_ALPHABETS[kind]), generator.integers(low, high + 1)))
        if held_out(text) == test and not set(text) <= ALIKE and fits(text) and (kind != "mixed" or _is_mixed(text)):
            return (text if generator.random() < 0.5 else text.upper()), kind


def _is_mixed(text: str) -> bool:
    return not text.isalpha() and not text.isdigit()
