"""The baseline: the ONNX file as it is, on ONNX Runtime's CPU provider; in INT8 a file with Q/DQ nodes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from accelkit import repository
from accelkit.paths import Built, served_name

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    from accelkit.machine import Machine
    from accelkit.models import Model

NAME = "onnxruntime-cpu"
BACKEND = "onnxruntime"
NEEDS = "a CPU and the package onnxruntime"
PRECISIONS = ("fp32", "int8")
EVIDENCE = "onnxruntime"
GPU = False
REDUCED = None


def unavailable(machine: Machine, model: Model | None = None) -> str | None:
    """Return what is missing: the package onnxruntime, in any of its builds."""
    if any(name in machine.runtimes for name in ("onnxruntime", "onnxruntime-gpu")):
        return None
    return f"needs {NEEDS}; missing here: pip install 'accelkit[cpu]'"


def build(model: Model, directory: Path, precision: str = "fp32") -> Built:
    """Return the model's ONNX file, made if it is not in the cache; nothing is built in `directory`."""
    started = time.perf_counter()
    if precision == "int8":
        from accelkit.models import quantize

        file = quantize.int8_onnx(model)
    else:
        file = model.onnx()
    return Built({"model.onnx": file}, time.perf_counter() - started, file.stat().st_size / 1e6)


def config(
    model: Model,
    *,
    precision: str = "fp32",
    name: str | None = None,
    max_batch_size: int | None = None,
    instances: int = 1,
    dynamic_batching: bool = True,
    threads: int | None = None,
    graph_level: int | None = None,
    parameters: Mapping[str, str] | None = None,
) -> ModelConfig:
    """Return the ModelConfig; `threads` None leaves ONNX Runtime's default, one per physical core.

    `parameters` are passed on as they are; accelkit.lint names those that the backend does not know.
    """
    largest = model.max_batch if max_batch_size is None else max_batch_size
    values = {} if threads is None else {"intra_op_thread_count": str(threads)}
    values |= parameters or {}
    return repository.new(
        name=name or served_name(model, NAME, precision),
        backend=BACKEND,
        max_batch_size=largest,
        input=[repository.tensor(spec) for spec in model.inputs],
        output=[repository.tensor(spec) for spec in model.outputs],
        instance_group=[{"kind": "KIND_CPU", "count": instances}],
        dynamic_batching={} if dynamic_batching and largest > 1 else None,
        optimization={"graph": {"level": graph_level}} if graph_level is not None else None,
        parameters={key: {"string_value": value} for key, value in values.items()},
    )
