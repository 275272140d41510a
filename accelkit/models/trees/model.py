"""The forest behind the interface of `accelkit.models`."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from accelkit.errors import MissingPackage, ModelError
from accelkit.models import Samples, Tensor, files
from accelkit.models.trees import table
from accelkit.models.trees.train import FORMS, train

HERE = Path(__file__).parent
CODE = ("table.py", "train.py", "nodes.py", "graph.py")
ANSWERS = ("honest", "fraud")
STORED = ("test", "calibration")


@dataclass(frozen=True)
class Trees:
    """Tells fraud from honest card payments; `trees` and `depth` are the forest's size."""

    variant: str
    trees: int = 100
    depth: int = 6
    name: str = "trees"
    kind: str = "forest"
    precisions: tuple[str, ...] = ("fp32",)
    max_batch: int = 4096
    metric: str | None = "roc_auc"
    inputs: tuple[Tensor, ...] = (Tensor("input__0", "float32", (len(table.FEATURES),)),)
    outputs: tuple[Tensor, ...] = (Tensor("output__0", "float32", (len(ANSWERS),)),)

    @property
    def model_type(self) -> str:
        """What Triton's FIL backend calls the form of the file."""
        return FORMS[self.variant].model_type

    @property
    def file_name(self) -> str:
        """The file's name in a model repository, FIL's default for its form."""
        return FORMS[self.variant].file

    @cached_property
    def code_hash(self) -> str:
        """16 hexadecimal digits over the table's and the training's code, the forest's size and the libraries' versions."""
        versions = [f"{name} {_version(name)}" for name in ("numpy", *FORMS[self.variant].packages)]
        size = f"{self.variant} {self.trees} {self.depth}"
        return files.digest(*(HERE / name for name in CODE), " ".join([size, *versions]).encode())

    @property
    def _stem(self) -> str:
        return f"{self.name}_{self.variant}-{self.code_hash}"

    def forest(self) -> Path:
        """The served file in the cache, its name ending in its content's hash; trained if it is not there or damaged."""
        return self._trained(Path(self.file_name).suffix)

    def onnx(self) -> Path:
        """The ONNX form of the same forest in the cache; MissingPackage where treelite or onnx is not here."""
        if found := files.find(self._stem, ".onnx"):
            return found
        try:
            from accelkit.models.trees import graph
        except ModuleNotFoundError:
            raise MissingPackage("onnx", "cpu", "writing a forest's ONNX file") from None
        content = graph.write(self.load())
        return files.write(files.cache() / f"{self._stem}-{files.digest(content)}.onnx", content)

    def load(self) -> Any:
        """The forest as a treelite.Model; MissingPackage where treelite is not here."""
        try:
            import treelite
        except ModuleNotFoundError:
            raise MissingPackage("treelite", "trees", "reading a forest") from None
        if self.model_type == "treelite_checkpoint":
            return treelite.Model.deserialize(self.forest())
        if self.model_type == "lightgbm":
            return treelite.frontend.load_lightgbm_model(self.forest())
        form = "json" if self.model_type == "xgboost_json" else "ubjson"
        return treelite.frontend.load_xgboost_model(self.forest(), format_choice=form)

    def samples(self, split: str = "test", limit: int | None = None) -> Samples:
        """The first `limit` payments of a split (test, calibration or train) as inputs [N, 16], labels 1 for fraud."""
        if split not in table.SPLITS:
            raise ModelError(f"trees has no split {split!r}: there are {', '.join(table.SPLITS)}")
        inputs, labels = (array[:limit] for array in table.split(split))
        return Samples(inputs, tuple(labels.tolist()))

    def score(self, outputs: np.ndarray, labels: Sequence[int]) -> float:
        """ROC AUC of outputs [N, 2]; ModelError when the labels are all the same, for which there is none."""
        value = table.roc_auc(np.asarray(outputs)[:, 1], np.asarray(labels))
        if np.isnan(value):
            raise ModelError(
                f"{self.metric} needs frauds and honest payments: these {len(labels)} are all of one kind, take more"
            )
        return value

    def decode(self, outputs: np.ndarray) -> list[str]:
        """honest or fraud for each of the outputs [N, 2]."""
        return [ANSWERS[index] for index in np.asarray(outputs).argmax(axis=1)]

    def open(self, path: str | Path) -> np.ndarray:
        """The payments [N, 16] in a CSV file with a line of names; ModelError when it is none or lacks a feature."""
        try:
            with open(path, newline="", encoding="utf-8") as file:
                rows = [[float(row[name]) for name in table.FEATURES] for row in csv.DictReader(file)]
            return np.array(rows, np.float32).reshape(-1, len(table.FEATURES))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise ModelError(
                f"{path}: {files.reason(error)}: a CSV file has a line of names, {', '.join(table.FEATURES)}"
            ) from None

    def preprocess(self, images: Any) -> np.ndarray:
        """Inputs float32 [N, 16] from tables of payments or single ones."""
        return np.concatenate([np.asarray(rows, np.float32).reshape(-1, len(table.FEATURES)) for rows in images])

    def reference(self, split: str = "test", limit: int | None = None) -> np.ndarray:
        """Probabilities [N, 2], honest and fraud, of the library that trained the forest, for test or calibration."""
        if split not in STORED:
            raise ModelError(f"trees has no reference for split {split!r}: there is one for {' and '.join(STORED)}")
        with np.load(self._trained(".npz")) as stored:
            return stored[split][:limit]

    def _trained(self, suffix: str) -> Path:
        """The forest's file, or with ".npz" what its library predicts; both are written together."""
        if found := files.find(self._stem, suffix):
            return found
        content, native = train(self.variant, *table.split("train"), self.trees, self.depth)
        arrays = io.BytesIO()
        predicted: dict[str, Any] = {name: native(table.split(name)[0]) for name in STORED}
        np.savez(arrays, **predicted)
        written = {Path(self.file_name).suffix: content, ".npz": arrays.getvalue()}
        for ending, data in written.items():
            files.write(files.cache() / f"{self._stem}-{files.digest(data)}{ending}", data)
        return files.cache() / f"{self._stem}-{files.digest(written[suffix])}{suffix}"


def _version(package: str) -> str:
    """The installed version of a package; XGBoost comes under two names."""
    for name in (package, package.removesuffix("-cpu")):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return "none"
