"""TensorRT's Python bindings, found or missed in one line, and what its logger said last."""

from __future__ import annotations

import ctypes
import os
import re
from collections import deque
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from accelkit.errors import MissingPackage, ModelError

DRIVER = 12_000
"""The oldest CUDA, as its driver writes the version, that a TensorRT of the kit can start on."""
LIBRARIES = ("libcublas", "libcudnn")
SMALLEST = 1 << 20
"""Bytes: a file below this that bears the name of one of LIBRARIES only stands in for it, so that others can be loaded."""


@lru_cache(maxsize=1)
def load() -> Any:
    """Return the module tensorrt; MissingPackage without it, ModelError when its libraries cannot be loaded."""
    try:
        import tensorrt
    except ModuleNotFoundError as error:
        if error.name != "tensorrt":
            raise ModelError(f"TensorRT cannot be loaded: {error}") from None
        raise MissingPackage("tensorrt", "gpu", "a plan for TensorRT") from None
    except (ImportError, OSError) as error:
        raise ModelError(f"TensorRT cannot be loaded: {error}: name its directory in ACCELKIT_LIBS_TENSORRT") from None
    return tensorrt


def need_gpu() -> None:
    """Raise ModelError where no driver or no GPU answers: TensorRT itself may end the process instead."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        raise ModelError("TensorRT needs an NVIDIA GPU, and this machine has no driver for one") from None
    version, count = ctypes.c_int(), ctypes.c_int()
    status = (
        driver.cuInit(0)
        or driver.cuDriverGetVersion(ctypes.byref(version))
        or driver.cuDeviceGetCount(ctypes.byref(count))
    )
    if status or not count.value:
        raise ModelError(f"TensorRT needs an NVIDIA GPU, and the driver offers none here (CUDA error {status})")
    if version.value < DRIVER:
        has, wants = (f"{number // 1000}.{number % 1000 // 10}" for number in (version.value, DRIVER))
        raise ModelError(f"the driver knows CUDA {has}, TensorRT needs {wants}: install a newer driver")


_PARSED = re.compile(r"While parsing node number \d+ \[(\S+) ->")


def logger(say: Callable[[str, str], None] | None = None) -> Any:
    """Return a logger for TensorRT that keeps its last three errors, else its last warning, as `last`.

    `operator` is the one at which a parser stopped, None before. `say` is given each severity and message.
    """
    trt = load()
    severities = {
        getattr(trt.ILogger, name): name for name in ("INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE")
    }

    class Log(trt.ILogger):  # type: ignore[misc, name-defined]
        """Keeps the last errors in one line: the very last one often only says that something failed."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.last = "TensorRT gave no reason"
            self.errors: deque[str] = deque(maxlen=3)
            self.operator: str | None = None

        def log(self, severity: Any, message: str) -> None:
            name = severities.get(severity, "INFO")
            if found := _PARSED.search(message):
                self.operator = found[1]
            if name.endswith("ERROR"):
                self.errors.append(" ".join(message.split()))
                self.last = "; ".join(self.errors)
            elif name == "WARNING" and not self.errors:
                self.last = " ".join(message.split())
            if say is not None:
                say(name, message)

    return Log()


def stand_ins() -> list[str]:
    """Return the libraries of this process that only stand in for CUDA's: TensorRT must not choose kernels from them."""
    try:
        lines = Path("/proc/self/maps").read_text(errors="replace").splitlines()
    except OSError:
        return []
    mapped = {line.split(maxsplit=5)[5] for line in lines if line.count("/") and len(line.split(maxsplit=5)) == 6}
    named = sorted(path for path in mapped if os.path.basename(path).startswith(LIBRARIES))
    return [path for path in named if os.path.exists(path) and os.path.getsize(path) < SMALLEST]


def register_plugins(trt: Any, log: Any, libraries: Iterable[Path] = ()) -> None:
    """Register the plugins of these libraries, which do it while they are loaded, and those that come with TensorRT."""
    for library in libraries:
        try:
            ctypes.CDLL(str(library.resolve()), ctypes.RTLD_GLOBAL)
        except OSError as error:
            raise ModelError(f"the plugins of {library} cannot be loaded: {error}") from None
    trt.init_libnvinfer_plugins(log, "")
