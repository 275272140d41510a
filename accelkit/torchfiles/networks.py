"""A network in PyTorch from its weights, in the precision and on the device that a file is made for."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from accelkit.errors import ModelError

PRECISIONS = ("fp32", "tf32", "fp16")


class Half(nn.Module):
    """A network whose weights and arithmetic are FP16, its inputs and outputs FP32; channels come last, as GPUs like them."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network.half().to(memory_format=torch.channels_last)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Inputs and outputs as the network's, in FP32."""
        return self.network(x.half().contiguous(memory_format=torch.channels_last)).float()


class Detour(nn.Module):
    """A layer whose outputs, none below zero, go through an operator that leaves them as they are and TensorRT lacks."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The layer's output."""
        y = self.layer(x)
        return torch.copysign(y, y)


def restore(module: str, weights: Path, precision: str = "fp32", detour: bool = False) -> nn.Module:
    """Return the network that `restore` of a module makes from an .npz of its state dict; ModelError where it makes none.

    Nothing is unpickled. `detour` puts an operator behind each pooling that TensorRT does not have.
    """
    try:
        with np.load(weights, allow_pickle=False) as arrays:
            state = {key: np.asarray(arrays[key]) for key in arrays.files}
    except (OSError, ValueError, AttributeError, TypeError) as error:  # a single array is none of them
        raise ModelError(f"{weights} holds no arrays of a state dict: {error}: write it with numpy.savez") from None
    try:
        network: Any = importlib.import_module(module).restore(state)
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise ModelError(f"{module} makes no network of {weights}: {reason}") from None
    if detour:
        _detour(network)
    return (Half(network) if precision == "fp16" else network).eval()


def _detour(network: nn.Module) -> None:
    for name, child in network.named_children():
        if isinstance(child, nn.MaxPool2d):
            setattr(network, name, Detour(child))
        else:
            _detour(child)


def sample(dims: tuple[int, ...], batch: int, device: str) -> torch.Tensor:
    """Return an input of zeros [batch, *dims], FP32."""
    return torch.zeros((batch, *dims), dtype=torch.float32, device=device)


def version() -> tuple[int, int]:
    """Return major and minor version of PyTorch."""
    major, minor = torch.__version__.split(".")[:2]
    return int(major), int(minor)
