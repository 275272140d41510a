"""PyTorch compiled ahead of time by AOTInductor: a package of machine code for one kind of CPU or GPU.

Servers since container 26.03 call it platform torch_aoti. The server of the kit is older and knows only the file's name, so
the config names that; configs/current.pbtxt beside the committed one names the platform.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelkit.paths import Built, pytorch, served_name
from accelkit.torchfiles import PACKAGES

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    from accelkit.machine import Machine
    from accelkit.models import Model

NAME = "pytorch-aoti"
BACKEND = "pytorch"
NEEDS = "PyTorch 2.8 or newer, a C++ compiler and the model as a network of PyTorch"
PRECISIONS = ("fp32", "fp16")
EVIDENCE = "pytorch"
GPU = True
GPU_PRECISIONS = ("fp16",)
REDUCED = "tf32"
FILE = "model.pt2"


def unavailable(machine: Machine, model: Model | None = None) -> str | None:
    """Return what is missing in the backend's interpreter or on this machine, or why PyTorch has no such model."""
    from accelkit import interpreters

    if reason := pytorch.lacking(NAME, machine, model, NEEDS, "torch"):
        return reason
    version = interpreters.has(NAME, BACKEND, machine)["torch"]
    if tuple(int(part) for part in version.split(".")[:2]) < PACKAGES:
        return f"needs {NEEDS}; missing here: it, PyTorch here is {version}"
    compiler = os.environ.get("CXX") or "g++"
    if shutil.which(compiler.split()[0]) is None:
        return f"needs {NEEDS}; missing here: the C++ compiler {compiler} (Debian, Ubuntu: apt-get install g++)"
    return None


def build(model: Model, directory: Path, precision: str = "fp32", *, max_batch_size: int | None = None) -> Built:
    """Return model.pt2 for batches up to max_batch_size, and the seconds that it took; ModelError with PyTorch's reason."""
    from accelkit import machine

    largest = model.max_batch if max_batch_size is None else max_batch_size
    device = "cuda" if machine.probe().gpus else "cpu"
    words = ["--form", "aoti", "--precision", precision, "--profile", f"1:{largest}:{largest}", "--device", device]
    return pytorch.made(NAME, model, directory, FILE, words)


def config(
    model: Model,
    *,
    precision: str = "fp32",
    name: str | None = None,
    max_batch_size: int | None = None,
    instances: int = 1,
    dynamic_batching: bool = True,
    parameters: Mapping[str, str] | None = None,
    era: str | None = None,
    **settings: Any,
) -> ModelConfig:
    """Return the ModelConfig; `era` "current" names the platform, which the embedded server does not know.

    `parameters` are passed on, though the official backend reads none for such a package.
    """
    own = known_by(era)
    name = name or served_name(model, NAME, precision)
    return pytorch.served_by_index(
        model, name, max_batch_size, instances, dynamic_batching, parameters, **(own | settings)
    )


def known_by(era: str | None) -> dict[str, str]:
    """Return what tells a server of an era that the file is a package; None is the embedded server."""
    return {"platform": "torch_aoti"} if era == "current" else {"default_model_filename": FILE}
