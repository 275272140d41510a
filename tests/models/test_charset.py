"""Decoding, encoding and the metric."""

from __future__ import annotations

import numpy as np

from accelkit.models.text_recognition import charset


def logits(path: str) -> np.ndarray:
    """One-hot logits [1, 26, 37] of a path over blanks (-) and symbols, blanks at the end."""
    out = np.zeros((1, charset.STEPS, charset.CLASSES), np.float32)
    for step, symbol in enumerate(path.ljust(charset.STEPS, "-")):
        out[0, step, 0 if symbol == "-" else charset.CHARSET.index(symbol) + 1] = 1
    return out


def test_decode_collapses_repeats_and_drops_blanks():
    assert charset.decode(logits("hhe-l-ll-oo")) == ["hello"]
    assert charset.decode(logits("a" * 26)) == ["a"] and charset.decode(logits("")) == [""]
    assert charset.decode(logits("aab-b")) == ["abb"]


def test_encode_and_fits():
    assert charset.encode("0aZ-é") == [1, 11, 36]
    assert charset.fits("a" * 13) and not charset.fits("a" * 14) and not charset.fits("!?") and charset.fits("ab" * 13)


def test_word_accuracy_ignores_case_and_punctuation():
    outputs = np.concatenate([logits("a-b"), logits("c")])
    assert charset.word_accuracy(outputs, ["A'B", "d"]) == 0.5
