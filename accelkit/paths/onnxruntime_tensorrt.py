"""TensorRT inside ONNX Runtime: it takes every part of the graph that it can, the CUDA provider takes the rest.

An engine is built for a range of shapes, at load where the config names the range, else at the first request of each new
shape; that takes seconds to minutes, and a cache on disk saves it at the next start.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from accelkit.paths import served_name
from accelkit.paths.onnxruntime_cuda import build, lacking, on_gpu

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    from accelkit.machine import Machine
    from accelkit.models import Model

__all__ = ["BACKEND", "EVIDENCE", "GPU", "NAME", "NEEDS", "PRECISIONS", "REDUCED", "build", "config", "unavailable"]
NAME = "onnxruntime-tensorrt"
BACKEND = "onnxruntime"
NEEDS = "an NVIDIA GPU, ONNX Runtime with its TensorRT provider and the TensorRT libraries"
PRECISIONS = ("fp32", "fp16")
EVIDENCE = "onnxruntime-tensorrt"
GPU = True
REDUCED = "tf32"


def unavailable(machine: Machine, model: Model | None = None) -> str | None:
    """Return what is missing, or why a GPU has nothing to do for a model of this kind."""
    return lacking(NAME, machine, model, NEEDS, "onnxruntime-gpu", "tensorrt")


def config(
    model: Model,
    *,
    precision: str = "fp32",
    name: str | None = None,
    batch: int = 16,
    max_batch_size: int | None = None,
    instances: int = 1,
    cache: str | None = None,
    weak_typing: bool = False,
    warmup: bool = True,
    provider: Mapping[str, str] | None = None,
    parameters: Mapping[str, str] | None = None,
    **settings: Any,
) -> ModelConfig:
    """Return the ModelConfig: one engine for batches of 1 to the largest, tuned for `batch`.

    `cache` is the directory of engines and timings as the server sees it, none without. `weak_typing` asks for the file's
    FP16 by precision_mode too, without which TensorRT 8 makes nothing of it. `warmup` sends the smallest, the tuned and the
    largest batch before the model is ready. `provider` are further parameters of the accelerator.
    """
    largest = max(batch, model.max_batch) if max_batch_size is None and model.max_batch else max_batch_size or 0
    batches = sorted({1, min(batch, largest), largest}) if largest else [0]
    values = {"precision_mode": "FP16"} if weak_typing and precision == "fp16" else {}
    free = any(dim < 0 for spec in model.inputs for dim in spec.dims)
    if largest and not free:
        for edge, size in zip(("min", "opt", "max"), (1, min(batch, largest), largest)):
            shapes = (f"{spec.name}:{'x'.join(map(str, (size, *spec.dims)))}" for spec in model.inputs)
            values[f"trt_profile_{edge}_shapes"] = ",".join(shapes)
    if cache is not None:
        for kind in ("engine", "timing"):
            values |= {f"trt_{kind}_cache_enable": "1", f"trt_{kind}_cache_path": cache}
    name = name or served_name(model, NAME, precision)
    made = on_gpu(model, name, instances, parameters or {}, max_batch_size=largest, **settings)
    accelerators = made.optimization.execution_accelerators.gpu_execution_accelerator
    accelerators.add(name="tensorrt", parameters={**values, **(provider or {})})
    for size in batches if warmup and not free else ():
        sample = made.model_warmup.add(name=f"batch_{size}", batch_size=size or 1)
        for entry in made.input:
            sample.inputs[entry.name].data_type = entry.data_type
            sample.inputs[entry.name].dims.extend(entry.dims)
            sample.inputs[entry.name].zero_data = True
    return made
