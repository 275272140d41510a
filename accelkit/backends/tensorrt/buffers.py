"""The memory of an instance: for each input and output one place on the GPU and one of the host, taken once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from accelkit.backends.key import Refused
from accelkit.backends.tensorrt import cuda
from accelkit.backends.tensorrt.contexts import Profile
from accelkit.backends.tensorrt.tensors import Tensor


@dataclass(frozen=True)
class Buffer:
    """Memory for the largest shape of one tensor: the GPU's address, and bytes of the host with theirs."""

    tensor: Tensor
    device: int
    host: np.ndarray
    address: int

    def view(self, shape: Sequence[int]) -> np.ndarray:
        """The host's memory as an array of a shape."""
        count = math.prod(shape) * self.tensor.dtype.itemsize
        return self.host[:count].view(self.tensor.dtype).reshape(shape)

    def size(self, shape: Sequence[int]) -> int:
        """Bytes of a shape."""
        return math.prod(shape) * self.tensor.dtype.itemsize


def allocate(
    instance: str, known: Mapping[str, Tensor], profiles: Sequence[Profile], pinned: Mapping[bool, bool]
) -> dict[str, Buffer]:
    """A buffer for each tensor, large enough for every profile; `pinned` by whether it is an input.

    Refused in the official words when the GPU has no room, or when an output's size depends on the data.
    """
    found = {}
    for name, tensor in known.items():
        side = "input" if tensor.is_input else "output"
        shapes = [tuple(int(size) for size in profile.context.get_tensor_shape(name)) for profile in profiles]
        if any(size < 0 for shape in shapes for size in shape):
            raise Refused(
                f"model has the {side} '{name}' whose shape depends on the data, which this Python-based stand-in of the backend "
                "does not offer"
            )
        size = max(math.prod(shape) for shape in shapes) * tensor.dtype.itemsize
        try:
            device, host = cuda.device_memory(size), cuda.host_memory(size, pinned[tensor.is_input])
        except cuda.Failed as error:
            raise Refused(f"unable to allocate memory for {side} '{name}' for {instance}: {error}") from None
        found[name] = Buffer(tensor, device, host, int(host.ctypes.data))
    return found


def point(context: Any, buffers: Mapping[str, Buffer]) -> None:
    """Let a context read and write these buffers."""
    for name, buffer in buffers.items():
        if not context.set_tensor_address(name, buffer.device):
            raise Refused(f"'{name}' does not map to an input or output tensor")
