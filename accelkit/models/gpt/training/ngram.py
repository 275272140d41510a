"""The 5-gram model that a GPT has to beat: interpolated Kneser-Ney smoothing with three discounts (Chen and Goodman, 1999)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ORDER = 5


@dataclass(frozen=True)
class _Level:
    """One order: its n-grams as numbers with their counts, and of each context the sum and the mass that it hands down."""

    grams: np.ndarray
    counts: np.ndarray
    contexts: np.ndarray
    sums: np.ndarray
    handed: np.ndarray
    discounts: np.ndarray


def _numbers(ids: np.ndarray, order: int, vocabulary: int) -> np.ndarray:
    """Every run of so many ids as one number, the last id its lowest digit."""
    total = np.zeros(len(ids) - order + 1, np.int64)
    for place in range(order):
        total = total * vocabulary + ids[place : len(ids) - order + 1 + place]
    return total


def _level(grams: np.ndarray, counts: np.ndarray, vocabulary: int) -> _Level:
    ones, twos, threes, fours = (int((counts == number).sum()) for number in range(1, 5))
    share = ones / (ones + 2 * twos)
    steps = zip((1, 2, 3), (ones, twos, threes), (twos, threes, fours))
    found = [number - (number + 1) * share * more / of if of else 0.5 for number, of, more in steps]
    discounts = np.clip([0.0, *found], 0, [0, 1, 2, 3])
    contexts, place = np.unique(grams // vocabulary, return_inverse=True)
    sums = np.bincount(place, counts)
    handed = np.bincount(place, discounts[np.minimum(counts, 3)]) / sums
    return _Level(grams, counts, contexts, sums, handed, discounts)


class KneserNey:
    """Probabilities of the next id after up to four others, learnt from one stream of ids."""

    def __init__(self, ids: np.ndarray, vocabulary: int):
        self.vocabulary, stream = vocabulary, np.asarray(ids, np.int64)
        grams, counts = np.unique(_numbers(stream, ORDER, vocabulary), return_counts=True)
        levels = [_level(grams, counts, vocabulary)]
        for order in range(ORDER - 1, 0, -1):
            # Below the highest order a run counts once for each different id before it.
            grams, counts = np.unique(levels[-1].grams % vocabulary**order, return_counts=True)
            levels.append(_level(grams, counts, vocabulary))
        self.levels = levels[::-1]

    def probabilities(self, ids: np.ndarray) -> np.ndarray:
        """Of each id but the first, given those before it."""
        stream = np.asarray(ids, np.int64)
        found = np.full(len(stream), 1 / self.vocabulary)
        for order, level in enumerate(self.levels, 1):
            grams = _numbers(stream, order, self.vocabulary)
            counts, known = _find(level.grams, level.counts, grams)
            sums, seen = _find(level.contexts, level.sums, grams // self.vocabulary)
            handed, _ = _find(level.contexts, level.handed, grams // self.vocabulary)
            direct = np.where(known, counts - level.discounts[np.minimum(counts, 3).astype(int)], 0)
            lower = found[order - 1 :]
            found[order - 1 :] = np.where(seen, direct / np.maximum(sums, 1) + handed * lower, lower)
        return found[1:]

    def perplexity(self, ids: np.ndarray) -> float:
        """Of a stream, its first id given."""
        return float(np.exp(-np.log(self.probabilities(ids)).mean()))


def _find(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values of wanted keys, 0 where there is none, and where there is one."""
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    there = keys[place] == wanted
    return np.where(there, values[place], 0), there
