"""Tensors between the server and PyTorch: types of a configuration, requests to one batch, results to responses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from accelkit.backends.key import Refused

TYPES = {
    "BOOL": torch.bool, "UINT8": torch.uint8, "INT8": torch.int8, "INT16": torch.int16, "INT32": torch.int32,
    "INT64": torch.int64, "FP16": torch.float16, "FP32": torch.float32, "FP64": torch.float64,
}  # fmt: skip
"""Triton's types that the backend has; strings, which it takes as a list, are not offered here."""
NAMES = {kind: name for name, kind in TYPES.items()} | {torch.bfloat16: "BF16"}


@dataclass(frozen=True)
class Side:
    """An input or output: its name, its place among the model's, and Triton's name of its type."""

    name: str
    place: int
    kind: str


@dataclass(frozen=True)
class Program:
    """A loaded model: what calls it with its inputs in order, its sides, its device, and what a report is written from."""

    call: Callable[[list[Any]], list[Any]]
    inputs: tuple[Side, ...]
    outputs: tuple[Side, ...]
    device: torch.device
    facts: Mapping[str, Any]


def sides(model: str, side: str, config: Mapping[str, Any], placed: Sequence[int]) -> tuple[Side, ...]:
    """Return the inputs or outputs of a configuration at their places; Refused for a type that the backend lacks."""
    listed = config.get(side) or []
    if not listed:
        raise Refused(f"model configuration must contain at least one {side}, none were specified.")
    found = []
    for entry, place in zip(listed, placed):
        kind, name = entry["data_type"].replace("TYPE_", "", 1), entry["name"]
        if kind not in TYPES and kind != "STRING":
            raise Refused(f"unsupported datatype {entry['data_type']} for {side} '{name}' for model '{model}'")
        if kind == "STRING":
            raise Refused(f"model '{model}' has strings as {side} '{name}', {LACKS}")
        if entry.get("allow_ragged_batch"):
            raise Refused(f"model '{model}' has the ragged {side} '{name}', {LACKS}")
        found.append(Side(name, place, kind))
    return tuple(found)


LACKS = "which this Python-based stand-in of the backend does not offer"


def offered(model: str, config: Mapping[str, Any]) -> None:
    """Refuse what the stand-in does not have: tensors that the server makes, and the state of sequences."""
    for part in ("batch_input", "batch_output"):
        if config.get(part):
            raise Refused(f"model '{model}' has {part}, {LACKS}")
    sequences = config.get("sequence_batching") or {}
    if sequences.get("state") or sequences.get("control_input"):
        raise Refused(f"model '{model}' has sequence controls or state, {LACKS}")


def received(tensor: Any) -> torch.Tensor:
    """Return a request's tensor without a copy."""
    return torch.from_dlpack(tensor.to_dlpack())


def joined(parts: list[torch.Tensor], device: torch.device) -> torch.Tensor:
    """Return the parts of several requests as one batch on a device, through page-locked memory where that is a GPU."""
    if device.type != "cuda":
        return parts[0] if len(parts) == 1 else torch.cat(parts)
    if not parts[0].dim():
        return parts[0].pin_memory().to(device, non_blocking=True)
    rows = sum(len(part) for part in parts)
    staged = torch.empty((rows, *parts[0].shape[1:]), dtype=parts[0].dtype, pin_memory=True)
    # By one thread: PyTorch shares a copy out to as many as there are cores, and those of several instances wait for each other.
    np.concatenate([part.numpy() for part in parts], out=staged.numpy())
    return staged.to(device, non_blocking=True)


def returned(value: Any, side: Side) -> torch.Tensor:
    """Return an output in the host's memory, dense; Refused for what the configuration denies."""
    if not isinstance(value, torch.Tensor):
        raise Refused(f"output '{side.name}' must be of type Tensor or List[str].")
    kind = NAMES.get(value.dtype, str(value.dtype))
    if kind != side.kind:
        raise Refused(
            f"configuration expects datatype TYPE_{side.kind} for output '{side.name}', model provides TYPE_{kind}"
        )
    if not value.dim():
        raise Refused(f"output '{side.name}' is a scalar which is not supported.")
    value = value.detach().contiguous()
    if value.device.type == "cpu":
        return value
    staged = torch.empty(value.shape, dtype=value.dtype, pin_memory=True)
    return staged.copy_(value, non_blocking=True)
