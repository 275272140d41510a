"""Exact SHAP values of a forest, dependent on its paths: what each feature adds to the margin of each class.

A leaf's part is a product over the features on its path of `a`, whether the row itself would go on, where a feature is
known, and `r`, the share of training rows that do, where it is not. Its Shapley value is the integral over t from 0 to 1
of (a - r) times the product of a t + r (1 - t) over the other features: a polynomial, for which Gauss's rule is exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from accelkit.backends.key import Refused
from accelkit.models.trees import nodes

DEPTH, ROWS, LEAST = 32, 64, 1e-12


def _paths(left: np.ndarray, parent: list[int], asked: list[int]) -> tuple[list[int], ...]:
    """The steps of all ways to leaves as child nodes, those that ask for one feature together, and these groups' starts.

    With each group goes its leaf and its feature; `asked` is the feature that a node's parent asks for.
    """
    steps: list[int] = []
    starts: list[int] = []
    leaves: list[int] = []
    features: list[int] = []
    for leaf in np.flatnonzero(left < 0).tolist():
        way, child = [], leaf
        while parent[child] >= 0:
            way.append(child)
            child = parent[child]
        if len(way) >= DEPTH:
            raise Refused("Tree depths above 32 not supported. Shap cannot be considered accurate at this depth.")
        for node in sorted(way, key=asked.__getitem__):
            if leaves[-1:] != [leaf] or features[-1] != asked[node]:
                starts.append(len(steps))
                leaves.append(leaf)
                features.append(asked[node])
            steps.append(node)
    return steps, starts, leaves, features


class Explainer:
    """SHAP values of one forest."""

    def __init__(self, model: Any):
        try:
            forest = nodes.read(model)
        except ValueError as error:
            raise Refused(f"treeshap_output is not offered for this forest: {error}") from None
        inner = np.flatnonzero(forest.left >= 0)
        parent = np.full(len(forest.left), -1)
        parent[forest.left[inner]] = parent[forest.right[inner]] = inner
        share = np.ones(len(parent))
        children = np.flatnonzero(parent >= 0)
        share[children] = forest.cover[children] / forest.cover[parent[children]]
        if not np.isfinite(share).all():
            raise Refused("Model does not have node statistics.")
        steps, starts, leaves, features = _paths(forest.left, parent.tolist(), forest.feature[parent].tolist())
        reach = (forest.left < 0).astype(float)
        for leaf, group in zip(leaves, np.split(np.array(steps, int), starts[1:])):
            reach[leaf] *= share[group].prod()
        self._forest, self._columns, self._outputs = forest, model.num_feature, forest.value.shape[1]
        self._bias = (reach[:, None] * forest.value).sum(axis=0) * forest.scale + forest.base
        self._starts, self._leaves = np.array(starts, int), np.array(leaves, int)
        self._edges = parent[np.array(steps, int)]
        self._goes_left = forest.left[self._edges] == np.array(steps, int)
        self._share = np.maximum(np.multiply.reduceat(share[steps], self._starts), LEAST) if steps else np.ones(0)
        self._order = np.argsort(np.array(features, int), kind="stable")
        self._features, self._feature_starts = np.unique(np.array(features, int)[self._order], return_index=True)
        firsts = np.flatnonzero(np.diff(self._leaves, prepend=-1))
        lengths = np.diff(firsts, append=len(leaves))
        self._leaf_starts, self._leaf_of = firsts, np.repeat(np.arange(len(firsts)), lengths)
        degree = int(lengths.max(initial=1))
        points, weights = np.polynomial.legendre.leggauss((degree + 1) // 2)
        self._rule = list(zip((points + 1) / 2, weights / 2))

    def explain(self, rows: np.ndarray) -> np.ndarray:
        """Float32 [N, outputs * (features + 1)] for rows [N, features]: of each output every feature's value, then the bias."""
        found = np.zeros((len(rows), self._outputs, self._columns + 1))
        found[:, :, -1] = self._bias
        for start in range(0, len(rows) if len(self._starts) else 0, ROWS):
            self._add(rows[start : start + ROWS].astype(np.float64), found[start : start + ROWS])
        return found.reshape(len(rows), -1).astype(np.float32)

    def _add(self, rows: np.ndarray, found: np.ndarray) -> None:
        forest, edges = self._forest, self._edges
        values, threshold = rows[:, forest.feature[edges]], forest.threshold[edges]
        left = np.where(forest.or_equal[edges], values <= threshold, values < threshold)
        left = np.where(np.isnan(values), forest.missing_left[edges], left)
        known = np.logical_and.reduceat(left == self._goes_left, self._starts, axis=1)
        total = np.zeros(known.shape)
        for point, weight in self._rule:
            factor = known * point + self._share * (1 - point)
            product = np.multiply.reduceat(factor, self._leaf_starts, axis=1)
            total += weight * product[:, self._leaf_of] / factor
        total *= (known - self._share) * forest.scale
        for output in range(self._outputs):
            part = (total * forest.value[self._leaves, output])[:, self._order]
            found[:, output, self._features] = np.add.reduceat(part, self._feature_starts, axis=1)
