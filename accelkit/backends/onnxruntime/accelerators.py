"""Execution accelerators: what the names in the configuration, and their parameters, make of a session's providers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import onnxruntime

from accelkit.backends.key import Refused
from accelkit.backends.onnxruntime import keys, openvino

# An accelerator's name -> function that adds its provider to the session's options; as if built without those not here.
CPU: dict[str, Callable[[onnxruntime.SessionOptions], None]] = {"openvino": openvino.add}
CUDA, TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"
Provider = tuple[str, dict[str, str]]
TRUE = "True"
"""How ONNX Runtime's Python API wants a boolean of TensorRT; the C API, which the official backend calls, takes 1 too."""
_SEARCHES, _STRATEGIES = ("EXHAUSTIVE", "HEURISTIC", "DEFAULT"), ("kNextPowerOfTwo", "kSameAsRequested")
_PRECISIONS = {"FP32": {}, **{name: {f"trt_{name.lower()}_enable": TRUE} for name in ("FP16", "BF16", "INT8")}}
_ALL_MEMORY = str(2**64 - 1)


def cpu(config: Mapping[str, Any], options: onnxruntime.SessionOptions) -> None:
    """Add the CPU's accelerators that the configuration asks for, in its order; Refused names an unknown one."""
    for accelerator in keys.CPU_ACCELERATORS.items(config):
        if (name := accelerator.get("name", "")) not in CPU:
            raise _unknown(accelerator)
        # The official backend reads the name alone: every parameter of a CPU accelerator is ignored.
        CPU[name](options)


def gpu(config: Mapping[str, Any], device: int) -> list[Provider]:
    """Providers of an instance on a GPU with their options: TensorRT where it is asked for, and always CUDA behind it.

    Four options of CUDA come from top-level parameters or their defaults, whatever the accelerator says. Refused for an
    unknown accelerator, for a parameter that tensorrt does not know and for a value that cannot be read.
    """
    providers: list[Provider] = []
    cuda: dict[str, str] = {}
    for accelerator in keys.GPU_ACCELERATORS.items(config):
        name, given = accelerator.get("name", ""), accelerator.get("parameters") or {}
        if name == "tensorrt" and TENSORRT in onnxruntime.get_available_providers():
            providers.append((TENSORRT, {**_tensorrt(given), "device_id": str(device)}))
        elif name == "cuda":
            for key in keys.CHECKED:
                keys.CUDA[key].boolean(given)
            cuda |= {key: value for key, value in given.items() if value}
        else:
            raise _unknown(accelerator)
    cuda |= {"device_id": str(device), "has_user_compute_stream": "0"}
    cuda.pop("user_compute_stream", None)
    memory, copies = keys.GPU_MEMORY.text(config), keys.COPY_IN_DEFAULT_STREAM.text(config)
    overwritten = (
        _choice(keys.CUDNN_SEARCH, config, _SEARCHES),
        _ALL_MEMORY if memory is None else memory,
        _choice(keys.ARENA_STRATEGY, config, _STRATEGIES),
        keys.COPY_IN_DEFAULT_STREAM.default if copies is None else copies,
    )
    return [*providers, (CUDA, {**cuda, **dict(zip(keys.OVERWRITTEN, overwritten))})]


def _tensorrt(given: Mapping[str, str]) -> dict[str, str]:
    """Options of ONNX Runtime for the parameters of the accelerator tensorrt."""
    options: dict[str, str] = {}
    for name, value in given.items():
        if name not in keys.TENSORRT:
            raise Refused(f"unknown parameter '{name}' is provided for TensorRT Execution Accelerator")
        if name == keys.PRECISION_MODE:
            if value not in _PRECISIONS:
                raise Refused(f"unsupported precision mode '{value}' is requested")
            options |= _PRECISIONS[value]
            continue
        key = keys.TENSORRT[name]
        key.check(given)
        if value:
            options[keys.RENAMED.get(name, name)] = str(key.boolean(given)) if key.type == "bool" else value
    return options


def _choice(key: keys.Key, config: Mapping[str, Any], names: tuple[str, ...]) -> str:
    number = key.integer(config)
    if not 0 <= number < len(names):
        raise Refused(f"unsupported {key.name} value '{number}' is requested")
    return names[number]


def _unknown(accelerator: Mapping[str, Any]) -> Refused:
    """The official refusal of an accelerator that was not built in."""
    return Refused(f"unknown Execution Accelerator '{accelerator.get('name', '')}' is requested")
