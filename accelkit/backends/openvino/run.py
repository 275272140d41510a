"""Requests through one infer request of a compiled model, tensors handed over without copies.

Outputs leave as views of the infer request's own memory: the server copies them before the next requests come.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

import numpy as np
import openvino as ov

from accelkit.backends import host
from accelkit.backends.key import Refused
from accelkit.backends.openvino import keys
from accelkit.backends.openvino.reading import attempt


class Runner:
    """Runs requests of one model through one infer request."""

    def __init__(self, config: Mapping[str, Any], compiled: ov.CompiledModel, pb: Any):
        self.request, self._pb = compiled.create_infer_request(), pb
        self._batch = int(config.get("max_batch_size") or 0)
        self._padding = keys.yes(keys.PADDING, config)
        ports = {port.get_any_name(): index for index, port in enumerate(compiled.outputs)}
        self._outputs = [(io["name"], ports[io["name"]]) for io in config["output"]]

    def execute(self, requests: list[Any]) -> list[Any]:
        """One response for each request, in order; like the official backend, all gathered requests fail together."""
        try:
            feeds = [{tensor.name(): _writable(np.from_dlpack(tensor)) for tensor in one.inputs()} for one in requests]
            if not self._batch:
                return [self._response(self._infer(feeds[0]))]
            sizes = [len(next(iter(feed.values()))) for feed in feeds]
            arrays, end = self._infer(self._joined(feeds, sizes)), 0
            responses = []
            for size in sizes:
                start, end = end, end + size
                responses.append(self._response([array[start:end] for array in arrays]))
            return responses
        except Exception as error:
            reason = str(error)
            return [self._pb.InferenceResponse(error=self._pb.TritonError(reason)) for _ in requests]

    def _joined(self, feeds: list[dict[str, np.ndarray]], sizes: list[int]) -> dict[str, np.ndarray]:
        """The inputs of one execution; with a batch it must be exactly the largest one, or be padded to it."""
        total = sum(sizes)
        if len(feeds) == 1 and total == self._batch:
            return feeds[0]
        if not self._padding:
            raise Refused(
                f"expected requests with batch size '{self._batch}', got '{sizes[0] if sizes[0] != self._batch else total}'... "
                f"this error can be avoided by setting '{keys.PADDING.name}' parameter in model configuration to 'YES' at a "
                "performance cost."
            )
        joined = {}
        for name, first in feeds[0].items():
            whole = np.zeros((self._batch, *first.shape[1:]), first.dtype)
            np.concatenate([feed[name] for feed in feeds], out=whole[:total])
            joined[name] = whole
        return joined

    def _infer(self, arrays: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        for name, array in arrays.items():
            attempt("setting tensor data", self.request.set_tensor, name, ov.Tensor(array, shared_memory=True))
        # In this thread: start_async and wait would hand it to another and back.
        attempt("running async inference", self.request.infer, None, False, True)
        found = [self.request.get_output_tensor(index).data for _, index in self._outputs]
        if self._batch and any(len(array) != self._batch for array in found):
            raise Refused(
                f"expected the batch size of openvino model output to be {self._batch}, got "
                f"{next(len(array) for array in found if len(array) != self._batch)}"
            )
        return found

    def _response(self, arrays: list[np.ndarray]) -> Any:
        make = self._pb.Tensor.from_dlpack
        return self._pb.InferenceResponse(
            [make(name, host.capsule(array)) for (name, _), array in zip(self._outputs, arrays)]
        )


def _writable(array: np.ndarray) -> np.ndarray:
    """The same memory as an array that may be written: OpenVINO shares no other kind, and does not write inputs."""
    if array.flags.writeable or not array.size:
        return array
    memory: Any = (ctypes.c_byte * array.nbytes).from_address(array.ctypes.data)
    return np.ndarray(array.shape, array.dtype, memory)
