"""PyTorch with TensorRT inside: what TensorRT takes of the network became engines, the rest runs in PyTorch.

The file is TorchScript with engines in it, which a server reads that has Torch-TensorRT's runtime, as NVIDIA's image does. FP16
is in the module: newer Torch-TensorRT ignores other requests for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelkit.paths import Built, pytorch, pytorch_aoti, served_name

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
    form: str = "torchscript",
    options: Sequence[str] = (),
) -> Built:
    """Return model.pt, best at `batch`, and the seconds that it took when it was made; ModelError with the reason.

    `form` "aoti" is a package of AOTInductor instead, model.pt2, which the newer front end alone writes. `options` go to
    `python -m accelkit.torchfiles` as they are, such as --detour.
    """
    largest = max(model.max_batch if max_batch_size is None else max_batch_size, batch)
    words = ["--tensorrt", "--precision", precision, "--profile", f"1:{batch}:{largest}", "--form", form, *options]
    return pytorch.made(NAME, model, directory, "model.pt" if form == "torchscript" else pytorch_aoti.FILE, words)


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
    form: str = "torchscript",
    era: str | None = None,
    **settings: Any,
) -> ModelConfig:
    """Return the ModelConfig for a file whose engines are best at `batch`; `settings` are further fields.

    `form` and `era` as of build and of pytorch-aoti.
    """
    largest = max(model.max_batch if max_batch_size is None else max_batch_size, batch)
    kind = {"platform": "pytorch_libtorch"} if form == "torchscript" else pytorch_aoti.known_by(era)
    own = {**kind, "instance_group": [{"kind": "KIND_GPU", "count": instances}]}
    name = name or served_name(model, NAME, precision)
    return pytorch.served_by_index(model, name, largest, instances, dynamic_batching, parameters, **(own | settings))
