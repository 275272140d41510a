"""A GPT in FasterTransformer's checkpoint layout, cut over processes by tensor and pipeline parallelism."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from accelkit import repository
from accelkit.errors import ConfigError
from accelkit.paths import GENERATES, Built, served_name

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    from accelkit.machine import Machine
    from accelkit.models import Model
    from accelkit.models.gpt.model import Gpt

NAME = "fastertransformer"
BACKEND = "fastertransformer"
NEEDS = "a GPT and the package torch, for the stand-in of a backend that no NVIDIA image has shipped"
PRECISIONS = ("fp32",)
EVIDENCE = "fastertransformer"
GPU = False
REDUCED = None
# What a request may say beside the three that it must: name, type, dims.
OPTIONAL = (
    ("runtime_top_k", "UINT32", [1]), ("runtime_top_p", "FP32", [1]), ("temperature", "FP32", [1]),
    ("repetition_penalty", "FP32", [1]), ("random_seed", "UINT64", [1]), ("is_return_log_probs", "BOOL", [1]),
    ("beam_width", "UINT32", [1]), ("end_id", "UINT32", [1]), ("stop_words_list", "INT32", [2, -1]),
    ("bad_words_list", "INT32", [2, -1]),
)  # fmt: skip


def unavailable(machine: Machine, model: Model | None = None) -> str | None:
    """Return what is missing: the package torch, or a GPT where the model is another."""
    from accelkit import interpreters

    if model is not None and model.kind != GENERATES:
        return f"needs {NEEDS}; {model.name} generates nothing"
    there = "torch" in interpreters.has(NAME, BACKEND, machine)
    return None if there else f"needs {NEEDS}; missing here: pip install 'accelkit[torch]'"


def build(model: Model, directory: Path, precision: str = "fp32", tensor_para: int = 1) -> Built:
    """Cut the GPT's weights for so many ranks in `directory`; ModelError when they cannot be cut so."""
    from accelkit.models.gpt import checkpoint

    started, gpt = time.perf_counter(), _gpt(model)
    target = checkpoint.write(gpt.state(), gpt.sizes, directory, tensor_para, name=gpt.variant)
    files = {f"{target.name}/{file.name}": file for file in sorted(target.iterdir())}
    return Built(files, time.perf_counter() - started, sum(file.stat().st_size for file in files.values()) / 1e6)


def config(
    model: Model,
    *,
    precision: str = "fp32",
    name: str | None = None,
    max_batch_size: int | None = None,
    instances: int = 1,
    dynamic_batching: bool = True,
    tensor_para: int = 1,
    pipeline_para: int = 1,
    data_type: str = "fp32",
    streaming: bool = False,
    parameters: Mapping[str, str] | None = None,
) -> ModelConfig:
    """Return the ModelConfig for `tensor_para` times `pipeline_para` ranks; `streaming` sends every id when it is there.

    `parameters` are passed on as they are; accelkit.lint names those that the backend does not know.
    """
    gpt = _gpt(model)
    values = {
        "tensor_para_size": str(tensor_para), "pipeline_para_size": str(pipeline_para), "data_type": data_type,
        "model_type": "GPT", **(parameters or {}),
    }  # fmt: skip
    ids = {"name": "input_ids", "data_type": "TYPE_UINT32", "dims": [-1], "allow_ragged_batch": True}
    given = [("input_lengths", "UINT32", [1]), ("request_output_len", "UINT32", [-1])]
    inputs = [ids, *(_tensor(*one) for one in given), *({**_tensor(*one), "optional": True} for one in OPTIONAL)]
    outputs = [
        _tensor("output_ids", "UINT32", [-1, -1]), _tensor("sequence_length", "UINT32", [-1]),
        _tensor("response_input_lengths", "INT32", [-1]), _tensor("cum_log_probs", "FP32", [-1]),
        _tensor("output_log_probs", "FP32", [-1, -1]),
    ]  # fmt: skip
    item = {"kind": "BATCH_ITEM_SHAPE", "target_name": ["input_ids_item_shape"], "data_type": "TYPE_INT32"}
    return repository.new(
        name=name or served_name(model, NAME, precision),
        backend=BACKEND,
        max_batch_size=gpt.max_batch if max_batch_size is None else max_batch_size,
        input=inputs,
        output=outputs,
        batch_input=[{**item, "source_input": ["input_ids"]}],
        instance_group=[{"kind": "KIND_CPU", "count": instances}],
        dynamic_batching={} if dynamic_batching else None,
        model_transaction_policy={"decoupled": True} if streaming else None,
        parameters={key: {"string_value": value} for key, value in values.items()},
    )


def _tensor(name: str, kind: str, dims: list[int]) -> dict[str, object]:
    """A tensor; one value for each row comes to the backend without the 1."""
    scalar: dict[str, object] = {"reshape": {"shape": []}} if dims == [1] else {}
    return {"name": name, "data_type": f"TYPE_{kind}", "dims": dims, **scalar}


def _gpt(model: Model) -> Gpt:
    if model.kind != GENERATES:
        raise ConfigError(f"path {NAME} needs {NEEDS}; {model.name} generates nothing")
    return cast("Gpt", model)
