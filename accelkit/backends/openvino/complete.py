"""Auto-complete of a model configuration, as the official backend does it: batching from the file's layout, then I/O."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import openvino as ov

from accelkit.backends.openvino import keys, reading

_NAMES = {kind: name for name, kind in reading.TYPES.items()}


def complete(model: str, path: Path, config: Mapping[str, Any], command: Mapping[str, str], log: Any) -> dict[str, Any]:
    """The configuration with batching, inputs and outputs filled in."""
    found, result = reading.read(ov.Core(), path), dict(config)
    ports = {"input": found.inputs, "output": found.outputs}
    _batching(model, result, [port for side in ports.values() for port in side], command, log)
    for side, known in ports.items():
        if result.get(side):
            log.log_info(f"skipping {side} model configuration auto-complete for '{model}': {side} already specified")
        else:
            batched = result["max_batch_size"] > 0
            result[side] = [_entry(name, port, batched) for name, port in reading.names(known).items()]
    return result


def _batching(model: str, config: dict[str, Any], ports: list[Any], command: Mapping[str, str], log: Any) -> None:
    batch = int(config.get("max_batch_size") or 0)
    config["max_batch_size"] = batch
    if not all(ov.layout_helpers.has_batch(ov.layout_helpers.get_layout(port)) for port in ports):
        if batch:
            log.log_warn(
                f"model layout for model {model} does not support batching while non-zero max_batch_size is specified"
            )
        return
    if batch == 0:
        batch = max(1, keys.DEFAULT_MAX_BATCH.integer(command))
        log.log_warn(
            f"autofilled max_batch_size to {batch} for model '{model}' since batching is supported but no max_batch_size is "
            "specified in model configuration. Must specify max_batch_size to utilize autofill with a larger max batch size"
        )
    config["max_batch_size"] = batch
    if batch > 1 and "sequence_batching" not in config and "dynamic_batching" not in config:
        config["dynamic_batching"] = {}


def _entry(name: str, port: Any, batched: bool) -> dict[str, Any]:
    """An input or output; when one size is free all become -1, as with the official backend."""
    shape = port.get_partial_shape()
    sizes = [size.get_length() if shape.is_static else -1 for size in shape]
    kind = _NAMES.get(port.get_element_type(), "INVALID")
    return {"name": name, "data_type": f"TYPE_{kind}", "dims": sizes[1:] if batched else sizes}
