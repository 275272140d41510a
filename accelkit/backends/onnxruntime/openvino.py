"""The accelerator `openvino`: its provider is a plugin library, registered once in a process whose model asks for it."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import onnxruntime

from accelkit.backends.key import Refused

PROVIDER = "OpenVINOExecutionProvider"
_INTEL = 0x8086
_CPU = onnxruntime.OrtHardwareDeviceType.CPU
# The plugin's pointer to ONNX Runtime's table of functions, and the place of HardwareDevice_VendorId in that table,
# whose order is part of its binary interface.
_TABLE = "_ZZN3Ort6detail6Global3ApiEPK6OrtApiE3api"
_VENDOR, _LENGTH = 308, 400
_kept: list[Any] = []


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
    if not (found := _devices()):
        _register_for_any_vendor(path)
        found = _devices()
    if not found:
        raise Refused("the OpenVINO provider of ONNX Runtime offers no CPU device on this machine")
    return found[0]


def _devices() -> list[Any]:
    return [known for known in onnxruntime.get_ep_devices() if known.ep_name == PROVIDER and known.device.type == _CPU]


def _register_for_any_vendor(path: str) -> None:
    """Register the plugin anew while every CPU answers as Intel's.

    The plugin offers its CPU device on Intel's CPUs only; the provider built into the official backend asks nobody, and
    OpenVINO runs on any x86 CPU. What it registers so goes on using this copy of the table.
    """
    try:
        slot = ctypes.c_void_p.in_dll(ctypes.CDLL(path), _TABLE)
    except (OSError, ValueError):
        return
    if not (original := slot.value):
        return
    kind = ctypes.c_void_p * _LENGTH
    table = kind.from_buffer_copy(kind.from_address(original))
    answer = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_void_p)(lambda device: _INTEL)
    table[_VENDOR] = ctypes.cast(answer, ctypes.c_void_p).value
    _kept.extend((table, answer))
    slot.value = ctypes.addressof(table)
    try:
        onnxruntime.register_execution_provider_library("openvino-any", path)
    finally:
        slot.value = original
