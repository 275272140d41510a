"""Execution accelerators of the CPU: what the name in the configuration adds to a session."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import onnxruntime

from accelkit.backends.key import Refused
from accelkit.backends.onnxruntime import keys, openvino

# An accelerator's name -> function that adds its provider to the session's options; as if built without those not here.
CPU: dict[str, Callable[[onnxruntime.SessionOptions], None]] = {"openvino": openvino.add}


def apply(config: Mapping[str, Any], kind: str, options: onnxruntime.SessionOptions) -> None:
    """Add the accelerators that the configuration asks for, in its order; Refused names an unknown one."""
    if kind == "GPU":
        for accelerator in keys.GPU_ACCELERATORS.items(config):
            raise unknown(accelerator)
    for accelerator in keys.CPU_ACCELERATORS.items(config):
        if (name := accelerator.get("name", "")) not in CPU:
            raise unknown(accelerator)
        # The official backend reads the name alone: every parameter of a CPU accelerator is ignored.
        CPU[name](options)


def unknown(accelerator: Mapping[str, Any]) -> Refused:
    """The official refusal of an accelerator that was not built in."""
    return Refused(f"unknown Execution Accelerator '{accelerator.get('name', '')}' is requested")
