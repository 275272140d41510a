"""The 36 symbols, their CTC classes, and the task metric: case-insensitive alphanumeric word accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

CHARSET = "0123456789abcdefghijklmnopqrstuvwxyz"
CLASSES = len(CHARSET) + 1  # class 0 is the CTC blank
STEPS = 26


def canonical(text: str) -> str:
    """The text in lower case, with every other character than the 36 symbols dropped."""
    return "".join(symbol for symbol in text.lower() if symbol in CHARSET)


def encode(text: str) -> list[int]:
    """Class numbers 1 to 36 of a text's symbols."""
    return [CHARSET.index(symbol) + 1 for symbol in canonical(text)]


def fits(text: str) -> bool:
    """Whether the 26 steps can spell the text: each symbol takes one, and a blank between equal neighbours."""
    codes = encode(text)
    return 0 < len(codes) + sum(a == b for a, b in pairwise(codes)) <= STEPS


def decode(outputs: np.ndarray) -> list[str]:
    """Greedy CTC: the best class of each step of logits [N, 26, 37], repeats collapsed, then blanks dropped."""
    best = np.asarray(outputs).argmax(axis=2)
    keep = best != 0
    keep[:, 1:] &= best[:, 1:] != best[:, :-1]
    return ["".join(CHARSET[code - 1] for code in row[mask]) for row, mask in zip(best, keep, strict=True)]


def word_accuracy(outputs: np.ndarray, labels: Sequence[str]) -> float:
    """Share of N logits that decode to exactly their label, 0 to 1."""
    right = [word == canonical(label) for word, label in zip(decode(outputs), labels, strict=True)]
    return sum(right) / len(right)
