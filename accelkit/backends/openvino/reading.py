"""A model file read as the official backend reads it, and held against its configuration."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import openvino as ov
from openvino.preprocess import PrePostProcessor

from accelkit.backends.key import Refused
from accelkit.backends.openvino import keys

TYPES = {
    "BOOL": ov.Type.boolean, "FP16": ov.Type.f16, "FP32": ov.Type.f32,
    **{f"{sign.upper()}INT{bits}": getattr(ov.Type, f"{sign or 'i'}{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)},
}  # fmt: skip
_PLACE = re.compile(
    r"^(?:Exception from|Check '.*' failed at|FrontEnd API failed with|While validating) ?.*$", re.MULTILINE
)
Value = TypeVar("Value")


def attempt(what: str, call: Callable[..., Value], *arguments: Any) -> Value:
    """What a call of OpenVINO returns; Refused with its reason, without the places in its source, on one line."""
    try:
        return call(*arguments)
    except Exception as error:
        lines = _PLACE.sub("", str(error)).split("\n")
        reason = " ".join(line.strip() for line in lines if line.strip()) or str(error).strip()
        raise Refused(f"openvino error in {what} : {reason[:600]}") from None


def existing(model: str, path: Path) -> Path:
    """The model's file or directory, whose ending says the format; Refused when there is none."""
    if not path.exists():
        raise Refused(f"unable to find '{path}' for model '{model}'")
    return path


def read(core: ov.Core, path: Path) -> ov.Model:
    """Read a model in any format that OpenVINO has a reader for."""
    return attempt("reading model", core.read_model, str(path))


def names(ports: Sequence[Any]) -> dict[str, Any]:
    """Inputs or outputs of a model by name; Refused for one without."""
    try:
        return {port.get_any_name(): port for port in ports}
    except RuntimeError:
        raise Refused(
            "ModelInstanceState::Create ov::Exception: Attempt to get a name for a Tensor without names"
        ) from None


def fit(model: str, found: ov.Model, config: Mapping[str, Any]) -> ov.Model:
    """The model with the element types, shapes and batch of its configuration; Refused where the two do not agree."""
    batch = int(config.get("max_batch_size") or 0)
    for part in ("batch_input", "batch_output"):
        if config.get(part):
            raise Refused(f"model '{model}' has {part}, which this Python-based stand-in of the backend does not offer")
    known = names(found.inputs)
    if len(known) != len(config["input"]):
        raise Refused(
            f"unable to load model '{model}', configuration expects {len(config['input'])} inputs, model provides {len(known)}"
        )
    change = PrePostProcessor(found)
    for io in config["input"]:
        name = io["name"]
        dims, shape = _checked(model, "input", io, known), known[name].get_partial_shape()
        tensor = change.input(name).tensor()
        tensor.set_element_type(_type(model, "input", io))
        if keys.yes(keys.RESHAPE, config):
            attempt(f"setting shape for {name}", tensor.set_shape, _reshaped(name, shape, dims, batch))
        else:
            _compare(model, name, shape, dims, batch, exact=False)
        if batch:
            tensor.set_layout(ov.Layout("N..."))
    found = attempt("apply model input preprocessing", change.build)
    if batch:
        attempt("setting max batch size", ov.set_batch, found, batch)
    known = names(found.outputs)
    change = PrePostProcessor(found)
    for io in config["output"]:
        dims = _checked(model, "output", io, known)
        change.output(io["name"]).tensor().set_element_type(_type(model, "output", io))
        _compare(model, io["name"], known[io["name"]].get_partial_shape(), dims, batch, exact=True)
    return attempt("apply model output preprocessing", change.build)


def _checked(model: str, side: str, io: Mapping[str, Any], known: Mapping[str, Any]) -> list[int]:
    """The dims that the model sees; Refused for an unknown name."""
    if io["name"] not in known:
        raise Refused(f"unexpected inference {side} '{io['name']}', allowed {side}s are: {', '.join(sorted(known))}")
    return [int(dim) for dim in (io["reshape"].get("shape") or [] if io.get("reshape") else io["dims"])]


def _type(model: str, side: str, io: Mapping[str, Any]) -> ov.Type:
    kind = io["data_type"].removeprefix("TYPE_")
    if kind not in TYPES:
        raise Refused(f"unsupported datatype {io['data_type']} for {side} '{io['name']}' for model '{model}'")
    return TYPES[kind]


def _reshaped(name: str, shape: ov.PartialShape, dims: Sequence[int], batch: int) -> ov.PartialShape:
    sizes, start = list(shape), 1 if batch else 0
    if start + len(dims) > len(sizes):
        raise Refused(
            f"openvino error in setting shape for {name} : the model has {len(sizes)} dimensions, the configuration "
            f"{start + len(dims)}"
        )
    sizes[start : start + len(dims)] = [ov.Dimension(dim) for dim in dims]
    return ov.PartialShape(sizes)


def _matches(size: ov.Dimension, dim: int) -> bool:
    """Whether a dim fits; a size with an upper bound lets the ends of its range not pass, nor a free dim."""
    if size.is_static:
        return size.get_length() == dim
    return size.get_max_length() == -1 or size.get_min_length() < dim < size.get_max_length()


def _compare(model: str, name: str, shape: ov.PartialShape, dims: Sequence[int], batch: int, exact: bool) -> None:
    """Refuse dims that are not the model's; with a batch an input's -1 fits everything, an output's only a free size."""
    sizes = list(shape)
    if batch and not sizes:
        raise Refused(
            f"model '{model}', tensor '{name}': for the model to support batching the shape should have at least 1 dimension"
        )
    full = [batch, *dims] if batch else list(dims)
    same = len(sizes) == len(full) and all(
        _matches(size, dim)
        for index, (size, dim) in enumerate(zip(sizes, full))
        if exact or not batch or (index and dim != -1)
    )
    if not same:
        whole = (
            "an initial batch dimension because max_batch_size > 0 followed by the explicit tensor shape, making complete "
            if batch
            else ""
        )
        provided = [size.get_length() if size.is_static else -1 for size in sizes]
        raise Refused(
            f"model '{model}', tensor '{name}': the model expects {len(sizes)} dimensions (shape {_text(provided)}) but the "
            f"model configuration specifies {len(full)} dimensions ({whole}shape {_text(full)})"
        )


def _text(dims: Sequence[int]) -> str:
    return "[" + ",".join(map(str, dims)) + "]"
