"""What the kit serves: weights, sample inputs, preprocessing, reference outputs and task metric behind one interface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from accelkit.errors import ModelError

if TYPE_CHECKING:
    import numpy as np

MODELS = ("text_recognition",)


@dataclass(frozen=True)
class Tensor:
    """Name, numpy type name and dimensions (the batch left out) of an input or output."""

    name: str
    dtype: str
    dims: tuple[int, ...]


@dataclass(frozen=True)
class Samples:
    """Preprocessed inputs float32 [N, ...], the labels that outputs are scored against, and the texts as drawn."""

    inputs: np.ndarray
    labels: tuple[str, ...]
    texts: tuple[str, ...]


class Model(Protocol):
    """What every model of the kit offers; `get` returns one."""

    name: str
    variant: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    metric: str
    code_hash: str
    """Hash of the weights and of the code that turns them into a graph and pictures into inputs."""

    def onnx(self) -> Path:
        """Content-hashed ONNX file in the cache, built at the first call; ModelError where it cannot be written."""

    def samples(self, split: str = "test", limit: int | None = None) -> Samples:
        """The first `limit` samples of a split: test, hard or calibration."""

    def score(self, outputs: np.ndarray, labels: Sequence[str]) -> float:
        """The task metric of raw outputs [N, ...] against N labels, 0 to 1."""

    def decode(self, outputs: np.ndarray) -> list[str]:
        """The N answers in raw outputs [N, ...]."""

    def open(self, path: str | Path) -> Any:
        """The picture in a file, for preprocess; ModelError where there is none."""

    def preprocess(self, images: Any) -> np.ndarray:
        """Model inputs [N, ...] from one picture or a sequence of pictures."""

    def reference(self, split: str = "test", limit: int | None = None) -> np.ndarray:
        """CPU FP32 ONNX Runtime outputs for the samples of a split, cached on disk."""


def names() -> dict[str, tuple[str, ...]]:
    """Every model's name with its variants, imported checkpoints included; the first variant is the default."""
    return {name: import_module(f"accelkit.models.{name}").variants() for name in MODELS}


def get(name: str = "text_recognition", variant: str | None = None) -> Model:
    """The model of that name and variant (None: the default one); ModelError names what there is."""
    if name not in MODELS:
        raise ModelError(f"no model {name!r}: the kit has {', '.join(MODELS)}")
    return import_module(f"accelkit.models.{name}").get(variant)
