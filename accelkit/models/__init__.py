"""What the kit serves: weights, sample inputs, preprocessing, reference outputs and task metric behind one interface."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from accelkit.errors import ModelError

if TYPE_CHECKING:
    import numpy as np

MODELS = ("text_recognition", "trees", "gpt")


@dataclass(frozen=True)
class Tensor:
    """Name, numpy type name and dimensions (the batch left out) of an input or output."""

    name: str
    dtype: str
    dims: tuple[int, ...]


@dataclass(frozen=True)
class Samples:
    """Inputs [N, ...] by name, or the one input's alone; the labels that outputs are scored against; the texts as drawn."""

    inputs: Any
    labels: tuple[Any, ...]
    texts: tuple[str, ...] = ()


class Model(Protocol):
    """What every model of the kit offers; `get` returns one."""

    name: str
    variant: str
    kind: str
    """network, forest or language model."""
    precisions: tuple[str, ...]
    """What the model can be had in; the first is fp32."""
    max_batch: int
    """The largest batch that its configs offer; 0 when its tensors have no batch dimension."""
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    metric: str | None
    """Name of the task metric; None when the task is unknown."""
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

    def reference(self, split: str = "test", limit: int | None = None) -> np.ndarray | Mapping[str, np.ndarray]:
        """The right outputs for the samples of a split (CPU FP32, cached on disk), by name or the first output's alone."""


def named(tensors: Sequence[Tensor], arrays: np.ndarray | Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """Arrays by tensor name; an array alone is the first tensor's."""
    return arrays if isinstance(arrays, Mapping) else {tensors[0].name: arrays}


def names() -> dict[str, tuple[str, ...]]:
    """Every model's name with its variants, imported checkpoints included; the first variant is the default."""
    return {name: import_module(f"accelkit.models.{name}").variants() for name in MODELS}


def get(name: str = "text_recognition", variant: str | None = None) -> Model:
    """The model of that name and variant (None: the default one); ModelError names what there is."""
    if name not in MODELS:
        raise ModelError(f"no model {name!r}: the kit has {', '.join(MODELS)}")
    return import_module(f"accelkit.models.{name}").get(variant)


def batches(model: Model, inputs: np.ndarray | Mapping[str, np.ndarray], size: int) -> Iterator[Any]:
    """The inputs in parts of at most `size` samples; a model without a batch dimension gets them one by one, without it."""
    count = len(next(iter(named(model.inputs, inputs).values())))
    for start in range(0, count, size if model.max_batch else 1):
        part = slice(start, start + size) if model.max_batch else start
        yield {name: array[part] for name, array in inputs.items()} if isinstance(inputs, Mapping) else inputs[part]
