"""The baseline: the ONNX file as it is, on ONNX Runtime's CPU provider in FP32."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from accelkit import repository
from accelkit.paths import Built

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    from accelkit.machine import Machine
    from accelkit.models import Model

NAME = "onnxruntime-cpu"
BACKEND = "onnxruntime"
NEEDS = "a CPU and the package onnxruntime"
PRECISION = "fp32"
EVIDENCE = "onnxruntime"


def unavailable(machine: Machine) -> str | None:
    """Return what is missing: the package onnxruntime, in any of its builds."""
    if any(name in machine.runtimes for name in ("onnxruntime", "onnxruntime-gpu")):
        return None
    return f"needs {NEEDS}; missing here: pip install 'accelkit[cpu]'"


def build(model: Model, directory: Path) -> Built:
    """Return the model's ONNX file, made if it is not in the cache; nothing is built in `directory`."""
    started = time.perf_counter()
    file = model.onnx()
    return Built({"model.onnx": file}, time.perf_counter() - started, file.stat().st_size / 1e6)


def config(
    model: Model,
    *,
    name: str | None = None,
    max_batch_size: int = 64,
    instances: int = 1,
    dynamic_batching: bool = True,
    threads: int | None = None,
    graph_level: int | None = None,
    parameters: Mapping[str, str] | None = None,
) -> ModelConfig:
    """Return the ModelConfig; `threads` None leaves ONNX Runtime's default, one per physical core.

    `parameters` are passed on as they are; repository.warnings names those that the backend does not know.
    """
    values = {} if threads is None else {"intra_op_thread_count": str(threads)}
    values |= parameters or {}
    return repository.new(
        name=name or f"{model.name}_onnxruntime_cpu",
        backend=BACKEND,
        max_batch_size=max_batch_size,
        input=[repository.tensor(spec) for spec in model.inputs],
        output=[repository.tensor(spec) for spec in model.outputs],
        instance_group=[{"kind": "KIND_CPU", "count": instances}],
        dynamic_batching={} if dynamic_batching else None,
        optimization={"graph": {"level": graph_level}} if graph_level is not None else None,
        parameters={key: {"string_value": value} for key, value in values.items()},
    )
