"""Auto-complete of a model configuration, as the official backend does it: from the model file, when I/O is missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accelkit.backends import host
from accelkit.backends.key import Refused
from accelkit.backends.onnxruntime import keys
from accelkit.backends.onnxruntime.session import Place, open_session
from accelkit.backends.onnxruntime.signature import Tensor, tensors


def complete(place: Place, config: dict[str, Any], arguments: list[str], log: Any) -> dict[str, Any]:
    """The configuration with batching, inputs and outputs filled in."""
    session = open_session(place, config, arguments)
    inputs, outputs = tensors(session.get_inputs()), tensors(session.get_outputs())
    config = dict(config)
    _batching(place.model, config, [*inputs.values(), *outputs.values()], host.settings("onnxruntime", arguments), log)
    for side, known in (("input", inputs), ("output", outputs)):
        if not config.get(side):
            config[side] = [_entry(tensor, config["max_batch_size"] > 0) for tensor in known.values()]
    return config


def _batching(model: str, config: dict[str, Any], found: list[Tensor], command: Mapping[str, str], log: Any) -> None:
    """Decide max_batch_size and dynamic_batching; all tensors with a free first dimension make a model batchable."""
    batch = int(config.get("max_batch_size") or 0)
    if not all(tensor.dims and tensor.dims[0] == -1 for tensor in found):
        if batch:
            raise Refused(
                f"autofill failed for model '{model}': model does not support batching while non-zero max_batch_size "
                "is specified"
            )
        return
    if batch == 0:
        batch = max(0, keys.DEFAULT_MAX_BATCH.integer(command))
        log.log_warn(
            f"autofilled max_batch_size to {batch} for model '{model}' since batching is supporrted but no max_batch_size "
            "is specified in model configuration. Must specify max_batch_size to utilize autofill with a larger max batch size"
        )
    config["max_batch_size"] = batch
    if batch > 1 and "sequence_batching" not in config and "dynamic_batching" not in config:
        config["dynamic_batching"] = {}


def _entry(tensor: Tensor, batched: bool) -> dict[str, Any]:
    dims = list(tensor.dims[1:] if batched else tensor.dims)
    entry: dict[str, Any] = {"name": tensor.name, "data_type": tensor.config_type, "dims": dims or [1]}
    if not dims and batched:
        entry["reshape"] = {"shape": []}
    return entry
