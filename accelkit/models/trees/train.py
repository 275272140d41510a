"""Training: the served file of a forest and its native prediction, from the training split, in seconds, always the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from accelkit.errors import MissingPackage


@dataclass(frozen=True)
class Form:
    """How a variant is served: FIL's model_type, the file's name in a repository, and the packages that train it."""

    model_type: str
    file: str
    packages: tuple[str, ...]


_XGBOOST = ("xgboost-cpu",)
FORMS = {
    "xgboost_json": Form("xgboost_json", "xgboost.json", _XGBOOST),
    "xgboost_ubj": Form("xgboost_ubj", "xgboost.ubj", _XGBOOST),
    "lightgbm": Form("lightgbm", "model.txt", ("lightgbm",)),
    "sklearn": Form("treelite_checkpoint", "checkpoint.tl", ("scikit-learn", "treelite")),
    "treelite": Form("treelite_checkpoint", "checkpoint.tl", (*_XGBOOST, "treelite")),
}
Native = Callable[[np.ndarray], np.ndarray]
"""Rows float32 [N, features] to the library's own probabilities float32 [N, 2]: honest, fraud."""


def train(variant: str, inputs: np.ndarray, labels: np.ndarray, trees: int, depth: int) -> tuple[bytes, Native]:
    """File content and native prediction of a new forest; MissingPackage when the variant's library is not here."""
    trainers = {"lightgbm": _lightgbm, "sklearn": _sklearn}
    try:
        return trainers.get(variant, _xgboost)(inputs, labels, trees, depth, variant)
    except ModuleNotFoundError as error:
        raise MissingPackage(FORMS[variant].packages[0], "trees", f"training the forest {variant}") from error


def _both(fraud: Any) -> np.ndarray:
    fraud = np.asarray(fraud, np.float32)
    return np.stack([1 - fraud, fraud], axis=1)


def _xgboost(inputs: np.ndarray, labels: np.ndarray, trees: int, depth: int, variant: str) -> tuple[bytes, Native]:
    import xgboost

    settings = {
        "objective": "binary:logistic", "tree_method": "hist", "max_depth": depth, "eta": 0.1, "min_child_weight": 5,
        "nthread": 1, "seed": 0,
    }  # fmt: skip
    booster = xgboost.train(settings, xgboost.DMatrix(inputs, labels), trees)
    if variant == "treelite":
        import treelite

        content = treelite.frontend.from_xgboost(booster).serialize_bytes()
    else:
        content = bytes(booster.save_raw("ubj" if variant == "xgboost_ubj" else "json"))
    return content, lambda rows: _both(booster.predict(xgboost.DMatrix(rows)))


def _lightgbm(inputs: np.ndarray, labels: np.ndarray, trees: int, depth: int, variant: str) -> tuple[bytes, Native]:
    import lightgbm

    settings = {
        "objective": "binary", "max_depth": depth, "num_leaves": 2**depth - 1, "learning_rate": 0.1, "seed": 0,
        "min_data_in_leaf": 50, "deterministic": True, "force_row_wise": True, "num_threads": 1, "verbose": -1,
    }  # fmt: skip
    booster = lightgbm.train(settings, lightgbm.Dataset(inputs, labels), trees)
    return booster.model_to_string().encode(), lambda rows: _both(booster.predict(rows))


def _sklearn(inputs: np.ndarray, labels: np.ndarray, trees: int, depth: int, variant: str) -> tuple[bytes, Native]:
    import treelite
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(
        trees, max_depth=depth, min_samples_leaf=5, max_samples=0.2, random_state=0, n_jobs=-1
    ).fit(inputs, labels)
    content = treelite.sklearn.import_model(forest).serialize_bytes()
    return content, lambda rows: forest.predict_proba(rows).astype(np.float32)
