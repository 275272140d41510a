"""The nodes of a Treelite forest as flat arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

LESS, LESS_OR_EQUAL = 2, 3


@dataclass(frozen=True)
class Nodes:
    """One entry for every node of every tree; children are indices into these arrays, -1 at a leaf.

    A row whose feature is missing goes left where `missing_left`; otherwise where it is below the threshold, or equal to
    it at a node with `or_equal`. `value` [nodes, outputs] is what a leaf adds to each output, `cover` the weight of the
    training rows that came by (nan where the file does not say). The outputs are `scale` times the sum plus `base`.
    """

    tree: np.ndarray
    left: np.ndarray
    right: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    or_equal: np.ndarray
    missing_left: np.ndarray
    value: np.ndarray
    cover: np.ndarray
    scale: float
    base: np.ndarray


def read(model: Any) -> Nodes:
    """The nodes of a treelite.Model; ValueError for splits on categories, and for more than one target."""
    header = model.get_header_accessor()
    outputs, classes = int(header.get_field("num_class")[0]), header.get_field("class_id")
    if int(header.get_field("num_target")[0]) != 1:
        raise ValueError("a forest with several targets")
    parts: dict[str, list[np.ndarray]] = {
        name: [] for name in Nodes.__dataclass_fields__ if name not in ("scale", "base")
    }
    start = 0
    for number in range(model.num_tree):
        get = model.get_tree_accessor(number).get_field
        left, operator = get("cleft").astype(np.int64), get("cmp")
        if get("has_categorical_split")[0] or not np.isin(operator[left >= 0], (LESS, LESS_OR_EQUAL)).all():
            raise ValueError("a split that is not a comparison with a threshold")
        leaf, count = left < 0, len(left)
        value = np.zeros((count, outputs))
        if len(get("leaf_vector")):
            value[leaf] = get("leaf_vector")[get("leaf_vector_begin")[leaf][:, None].astype(int) + np.arange(outputs)]
        else:
            value[leaf, max(0, int(classes[number]))] = get("leaf_value")[leaf]
        cover = np.full(count, np.nan)
        for field in ("data_count", "sum_hess"):  # the latter where there are both
            if len(present := get(f"{field}_present")):
                cover = np.where(present.astype(bool), get(field).astype(float), cover)
        found = {
            "tree": np.full(count, number), "left": np.where(leaf, -1, left + start),
            "right": np.where(leaf, -1, get("cright").astype(np.int64) + start), "feature": get("split_index"),
            "threshold": get("threshold").astype(np.float64), "or_equal": operator == LESS_OR_EQUAL,
            "missing_left": get("default_left").astype(bool), "value": value, "cover": cover,
        }  # fmt: skip
        for name, array in found.items():
            parts[name].append(array)
        start += count
    scale = 1.0
    if header.get_field("average_tree_output")[0]:
        scale = 1 / (model.num_tree if header.get_field("leaf_vector_shape")[1] > 1 else model.num_tree // outputs)
    joined = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    return Nodes(**joined, scale=scale, base=header.get_field("base_scores").astype(np.float64))
