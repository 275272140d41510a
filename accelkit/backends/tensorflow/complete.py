"""Auto-complete of a model configuration, as the official backend does it: batching, then inputs and outputs, by the signature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accelkit.backends.key import Refused
from accelkit.backends.tensorflow import keys
from accelkit.backends.tensorflow.signature import controls, dims_of
from accelkit.savedmodel.reading import Port, Signature


def complete(
    model: str, config: Mapping[str, Any], signature: Signature, command: Mapping[str, str], log: Any
) -> dict[str, Any]:
    """The configuration with what it lacks; Refused when it says what the signature cannot do."""
    found = dict(config)
    default = keys.DEFAULT_MAX_BATCH.integer(command)
    batched = _hinted(model, found, signature) and default > 0
    batch = int(found.get("max_batch_size") or 0)
    if batch == 0 and batched:
        batch = default
        log.log_warn(
            f"autofilled max_batch_size to {batch} for model '{model}' since batching is supporrted but no max_batch_size is "
            "specified in model configuration. Must specify max_batch_size to utilize autofill with a larger max batch size"
        )
    found["max_batch_size"] = batch
    if batch > 1 and "sequence_batching" not in found and "dynamic_batching" not in found:
        found["dynamic_batching"] = {}
    inputs = [_filled(model, io, signature.inputs.get(io["name"]), batched) for io in found.get("input") or []]
    named = {io["name"] for io in inputs} | set(controls(found))
    inputs += [
        _filled(model, {"name": name}, port, batched) for name, port in signature.inputs.items() if name not in named
    ]
    outputs = found.get("output") or [{"name": name} for name in signature.outputs]
    found["input"] = inputs
    found["output"] = [_filled(model, io, signature.outputs.get(io["name"]), batched) for io in outputs]
    return found


def _hinted(model: str, config: Mapping[str, Any], signature: Signature) -> bool:
    """Whether the model is to be batched: every first size free, and the dims of the configuration one fewer."""
    sides = (("input", signature.inputs), ("output", signature.outputs))
    if any(port.shape and port.shape[0] != -1 for _, ports in sides for port in ports.values()):
        if int(config.get("max_batch_size") or 0) > 0:
            raise Refused(
                f"unable to autofill for '{model}', configuration specified max-batch {config['max_batch_size']} but model "
                "signature does not support batching"
            )
        return False
    if not config.get("input") and not config.get("output"):
        return True
    weak, explicit = False, None
    for side, ports in sides:
        for io in config.get(side) or []:
            port = ports.get(io["name"])
            if io.get("allow_ragged_batch"):
                return True
            if port is None or not port.shape:
                continue
            dims = dims_of(io)
            if not dims:
                weak = True
                continue
            now = len(dims) == len(port.shape) - 1
            if explicit is not None and explicit != now:
                raise Refused(
                    f"unable to autofill for '{model}', model tensor configurations are contradicting each other in terms of "
                    "whether batching is supported"
                )
            explicit = now
    return weak if explicit is None else explicit


def _filled(model: str, io: Mapping[str, Any], port: Port | None, batched: bool) -> dict[str, Any]:
    """An input or output with the type and dims that it lacks; one that the signature does not have stays as it is."""
    found = dict(io)
    if port is None:
        return found
    if found.get("data_type") in (None, "", "TYPE_INVALID"):
        found["data_type"] = f"TYPE_{port.kind}"
    if not found.get("dims"):
        if not port.shape:
            raise Refused(
                f"Unable to autofill for '{model}': the rank of model tensor '{io['name']}' is 0 and dimensions are not defined"
            )
        dims = list(port.shape[1:] if batched else port.shape)
        found["dims"] = dims or [1]
        if not dims:
            found["reshape"] = {"shape": []}
    return found
