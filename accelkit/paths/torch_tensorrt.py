"""PyTorch with TensorRT inside: what TensorRT takes of the network became engines, the rest runs in PyTorch.

The file is TorchScript with engines in it, which a server reads that has Torch-TensorRT's runtime, as NVIDIA's image does. The
newer front end takes FP16 from the module and ignores other requests for it; that of TensorRT 8.6 casts by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelkit.paths import Built, pytorch, served_name

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    from accelkit.machine import Machine
    from accelkit.models import Model

NAME = "torch-tensorrt"
BACKEND = "pytorch"
NEEDS = "an NVIDIA GPU, PyTorch and Torch-TensorRT in the server's versions, and the model as a network of PyTorch"
PRECISIONS = ("fp32", "tf32", "fp16")
EVIDENCE = "torch-tensorrt"
GPU = True
REDUCED = None


def unavailable(machine: Machine, model: Model | None = None) -> str | None:
    """Return what is missing in the backend's interpreter or on this machine, or why PyTorch has no such model."""
    return pytorch.lacking(NAME, machine, model, NEEDS, "torch", "torch-tensorrt", gpu=True)


def build(
    model: Model,
    directory: Path,
    precision: str = "fp32",
    *,
    batch: int = 16,
    max_batch_size: int | None = None,
    options: Sequence[str] = (),
) -> Built:
    """Return model.pt, best at `batch`, and the seconds that it took when it was made; ModelError with the reason.

    `options` go to `python -m accelkit.torchfiles` as they are, such as --detour.
    """
    largest = max(model.max_batch if max_batch_size is None else max_batch_size, batch)
    words = ["--tensorrt", "--precision", precision, "--profile", f"1:{batch}:{largest}", *options]
    return pytorch.made(NAME, model, directory, "model.pt", words)


def config(
    model: Model,
    *,
    precision: str = "fp32",
    name: str | None = None,
    batch: int = 16,
    max_batch_size: int | None = None,
    instances: int = 1,
    dynamic_batching: bool = True,
    parameters: Mapping[str, str] | None = None,
    **settings: Any,
) -> ModelConfig:
    """Return the ModelConfig for a file whose engines are best at `batch`; `settings` are further fields."""
    largest = max(model.max_batch, batch) if max_batch_size is None else max_batch_size
    own = {"platform": "pytorch_libtorch", "instance_group": [{"kind": "KIND_GPU", "count": instances}]}
    name = name or served_name(model, NAME, precision)
    return pytorch.served_by_index(model, name, largest, instances, dynamic_batching, parameters, **(own | settings))
