"""The tensors of a model held against its configuration, in the words of the official backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnxruntime

from accelkit.backends.key import Refused

# ONNX Runtime's element types -> Triton's names of them.
TYPES = {
    "float": "FP32", "double": "FP64", "float16": "FP16", "bool": "BOOL", "string": "BYTES",
    **{f"{sign}int{bits}": f"{sign.upper()}INT{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}  # fmt: skip
_CONFIG_TYPES = {"TYPE_STRING": "BYTES", **{f"TYPE_{name}": name for name in TYPES.values() if name != "BYTES"}}


@dataclass(frozen=True)
class Tensor:
    """An input or output of the model: Triton's name of its element type, and its dims with -1 for free ones."""

    name: str
    dtype: str
    dims: tuple[int, ...]

    @property
    def config_type(self) -> str:
        """Its element type as a configuration writes it."""
        return "TYPE_STRING" if self.dtype == "BYTES" else f"TYPE_{self.dtype}"


def tensors(nodes: Sequence[Any]) -> dict[str, Tensor]:
    """The inputs or outputs of a session by name, sorted as the official backend sorts them."""
    found = {}
    for node in sorted(nodes, key=lambda node: node.name):
        if not node.type.startswith("tensor("):
            kind = node.type.partition("(")[0].upper()
            raise Refused(
                f"Unsupported ONNX Type 'ONNX_TYPE_{kind}' for I/O '{node.name}', expected 'ONNX_TYPE_TENSOR'."
            )
        element = node.type[len("tensor(") : -1]
        dims = tuple(dim if isinstance(dim, int) and dim >= 0 else -1 for dim in node.shape)
        found[node.name] = Tensor(node.name, TYPES.get(element, element.upper()), dims)
    return found


def check(model: str, config: Mapping[str, Any], session: onnxruntime.InferenceSession) -> None:
    """Refuse a configuration whose names, types or shapes are not the model's, or that asks for what is not here."""
    for part in ("batch_input", "batch_output"):
        if config.get(part):
            raise Refused(f"model '{model}' has {part}, which this Python-based stand-in of the backend does not offer")
    if (config.get("sequence_batching") or {}).get("state"):
        raise Refused(
            f"model '{model}' has implicit state, which this Python-based stand-in of the backend does not offer"
        )
    inputs = tensors(session.get_inputs())
    expected = sum(not io.get("optional") for io in config["input"]) + len(controls(config))
    if len(inputs) != expected:
        raise Refused(
            f"unable to load model '{model}', configuration expects {expected} inputs, model provides {len(inputs)}"
        )
    overridable = tensors(session.get_overridable_initializers())
    _check(model, config, "input", {**overridable, **inputs})
    _check(model, config, "output", tensors(session.get_outputs()))


def controls(config: Mapping[str, Any]) -> list[str]:
    """Names of the inputs that carry the start, end, readiness and id of a sequence."""
    entries = (config.get("sequence_batching") or {}).get("control_input") or []
    return [entry["name"] for entry in entries if entry.get("control")]


def _check(model: str, config: Mapping[str, Any], side: str, known: Mapping[str, Tensor]) -> None:
    batch = int(config.get("max_batch_size") or 0)
    for io in config[side]:
        name = io["name"]
        if io.get("allow_ragged_batch"):
            raise Refused(
                f"model '{model}' has the ragged input '{name}', which this Python-based stand-in of the backend does not offer"
            )
        if io.get("optional") and batch:
            raise Refused(
                f"unable to load model '{model}', optional input '{name}' is not supported for models that support batching"
            )
        if name not in known:
            raise Refused(f"unexpected inference {side} '{name}', allowed {side}s are: {', '.join(sorted(known))}")
        tensor, wanted = known[name], _CONFIG_TYPES.get(io["data_type"])
        if wanted is None:
            raise Refused(f"unsupported datatype {io['data_type']} for {side} '{name}' for model '{model}'")
        if wanted != tensor.dtype:
            raise Refused(
                f"unable to load model '{model}', configuration expects datatype {io['data_type']} for {side} '{name}', "
                f"model provides TYPE_{tensor.dtype}"
            )
        if wanted == "BYTES":
            raise Refused(
                f"unable to load model '{model}', {side} '{name}' has strings, which a Python-based backend of this server "
                "cannot exchange with NumPy 2"
            )
        dims = [int(dim) for dim in (io["reshape"].get("shape") or [] if io.get("reshape") else io["dims"])]
        _compare(model, tensor, dims, batch, exact=side == "output")


def _compare(model: str, tensor: Tensor, dims: list[int], batch: int, exact: bool) -> None:
    if not tensor.dims:
        if any(dim != 1 for dim in dims):
            raise Refused(
                f"unable to load model '{model}', scalar tensor '{tensor.name}', should only provide 1 in the model "
                f"configuration when the model doesn't support batching. Model configuration provided: {_shape(dims)}."
            )
        return
    start = f"model '{model}', tensor '{tensor.name}': "
    if batch and tensor.dims[0] != -1:
        raise Refused(
            f"{start}for the model to support batching the shape should have at least 1 dimension and the first "
            f"dimension must be -1; but shape expected by the model is {_shape(tensor.dims)}"
        )
    full = [-1, *dims] if batch else dims
    same = len(full) == len(tensor.dims) and all(
        have == want for have, want in zip(tensor.dims, full) if exact or have != -1
    )
    if not same:
        whole = (
            "an initial batch dimension because max_batch_size > 0 followed by the explicit tensor shape, making complete "
            if batch
            else ""
        )
        raise Refused(
            f"{start}the model expects {len(tensor.dims)} dimensions (shape {_shape(tensor.dims)}) but the model "
            f"configuration specifies {len(full)} dimensions ({whole}shape {_shape(full)})"
        )


def _shape(dims: Sequence[int]) -> str:
    return "[" + ",".join(str(dim) for dim in dims) + "]"
