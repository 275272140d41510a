"""The accelerator `openvino`: its provider is a plugin library, registered once in a process whose model asks for it."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import onnxruntime

from accelkit.backends.key import Refused

PROVIDER = "OpenVINOExecutionProvider"


def library() -> str | None:
    """The plugin's file; None when its package is not installed."""
    try:
        import onnxruntime_ep_openvino
    except ImportError:
        return None
    return onnxruntime_ep_openvino.get_library_path()


def add(options: onnxruntime.SessionOptions) -> None:
    """Put OpenVINO's CPU device before the CPU provider, with no option, as the official backend does."""
    options.add_provider_for_devices([_device()], {})


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Hold the lock under which sessions with OpenVINO are made one at a time; the instances are processes."""
    with open(library() or "/dev/null", "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@lru_cache(maxsize=1)
def _device() -> Any:
    path = library()
    if path is None:
        raise Refused(
            "unknown Execution Accelerator 'openvino' is requested: install the package onnxruntime-ep-openvino"
        )
    onnxruntime.register_execution_provider_library("openvino", path)
    for known in onnxruntime.get_ep_devices():
        if known.ep_name == PROVIDER and known.device.type == onnxruntime.OrtHardwareDeviceType.CPU:
            return known
    raise Refused(
        "the OpenVINO provider offers no CPU device on this machine: the plugin onnxruntime-ep-openvino of this version "
        "does so on Intel processors only"
    )
