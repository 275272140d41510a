"""TensorFlow and its TensorRT as they are in the running interpreter, or one line on what is missing."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from accelkit.errors import ModelError

LAST = "2.17"
"""The last TensorFlow that is built with TensorRT."""


def load() -> Any:
    """Return the module tensorflow, its own log limited to errors; ModelError where it is not installed or does not load.

    Kernels of CUDA are loaded when they are first used, as TensorRT advises: CUDA 11 would load all at the start.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("CUDA_MODULE_LOADING", "LAZY")
    try:
        import tensorflow
    except ImportError as error:
        raise ModelError(f"{_place()} has no TensorFlow that loads: {str(error).splitlines()[0]}") from None
    return tensorflow


def converter(tf: Any) -> tuple[Any, dict[str, str]]:
    """Return TensorFlow's module of TensorRT, and the versions that it is linked with and has loaded.

    ModelError for a TensorFlow without it, libraries that are not found, a TensorRT that is too old, or no GPU.
    """
    try:
        from tensorflow.compiler.tf2tensorrt import _pywrap_py_utils as built
        from tensorflow.python.compiler.tensorrt import trt_convert
    except ImportError:
        raise ModelError(f"TensorFlow {tf.__version__} has no TensorRT in it: {LAST} is the last that has") from None
    linked = tuple(built.get_linked_tensorrt_version())
    if linked == (0, 0, 0):
        raise ModelError(f"TensorFlow {tf.__version__} is built without TensorRT: take a GPU build, up to {LAST}")
    if not built.is_tensorrt_enabled():  # it has tried to load the libraries
        library = f"libnvinfer.so.{linked[0]}"
        raise ModelError(
            f"TensorFlow {tf.__version__} finds no {library}, or not what that needs: install TensorRT {linked[0]} in "
            f"{_place()} and name the directories of its libraries in ACCELKIT_LIBS_TENSORFLOW"
        )
    loaded = tuple(built.get_loaded_tensorrt_version())
    if loaded[0] != linked[0] or loaded < linked:
        raise ModelError(
            f"TensorFlow {tf.__version__} is linked with TensorRT {_text(linked)} and refuses {_text(loaded)}: "
            f"take that version or a later one of {linked[0]}"
        )
    if not tf.config.list_physical_devices("GPU"):
        raise ModelError(
            f"TensorFlow {tf.__version__} sees no GPU, or lacks a library of CUDA that it names in its log"
        )
    return trt_convert, {"linked": _text(linked), "tensorrt": _text(loaded)}


def _text(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _place() -> str:
    return f"the Python {'.'.join(map(str, sys.version_info[:2]))} that runs the backend tensorflow"


LIBRARIES = (
    "libcudart.so.11.0", "libcublas.so.11", "libcudnn.so.8", "libcufft.so.10", "libcurand.so.10", "libcusolver.so.11",
    "libcusparse.so.11", "libcublas.so.12", "libnvinfer.so.8", "libnvinfer_plugin.so.8",
)  # fmt: skip
"""What TensorFlow up to 2.14 loads on a GPU, then what its TensorRT does, whose plugins are of CUDA 12."""
KEPT = ("nvidia/*/lib", "tensorrt*", "tensorrt*/lib")
"""Where packages keep libraries."""
LOOK = """
import tensorflow as tf
print(tf.config.list_physical_devices("GPU"))
from tensorflow.compiler.tf2tensorrt import _pywrap_py_utils as built
print(built.get_linked_tensorrt_version(), built.is_tensorrt_enabled(), built.get_loaded_tensorrt_version())
"""
PATIENCE_S = 300
"""How long TensorFlow may look."""


def libraries() -> dict[str, str]:
    """Return each library that TensorFlow and its TensorRT load, with "loads" or the loader's reason why not.

    One that is not found by its name is tried where packages keep theirs, and what came of that is said too.
    """
    return {name: _loading(name) for name in LIBRARIES}


def _loading(name: str) -> str:
    places = [Path(folder) for folder in sys.path if folder]
    packaged = [file for place in places for kept in KEPT for file in sorted(place.glob(f"{kept}/{name}"))]
    said: list[str] = []
    for file in (Path(name), *packaged):
        short = "/".join(file.parts[-4:])
        try:
            ctypes.CDLL(str(file))
            return "; ".join([*said, f"loads as {short}" if said else "loads"])
        except OSError as error:
            said.append(_without_folders(str(error).replace(str(file), short)))
    return "; ".join(said)


def log() -> list[str]:
    """Return all that TensorFlow logs, in a process of its own, while it looks for GPUs and for TensorRT."""
    told = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", LOOK], env=told, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=PATIENCE_S, check=False,
        )  # fmt: skip
        said, end = done.stdout, f"exit code {done.returncode}"
    except subprocess.TimeoutExpired as late:
        said, end = late.stdout or b"", f"stopped after {PATIENCE_S} s"
    lines = _without_folders(said.decode(errors="replace")).splitlines()
    return [*(line for line in lines if line.strip()), end]


def _without_folders(text: str) -> str:
    """A text whose absolute paths are names of files: what is recorded tells nothing of where a machine keeps them."""
    return re.sub(r"(?<![\w./])/(?:[^\s/:;,'\"()]+/)+", "", text)
