"""A GPT on vLLM, the engine that pages its key-value cache and takes every request into the batch that runs."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from accelkit import repository
from accelkit.backends.vllm import keys
from accelkit.errors import ConfigError
from accelkit.paths import GENERATES, Built, served_name

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    from accelkit.machine import Machine
    from accelkit.models import Model
    from accelkit.models.gpt.model import Gpt

NAME = "vllm"
BACKEND = "vllm"
NEEDS = "an NVIDIA GPU, vLLM and a transformer language model"
PRECISIONS = ("fp32",)
EVIDENCE = "vllm"
GPU = True
REDUCED = None
TEXT = True
DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


def unavailable(machine: Machine, model: Model | None = None) -> str | None:
    """Return what is missing: a GPU, the package vllm, or a GPT where the model is another."""
    from accelkit import interpreters

    if model is not None and model.kind != GENERATES:
        return f"needs {NEEDS}; {model.name} generates nothing"
    missing = [] if machine.gpus else ["an NVIDIA GPU"]
    if "vllm" not in interpreters.has(NAME, BACKEND, machine):
        missing.append("the package vllm (pip install vllm, into a Python of its own that ACCELKIT_PYTHON_VLLM names)")
    return f"needs {NEEDS}; missing here: {', '.join(missing)}" if missing else None


def build(
    model: Model,
    directory: Path,
    precision: str = "fp32",
    tensor_para: int = 1,
    pipeline_para: int = 1,
    data_type: str = "fp32",
    arguments: Mapping[str, Any] | None = None,
) -> Built:
    """Write model.json into `directory`, and the checkpoint that it names into the kit's cache if it is not there yet."""
    from accelkit.models.gpt import huggingface

    started, gpt = time.perf_counter(), _gpt(model)
    checkpoint, file = huggingface.directory(gpt), directory / keys.ARGUMENTS
    directory.mkdir(parents=True, exist_ok=True)
    given = engine(str(checkpoint), gpt.sizes.positions, tensor_para, pipeline_para, data_type, arguments)
    file.write_text(json.dumps(given, indent=1) + "\n", encoding="utf-8")
    size = sum(one.stat().st_size for one in checkpoint.iterdir()) / 1e6
    return Built({keys.ARGUMENTS: file}, time.perf_counter() - started, size)


def engine(
    checkpoint: str,
    positions: int,
    tensor_para: int = 1,
    pipeline_para: int = 1,
    data_type: str = "fp32",
    arguments: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what model.json says: arguments of vLLM's AsyncEngineArgs; `arguments` are added, or take a place."""
    return {
        "model": checkpoint, "dtype": DTYPES[data_type], "max_model_len": positions, "gpu_memory_utilization": 0.5,
        keys.TENSOR_PARA: tensor_para, keys.PIPELINE_PARA: pipeline_para, **(arguments or {}),
    }  # fmt: skip


def config(
    model: Model, *, precision: str = "fp32", name: str | None = None, parameters: Mapping[str, str] | None = None
) -> ModelConfig:
    """Return the ModelConfig: vLLM batches and takes the GPUs by itself, so there is no batch here and KIND_MODEL."""
    _gpt(model)
    inputs = [
        {"name": io, "data_type": f"TYPE_{kind}", "dims": [length], "optional": io != keys.TEXT}
        for io, (kind, length) in keys.INPUTS.items()
        if io not in keys.ABSENT
    ]
    outputs = [
        {"name": io, "data_type": f"TYPE_{kind}", "dims": [length]} for io, (kind, length) in keys.OUTPUTS.items()
    ]
    return repository.new(
        name=name or served_name(model, NAME, precision),
        backend=BACKEND,
        max_batch_size=0,
        input=inputs,
        output=outputs,
        instance_group=[{"kind": "KIND_MODEL", "count": 1}],
        model_transaction_policy={"decoupled": True},
        parameters={key: {"string_value": value} for key, value in (parameters or {}).items()},
    )


def _gpt(model: Model) -> Gpt:
    if model.kind != GENERATES:
        raise ConfigError(f"path {NAME} needs {NEEDS}; {model.name} generates nothing")
    return cast("Gpt", model)
