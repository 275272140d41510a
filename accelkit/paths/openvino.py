"""OpenVINO's own backend: the ONNX file as OpenVINO's IR, in FP32 or with the Q/DQ pairs of the quantized file.

The official backend compiles a model with max_batch_size for that batch alone: a smaller one is an error, or with padding
costs as much as the largest. So the config is made for the batch that requests have; max_batch_size 0 makes the batch a
dimension of the model like any other, of any size, and leaves the server nothing to gather.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from accelkit import repository
from accelkit.errors import MissingPackage, ModelError
from accelkit.paths import Built, served_name

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    from accelkit.machine import Machine
    from accelkit.models import Model, Tensor

NAME = "openvino"
BACKEND = "openvino"
NEEDS = "a CPU and the package openvino; nncf for INT8"
PRECISIONS = ("fp32", "int8")
EVIDENCE = "openvino"
GPU = False
REDUCED = "bf16"


def unavailable(machine: Machine, model: Model | None = None) -> str | None:
    """Return what is missing, or why OpenVINO cannot take a model of this kind."""
    if "openvino" not in machine.runtimes:
        return f"needs {NEEDS}; missing here: pip install 'accelkit[cpu]'"
    if model is not None and model.kind == "forest":
        return "OpenVINO reads neural networks; it has no operators for forests of trees"
    return None


def build(model: Model, directory: Path, precision: str = "fp32") -> Built:
    """Return model.xml and model.bin, made in `directory` with the weights as they are; ModelError if it cannot be read."""
    started = time.perf_counter()
    if precision == "int8":
        from accelkit.models import quantize

        source = quantize.int8_onnx(model)
    else:
        source = model.onnx()
    try:
        import openvino
    except ImportError:
        raise MissingPackage("openvino", "cpu", "building a model for OpenVINO") from None
    target = directory / "model.xml"
    try:
        # Weights are rounded to FP16 unless told not to: faster to load, and 1e-3 away from the model.
        openvino.save_model(openvino.Core().read_model(source), target, compress_to_fp16=False)
    except RuntimeError as error:
        last = [line.strip() for line in str(error).splitlines() if line.strip()][-1]  # before it, places in its source
        raise ModelError(f"OpenVINO cannot read {source}: {last}") from None
    files = {path.name: path for path in (target, target.with_suffix(".bin"))}
    return Built(files, time.perf_counter() - started, sum(path.stat().st_size for path in files.values()) / 1e6)


def config(
    model: Model,
    *,
    precision: str = "fp32",
    name: str | None = None,
    batch: int = 16,
    max_batch_size: int | None = None,
    instances: int = 1,
    threads: int | None = None,
    streams: int | str | None = None,
    hint: str | None = None,
    padding: bool = True,
    dynamic_batching: bool = True,
    parameters: Mapping[str, str] | None = None,
) -> ModelConfig:
    """Return the ModelConfig for requests of `batch`, which max_batch_size None takes over; 0 leaves the batch free.

    `threads` of all streams together, `streams` and `hint` None leave OpenVINO's choice: one stream, a thread per core.
    """
    able = batch if model.max_batch > 1 else model.max_batch
    largest = able if max_batch_size is None else max_batch_size
    chosen = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": streams, "PERFORMANCE_HINT": hint}
    values = {key: str(value) for key, value in chosen.items() if value is not None}
    values |= ({"ENABLE_BATCH_PADDING": "YES"} if padding and largest > 1 else {}) | dict(parameters or {})
    front = (-1,) if model.max_batch and not largest else ()

    def tensor(spec: Tensor) -> dict[str, object]:
        return repository.tensor(replace(spec, dims=(*front, *spec.dims)))

    return repository.new(
        name=name or served_name(model, NAME, precision),
        backend=BACKEND,
        max_batch_size=largest,
        input=[tensor(spec) for spec in model.inputs],
        output=[tensor(spec) for spec in model.outputs],
        instance_group=[{"kind": "KIND_CPU", "count": instances}],
        dynamic_batching={} if dynamic_batching and largest > 1 else None,
        parameters={key: {"string_value": value} for key, value in values.items()},
    )
