"""What a stand-in sees of the server that started it."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelkit.backends.key import Refused

if TYPE_CHECKING:
    import numpy as np

_FORGET = ctypes.pythonapi.PyCapsule_SetDestructor
_FORGET.argtypes = [ctypes.py_object, ctypes.c_void_p]


def capsule(array: np.ndarray) -> Any:
    """A writable array as a DLPack capsule for the server's stub, which takes the memory over.

    The stub renames a capsule in its own way, at which the destructor of NumPy's prints a traceback; without one it is
    silent, and nothing is lost: the memory goes by the deleter inside, which the stub calls.
    """
    found = array.__dlpack__()
    _FORGET(found, None)
    return found


def command_line() -> list[str]:
    """Arguments of the server above this process; empty when it cannot be read."""
    try:
        return Path(f"/proc/{os.getppid()}/cmdline").read_bytes().decode(errors="replace").split("\0")[1:-1]
    except OSError:
        return []


def settings(backend: str, arguments: list[str]) -> dict[str, str]:
    """The --backend-config settings that the server gives to one backend, those without a backend's name included."""
    found: dict[str, str] = {}
    for name, value in _options(arguments):
        if name == "backend-config":
            owner, comma, setting = value.partition(",")
            key, _, text = (setting if comma else owner).partition("=")
            if not comma or owner == backend:
                found[key] = text
    return found


def verbose(arguments: list[str]) -> bool:
    """Whether the server logs verbosely."""
    return any(name == "log-verbose" and value not in ("0", "") for name, value in _options(arguments))


def _options(arguments: list[str]) -> list[tuple[str, str]]:
    """Options with their values, whether written --name=value or --name value."""
    pairs = []
    for index, argument in enumerate(arguments):
        if argument.startswith("--"):
            name, equals, value = argument[2:].partition("=")
            if not equals and index + 1 < len(arguments):
                value = arguments[index + 1]
            pairs.append((name, value))
    return pairs


def model_file(repository: str, version: str, config: Mapping[str, Any], default: str) -> Path:
    """The file of a model version: default_model_filename or the backend's default name."""
    return Path(repository) / version / (config.get("default_model_filename") or default)


def check_warmup(model: str, config: Mapping[str, Any]) -> None:
    """Refuse a warmup batch above the model's largest one: the server itself may crash on it after the load."""
    largest = max(1, int(config.get("max_batch_size") or 0))
    for sample in config.get("model_warmup") or []:
        batch = int(sample.get("batch_size") or 1)
        if batch > largest:
            raise Refused(
                f"failed to run warmup sample '{sample.get('name', '')}': batch size {batch} for '{model}', "
                f"max allowed is {largest}"
            )
