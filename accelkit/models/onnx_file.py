"""A reader's own ONNX file behind the interface of `accelkit.models`; its task, and so its task metric, is unknown."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from accelkit.errors import MissingPackage, ModelError, need_file
from accelkit.models import Samples, Tensor, files

SAMPLES = 256
"""Samples that are made when none are given."""
LARGEST = 64


@dataclass(frozen=True)
class OnnxFile:
    """An ONNX file with samples [N, ...] by input name; without a batch dimension each sample is a whole tensor."""

    file: Path
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    max_batch: int
    arrays: Mapping[str, np.ndarray]
    variant: str
    """Where the samples came from: the name of a file, or "random"."""
    kind: str = "network"
    metric: str | None = None

    @property
    def name(self) -> str:
        """The file's name, in letters that a repository takes."""
        return re.sub(r"\W+", "_", self.file.stem, flags=re.ASCII).strip("_") or "model"

    @property
    def precisions(self) -> tuple[str, ...]:
        """INT8 needs samples that mean something, those of a file, of one input, of at least 32; the others need none."""
        count = len(next(iter(self.arrays.values())))
        real = self.variant != "random" and len(self.inputs) == 1 and self.max_batch and count >= 32
        return ("fp32", "tf32", "fp16", *(("int8",) if real else ()))

    @property
    def without_int8(self) -> str:
        """What INT8 of it needs, for a reader who asks for it in vain."""
        return "INT8 needs --inputs with 32 samples or more, of a model with one input and a free batch"

    @cached_property
    def code_hash(self) -> str:
        """Hash of the file and of the samples."""
        return files.digest(self.file, *(array.tobytes() for array in self.arrays.values()))

    def onnx(self) -> Path:
        """The file itself."""
        return self.file

    def samples(self, split: str = "test", limit: int | None = None) -> Samples:
        """The samples, the same for every split, at most `limit`; they have no labels to be scored against."""
        arrays = {name: array[:limit] for name, array in self.arrays.items()}
        return Samples(arrays, (None,) * len(next(iter(arrays.values()))))

    def reference(self, split: str = "test", limit: int | None = None) -> Mapping[str, np.ndarray]:
        """Outputs [N, ...] by name of ONNX Runtime's CPU provider, without graph optimization; ModelError if it fails."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 3
        names = [spec.name for spec in self.outputs]
        count = len(self.samples(split, limit).labels)
        try:
            session = onnxruntime.InferenceSession(self.file, options, providers=["CPUExecutionProvider"])
            made = [session.run(names, self._row(index)) for index in range(count)]
        except Exception as error:
            raise ModelError(f"{self.file}: ONNX Runtime cannot run it on these inputs: {_line(error)}") from None
        join = np.concatenate if self.max_batch else np.stack
        return {name: join([outputs[index] for outputs in made]) for index, name in enumerate(names)}

    def _row(self, index: int) -> dict[str, np.ndarray]:
        part = slice(index, index + 1) if self.max_batch else index
        return {name: array[part] for name, array in self.arrays.items()}


def load(file: Path, samples: Path | None = None, shapes: Mapping[str, Sequence[int]] | None = None) -> OnnxFile:
    """Open an ONNX file with the samples of an .npz ([N, ...] by input name), else with random ones of its shapes.

    `shapes` says what the dimensions behind the batch are where the file leaves them free. ModelError for a file that is no
    ONNX model, for tensors that cannot be served or made, and for samples that do not fit.
    """
    try:
        import onnx
    except ImportError:
        raise MissingPackage("onnx", "cpu", "reading an ONNX file") from None
    need_file(file, "an ONNX file")
    try:
        graph = onnx.load(file, load_external_data=False).graph
    except Exception as error:
        raise ModelError(f"{file}: is no ONNX model: {_line(error)}") from None
    weights = {tensor.name for tensor in graph.initializer}
    entries = [value for value in graph.input if value.name not in weights]
    if not entries or not graph.output:
        raise ModelError(f"{file}: has no input or no output, so it cannot be served")
    found = [[_tensor(file, value) for value in values] for values in (entries, graph.output)]
    batched = all(spec.dims and spec.dims[0] == -1 for specs in found for spec in specs)
    inputs, outputs = (tuple(Tensor(s.name, s.dtype, s.dims[batched:]) for s in specs) for specs in found)
    largest = LARGEST if batched else 0
    arrays = _read(samples, inputs, shapes or {}) if samples else _random(file, inputs, shapes or {})
    return OnnxFile(file.resolve(), inputs, outputs, largest, arrays, samples.name if samples else "random")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _tensor(file: Path, value: Any) -> Tensor:
    import onnx

    kind = value.type.tensor_type
    if (
        not value.type.HasField("tensor_type")
        or kind.elem_type == onnx.TensorProto.STRING
        or not kind.HasField("shape")
    ):
        raise ModelError(
            f"{file}: {value.name} is no tensor of numbers with a known rank: the kit cannot make or compare it"
        )
    dtype = str(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
    dims = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in kind.shape.dim)
    return Tensor(value.name, dtype, dims)


def _random(file: Path, inputs: Sequence[Tensor], shapes: Mapping[str, Sequence[int]]) -> dict[str, np.ndarray]:
    """Floats of a standard normal distribution, integers and booleans 0 or 1: safe as an index, a mask and a type."""
    if unknown := set(shapes) - {spec.name for spec in inputs}:
        raise ModelError(
            f"{file}: has no input {', '.join(sorted(unknown))}: it has {', '.join(s.name for s in inputs)}"
        )
    generator, arrays = np.random.default_rng(0), {}
    for spec in inputs:
        dims = tuple(shapes.get(spec.name, spec.dims))
        if not _fits(dims, spec.dims) or -1 in dims:
            free = "x".join("?" if dim < 0 else str(dim) for dim in spec.dims)
            raise ModelError(
                f"{file}: input {spec.name} is {free}: give --shape {spec.name}:... or samples with --inputs"
            )
        whole = (SAMPLES, *dims)
        real = np.issubdtype(np.dtype(spec.dtype), np.floating)
        arrays[spec.name] = (generator.standard_normal(whole) if real else generator.integers(0, 2, whole)).astype(
            spec.dtype
        )
    return arrays


def _fits(dims: Sequence[int], wanted: Sequence[int]) -> bool:
    return len(dims) == len(wanted) and all(want in (-1, dim) for dim, want in zip(dims, wanted))


def _read(path: Path, inputs: Sequence[Tensor], shapes: Mapping[str, Sequence[int]]) -> dict[str, np.ndarray]:
    if shapes:
        raise ModelError(f"{path}: has the shapes already: leave --shape out")
    names = [spec.name for spec in inputs]
    wanted = f"an .npz that numpy.savez wrote, with the arrays {', '.join(names)}"
    need_file(path, wanted)
    if not zipfile.is_zipfile(path):
        raise ModelError(f"{path}: is no .npz: name {wanted}")
    try:
        with np.load(path, allow_pickle=False) as content:
            has = content.files
            arrays = {name: content[name] for name in names if name in has}
    except Exception as error:
        raise ModelError(f"{path}: is no .npz of arrays: {_line(error)}") from None
    if lacking := [name for name in names if name not in arrays]:
        have = ", ".join(has) or "none"
        raise ModelError(f"{path}: lacks {', '.join(lacking)}: it has {have}; the model wants {', '.join(names)}")
    for spec in inputs:
        array = arrays[spec.name]
        if array.dtype != spec.dtype or not _fits(array.shape[1:], spec.dims):
            dims = "x".join("?" if dim < 0 else str(dim) for dim in spec.dims)
            have = "x".join(map(str, array.shape))
            raise ModelError(f"{path}: {spec.name} is {array.dtype} {have}, the model wants {spec.dtype} Nx{dims}")
    counts = {name: len(array) for name, array in arrays.items()}
    if len(set(counts.values())) != 1 or not next(iter(counts.values())):
        raise ModelError(f"{path}: every input needs the same number of samples, at least one: {counts}")
    return arrays
