"""The settings of a configuration, read as the official backend reads them: in its order, by its rules, with its errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from accelkit.backends.fil import keys
from accelkit.backends.key import Key, Refused

INPUT, OUTPUT, SHAP = "input__0", "output__0", "treeshap_output"
GPU = (
    "KIND_GPU cannot be used in CPU-only build: the official backend's GPU engine is nvForest (up to 26.05 that of cuML), a C++ "
    "library that this Python-based stand-in does not have; write KIND_CPU, or use NVIDIA's container"
)
_FLOAT = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)", re.ASCII)


@dataclass(frozen=True)
class Settings:
    """What the CPU engine takes from a configuration; dims are those of a sample, None for an output not asked for."""

    model_type: str
    classifier: bool
    threshold: float
    probabilities: bool
    unknown_fields: bool
    threads: int
    features: int
    output: tuple[int, ...]
    shap: tuple[int, ...] | None


def read(config: Mapping[str, Any], kind: str, warn: Callable[[str], None]) -> Settings:
    """The settings for an instance of that kind, with a warning for every key that 25.09 renamed or removed.

    Refused with the official text, for an instance on a GPU too.
    """
    if kind == "GPU":
        raise Refused(GPU)
    for old, new in keys.RENAMED.items():
        if _word(old, config):
            warn(f"The `{old.name}` parameter has been removed in 25.09 release. Use `{new.name}` instead.")
    for old in keys.REMOVED:
        if _word(old, config):
            warn(f"The `{old.name}` parameter has been removed in 25.09 release.")
    probabilities = _boolean(keys.PREDICT_PROBA, config)
    model_type = _word(keys.MODEL_TYPE, config) or keys.MODEL_TYPE.default
    if model_type not in keys.FILES:
        raise Refused(f"{model_type} not recognized as a valid serialization format.")
    unknown_fields = _boolean(keys.UNKNOWN_FIELDS, config)
    older = _word(keys.OUTPUT_CLASS, config)
    classifier = older == "true" if older in ("true", "false") else _boolean(keys.IS_CLASSIFIER, config)
    threshold = _threshold(config) if classifier else 0.5
    threads = re.match(r"\s*([+-]?\d+)", keys.CPU_THREADS.text(config) or "", re.ASCII)
    if _boolean(keys.EXPERIMENTAL, config):
        name = keys.EXPERIMENTAL.name
        warn(f"{name} option is deprecated. It will be removed in the 25.10 release. This stand-in answers with GTIL.")
    return Settings(
        model_type, classifier, threshold, probabilities, unknown_fields,
        int(threads[1]) if threads else int(keys.CPU_THREADS.default), *_tensors(config),
    )  # fmt: skip


def _word(key: Key, config: Mapping[str, Any]) -> str:
    """The first word of a string; empty when the key is not there."""
    return ((key.text(config) or "").split() or [""])[0]


def _boolean(key: Key, config: Mapping[str, Any]) -> bool:
    text = key.text(config)
    if text is None and not key.default:
        raise Refused(f"Required parameter {key.name} not found in config")
    text = key.default if text is None else text
    if text not in ("true", "false"):
        raise Refused(f"Expected 'true' or 'false' for parameter '{key.name}', got: '{text}'")
    return text == "true"


def _threshold(config: Mapping[str, Any]) -> float:
    text = keys.THRESHOLD.text(config)
    if text is None:
        raise Refused(f"Required parameter {keys.THRESHOLD.name} not found in config")
    number = _FLOAT.match(text)
    if number is None:
        raise Refused(f"Bad input for parameter {keys.THRESHOLD.name}")
    return float(number[1])


def _tensors(config: Mapping[str, Any]) -> tuple[int, tuple[int, ...], tuple[int, ...] | None]:
    """Features of a row and dims of both outputs; names and types are fixed."""
    batched = int(config.get("max_batch_size") or 0) > 0
    sides = {side: {io["name"]: io for io in config.get(side) or []} for side in ("input", "output")}
    allowed = {"input": {INPUT}, "output": {OUTPUT, SHAP}}
    for side, needed in (("input", INPUT), ("output", OUTPUT)):
        if needed not in sides[side]:
            raise Refused(f"No {side} with name {needed} in configuration.")
        for name, io in sides[side].items():
            if name not in allowed[side]:
                raise Refused(f"unexpected {side} '{name}', allowed {side}s are: {', '.join(sorted(allowed[side]))}")
            if io["data_type"] != "TYPE_FP32":
                raise Refused(f"incorrect type {io['data_type']} for {side} '{name}' with required type TYPE_FP32")
    found = {}
    for name, io in {**sides["input"], **sides["output"]}.items():
        dims = [int(dim) for dim in (io.get("reshape") or {}).get("shape") or io["dims"]]
        if not batched:
            if dims[0] != -1:
                raise Refused(f"dims of '{name}' must begin with -1, the rows, when max_batch_size is 0")
            dims = dims[1:]
        if any(dim < 1 for dim in dims):
            raise Refused(
                f"Backends with variable-shape outputs must request desired output shape: '{name}' has dims {dims}"
            )
        found[name] = tuple(dims)
    features = 1
    for dim in found[INPUT]:
        features *= dim
    return features, found[OUTPUT], found.get(SHAP)
