"""The signature that a configuration serves, and whether the two agree, as the official backend decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from accelkit.backends.key import Refused
from accelkit.backends.tensorflow.settings import Settings
from accelkit.errors import ModelError
from accelkit.savedmodel import reading
from accelkit.savedmodel.reading import Port, Signature

SUPPORTED = tuple(f"TYPE_{kind}" for kind in reading.TYPES.values())


def choose(model: str, directory: Path, settings: Settings, log: Any) -> Signature:
    """The signature to serve; Refused for a directory that is no SavedModel, a missing tag, signature or type."""
    try:
        found = reading.graphs(directory)
    except ModelError as error:
        if not (directory / reading.FILE).exists():
            raise Refused(
                f"Could not find SavedModel .pb or .pbtxt at supplied export directory path: {directory}. Check that the "
                "directory exists and that you have the right permissions for accessing it."
            ) from None
        raise Refused(f"Can't parse {directory / reading.FILE} as binary proto: {error}") from None
    tag = settings.tag or reading.SERVE
    graph = reading.tagged(found, tag)
    if graph is None:
        known = "; ".join(",".join(one.tags) for one in found)
        raise Refused(f"Could not find meta graph def matching supplied tags: {{ {tag} }}; it has {known or 'none'}")
    wanted = settings.signature or reading.DEFAULT
    signature = graph.signatures.get(wanted)
    if signature is None and not settings.signature:
        others = [name for name in graph.signatures if name not in reading.INTERNAL]
        if others:
            log.log_warn(f"unable to find serving signature '{wanted}', using signature '{others[0]}'")
            signature = graph.signatures[others[0]]
    if signature is None:
        raise Refused(f"unable to load model '{model}', expected '{wanted}' signature")
    for side, ports in (("input", signature.inputs), ("output", signature.outputs)):
        for name, port in ports.items():
            if not port.kind:
                raise Refused(f"unable to process {side} '{name}' for '{model}', unsupported datatype")
    return signature


def check_types(model: str, config: Mapping[str, Any]) -> None:
    """Refuse a data type of the configuration that TensorFlow's backend does not know."""
    for io in [*(config.get("input") or []), *(config.get("output") or [])]:
        if io["data_type"] not in SUPPORTED:
            raise Refused(f"unsupported datatype '{io['data_type']}' for tensor '{io['name']}' for model '{model}'")


def controls(config: Mapping[str, Any]) -> list[str]:
    """Names of the inputs by which the sequence batcher speaks to the model."""
    return [entry["name"] for entry in (config.get("sequence_batching") or {}).get("control_input") or []]


def check(model: str, config: Mapping[str, Any], signature: Signature) -> None:
    """Refuse a configuration whose tensors are not the signature's."""
    batched = int(config.get("max_batch_size") or 0) > 0
    _ragged(model, config)
    for name in controls(config):
        if name not in signature.inputs:
            raise Refused(f"configuration specified sequence control '{name}', but model does not provide that input")
    _known("input", config["input"], signature.inputs)
    expected = len(config["input"]) + len(controls(config))
    if expected != len(signature.inputs):
        raise Refused(
            f"unable to load model '{model}', configuration expects {expected} inputs, model provides "
            f"{len(signature.inputs)}"
        )
    for io in config["input"]:
        _fits(model, "input", io, signature.inputs[io["name"]], batched, exact=False)
    _known("output", config["output"], signature.outputs)
    for io in config["output"]:
        _fits(model, "output", io, signature.outputs[io["name"]], batched, exact=True)


def check_nodes(model: str, config: Mapping[str, Any], inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Refuse tensors that a frozen graph has no placeholder or node for."""
    _ragged(model, config)
    if len(inputs) < len(config["input"]):
        raise Refused(
            f"unable to load model '{model}', configuration expects {len(config['input'])} inputs, model provides at most "
            f"{len(inputs)}"
        )
    _known("input", config["input"], dict.fromkeys(inputs))
    _known("output", config["output"], dict.fromkeys(outputs))


def _ragged(model: str, config: Mapping[str, Any]) -> None:
    for part in ("batch_input", "batch_output"):
        if config.get(part):
            raise Refused(f"model '{model}' has {part}, which this Python-based stand-in of the backend does not offer")


def _known(side: str, listed: Sequence[Mapping[str, Any]], there: Mapping[str, Any]) -> None:
    for io in listed:
        if io["name"] not in there:
            raise Refused(
                f"unexpected inference {side} '{io['name']}', allowed {side}s are: {', '.join(sorted(there)[:40])}"
            )


def dims_of(io: Mapping[str, Any]) -> list[int]:
    """The dims that the model sees."""
    return [int(dim) for dim in (io["reshape"].get("shape") or [] if io.get("reshape") else io.get("dims") or [])]


def _fits(model: str, side: str, io: Mapping[str, Any], port: Port, batched: bool, exact: bool) -> None:
    name, dims, shape = io["name"], dims_of(io), list(port.shape)
    if shape and io.get("allow_ragged_batch"):
        raise Refused(
            f"model '{model}' has a ragged input, which this Python-based stand-in of the backend does not offer"
        )
    if port.kind == "STRING":
        raise Refused(
            f"unable to load model '{model}', {side} '{name}' has strings, which a Python-based backend of this server "
            "cannot pass on"
        )
    if shape:
        _compare(model, name, shape, dims, batched, exact)
    if io["data_type"] != f"TYPE_{port.kind}":
        raise Refused(
            f"unable to load model '{model}', configuration expects datatype {io['data_type']} for {side} '{name}', model "
            f"provides TYPE_{port.kind}"
        )


def _compare(model: str, name: str, shape: list[int], dims: list[int], batched: bool, exact: bool) -> None:
    if batched and shape[0] != -1:
        raise Refused(
            f"model '{model}', tensor '{name}': for the model to support batching the shape should have at least 1 dimension "
            f"and the first dimension must be -1; but shape expected by the model is {_text(shape)}"
        )
    full = [-1, *dims] if batched else dims
    if len(shape) == len(full) and all(size == dim for size, dim in zip(shape, full) if exact or size != -1):
        return
    whole = (
        "an initial batch dimension because max_batch_size > 0 followed by the explicit tensor shape, making complete "
        if batched
        else ""
    )
    raise Refused(
        f"model '{model}', tensor '{name}': the model expects {len(shape)} dimensions (shape {_text(shape)}) but the model "
        f"configuration specifies {len(full)} dimensions ({whole}shape {_text(full)})"
    )


def _text(dims: Sequence[int]) -> str:
    return "[" + ",".join(map(str, dims)) + "]"
