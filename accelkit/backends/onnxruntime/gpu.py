"""What an instance on a GPU needs of its process: CUDA's libraries, and providers that came up instead of falling back."""

from __future__ import annotations

import contextlib
import ctypes
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnxruntime

from accelkit.backends.key import Refused
from accelkit.backends.onnxruntime import keys
from accelkit.backends.onnxruntime.accelerators import CUDA, TENSORRT, Provider

_LIBRARIES = {CUDA: "libonnxruntime_providers_cuda.so", TENSORRT: "libonnxruntime_providers_tensorrt.so"}
_TRUE = ("1", "true", "True")


def prepare(providers: Sequence[Provider]) -> None:
    """Load the libraries of CUDA, cuDNN and TensorRT that lie in Python packages; others are on the loader's own path.

    Refused for an ONNX Runtime without the CUDA provider.
    """
    if CUDA not in onnxruntime.get_available_providers():
        raise Refused("instance kind KIND_GPU needs an ONNX Runtime with the CUDA provider: install onnxruntime-gpu")
    if hasattr(onnxruntime, "preload_dlls"):  # since 1.21; it prints what no package holds
        with contextlib.redirect_stdout(io.StringIO()):
            onnxruntime.preload_dlls()
    if any(name == TENSORRT for name, _ in providers):
        with contextlib.suppress(ImportError, OSError):
            import tensorrt  # noqa: F401


def insist(session: onnxruntime.InferenceSession, providers: Sequence[Provider]) -> None:
    """Refuse a session in which a provider is missing: ONNX Runtime's Python API goes on without it, the official one stops."""
    for name, _ in providers:
        if name not in session.get_providers():
            raise Refused(f"onnx runtime error 1: {_why(name)}")


def _why(provider: str) -> str:
    folder, library = Path(onnxruntime.__file__).parent / "capi", _LIBRARIES[provider]
    try:
        ctypes.CDLL(str(folder / "libonnxruntime_providers_shared.so"), ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(folder / library))
    except OSError as error:
        return f"Failed to load library {library} with error: {error}"
    return f"{provider} could not be created; the lines above this one in the server's log say why"


def described(model: str, device: int, options: Mapping[str, Mapping[str, str]]) -> list[str]:
    """What the official backend logs verbosely of a session's providers, given their options."""
    lines = [f"TensorRT Execution Accelerator is set for '{model}' on device {device}"] if TENSORRT in options else []
    if CUDA in options:
        values = ";".join(f"{key}={value}" for key, value in options[CUDA].items())
        lines.append(f"CUDA Execution Accelerator is set for '{model}' on device {device} with options: {values}")
    return lines


def captures(options: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether a session with these options of its providers runs as CUDA graphs."""
    asked = ((CUDA, keys.CUDA_GRAPH), (TENSORRT, keys.TENSORRT_GRAPH))
    return any(options.get(provider, {}).get(key) in _TRUE for provider, key in asked)
