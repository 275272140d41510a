"""The tensors of a plan held against its configuration, in the words of the official backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from accelkit.backends.key import Refused
from accelkit.backends.tensorrt.plan import Plan

# TensorRT's element types -> Triton's names of them and NumPy's types; bfloat16, which NumPy lacks, is refused.
TYPES = {
    "FLOAT": ("FP32", np.float32), "HALF": ("FP16", np.float16), "INT8": ("INT8", np.int8), "UINT8": ("UINT8", np.uint8),
    "INT32": ("INT32", np.int32), "INT64": ("INT64", np.int64), "BOOL": ("BOOL", np.bool_),
}  # fmt: skip


@dataclass(frozen=True)
class Tensor:
    """An input or output of the plan: its place among them, Triton's and NumPy's type, shape with -1 for free sizes."""

    name: str
    is_input: bool
    kind: str
    dtype: np.dtype
    shape: tuple[int, ...]
    shape_values: bool
    linear: bool


def tensors(plan: Plan) -> dict[str, Tensor]:
    """Every input and output by name, in the plan's order."""
    trt, engine, found = plan.trt, plan.engine, {}
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        kind, dtype = TYPES.get(engine.get_tensor_dtype(name).name, ("INVALID", np.void))
        found[name] = Tensor(
            name, engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT, kind, np.dtype(dtype),
            tuple(int(size) for size in engine.get_tensor_shape(name)), bool(engine.is_shape_inference_io(name)),
            engine.get_tensor_format(name) == trt.TensorFormat.LINEAR,
        )  # fmt: skip
    return found


def dims_of(entry: Mapping[str, Any]) -> list[int]:
    """The dims of an input or output of a configuration, reshaped as it says."""
    shape = entry["reshape"].get("shape") or [] if entry.get("reshape") else entry.get("dims") or []
    return [int(size) for size in shape]


def check(model: str, instance: str, config: Mapping[str, Any], known: Mapping[str, Tensor]) -> None:
    """Refuse a configuration whose names, types or shapes are not the plan's, or that asks for what is not here."""
    _offered(model, config)
    inputs = [name for name, tensor in known.items() if tensor.is_input]
    if len(inputs) < len(config["input"]):
        raise Refused(
            f"unable to load model '{model}', configuration expects {len(config['input'])} inputs, model provides at most "
            f"{len(inputs)}"
        )
    batch = int(config.get("max_batch_size") or 0)
    for side in ("input", "output"):
        allowed = sorted(name for name, tensor in known.items() if tensor.is_input == (side == "input"))
        for entry in config[side]:
            if entry["name"] not in allowed:
                raise Refused(
                    f"unexpected inference {side} '{entry['name']}', allowed {side}s are: {', '.join(allowed)}"
                )
            _check(model, instance, side, entry, known[entry["name"]], batch)


def _offered(model: str, config: Mapping[str, Any]) -> None:
    for part in ("batch_input", "batch_output"):
        if config.get(part):
            raise Refused(f"model '{model}' has {part}, which this Python-based stand-in of the backend does not offer")
    sequences = config.get("sequence_batching") or {}
    if sequences.get("state") or sequences.get("control_input"):
        raise Refused(
            f"model '{model}' has sequence controls or state, which this Python-based stand-in of the backend does not offer"
        )


def _check(model: str, instance: str, side: str, entry: Mapping[str, Any], tensor: Tensor, batch: int) -> None:
    name, lacks = tensor.name, "which this Python-based stand-in of the backend does not offer"
    if entry.get("allow_ragged_batch"):
        raise Refused(f"model '{model}' has the ragged {side} '{name}', {lacks}")
    if entry.get("is_shape_tensor") and not tensor.shape_values:
        raise Refused(
            f"{side} '{name}' for model '{model}' is incorrectly marked as a shape tensor in the model configuration."
        )
    if tensor.shape_values:
        raise Refused(f"model '{model}' has the shape tensor '{name}', {lacks}")
    if entry.get("is_non_linear_format_io") and tensor.linear:
        raise Refused(
            f"{side} '{name}' for model '{model}' uses a linear IO format, but 'is_non_linear_format_io' is incorrectly set to "
            "true in the model configuration."
        )
    if not tensor.linear:
        raise Refused(f"model '{model}' has {side} '{name}' in a non-linear format, {lacks}")
    wanted = entry["data_type"].replace("TYPE_", "", 1)
    if wanted != tensor.kind:
        raise Refused(
            f"unexpected datatype TYPE_{tensor.kind} for inference {side} '{name}', expecting TYPE_{wanted} for {instance}"
        )
    _compare(model, tensor, dims_of(entry), batch)


def _compare(model: str, tensor: Tensor, dims: Sequence[int], batch: int) -> None:
    full = [-1, *dims] if batch else list(dims)
    same = len(full) == len(tensor.shape) and all(
        -1 in (have, want) or have == want for have, want in zip(tensor.shape, full)
    )
    if not same:
        whole = (
            "an initial batch dimension because max_batch_size > 0 followed by the explicit tensor shape, making complete "
            if batch
            else ""
        )
        raise Refused(
            f"model '{model}', tensor '{tensor.name}': the model expects {len(tensor.shape)} dimensions (shape "
            f"{text(tensor.shape)}) but the model configuration specifies {len(full)} dimensions ({whole}shape {text(full)})"
        )


def text(dims: Sequence[int]) -> str:
    """Sizes as the official backend writes them."""
    return "[" + ",".join(str(size) for size in dims) + "]"
