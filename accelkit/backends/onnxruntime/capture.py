"""Requests through CUDA graphs: one for each batch size, captured at its first request, over buffers that never move."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime import OrtValue

from accelkit.backends import host
from accelkit.backends.key import Refused
from accelkit.backends.onnxruntime.accelerators import TENSORRT
from accelkit.backends.onnxruntime.run import NO_OUTPUT, why
from accelkit.backends.onnxruntime.session import Place

_GRAPH, _UNCAPTURED = "gpu_graph_id", "-1"
_VERSION = tuple(map(int, onnxruntime.__version__.split(".")[:2]))
_NUMPY = {"float": "float32", "double": "float64"}


@dataclass(frozen=True)
class Slot:
    """A graph's buffers on the device, their binding, and the options of the run that replays it."""

    inputs: Mapping[str, Any]
    outputs: list[Any]
    binding: Any
    options: onnxruntime.RunOptions


class Replayer:
    """Runs requests of one model by graphs: inputs are copied into a graph's buffers, outputs out of them."""

    def __init__(self, config: Mapping[str, Any], session: onnxruntime.InferenceSession, pb: Any, place: Place):
        # Of its providers only CUDA keeps several graphs of one session apart.
        several = _VERSION >= (1, 18) and TENSORRT not in session.get_providers()
        batch = int(config.get("max_batch_size") or 0)
        nodes = [*session.get_inputs(), *session.get_outputs()]
        if any(not isinstance(dim, int) for node in nodes for dim in node.shape[1 if batch else 0 :]):
            raise Refused(
                f"unable to load model '{place.model}', a CUDA graph needs shapes that are fixed but for the batch"
            )
        if batch > 1 and not several:
            raise Refused(
                f"unable to load model '{place.model}', ONNX Runtime captures one CUDA graph for a session, with CUDA before 1.18 "
                "and with TensorRT, and so takes one batch size: write max_batch_size 1, or 0 and the batch into dims"
            )
        self._session, self._device, self._pb = session, place.device, pb
        self._outputs = sorted(io["name"] for io in config["output"])
        self._made = {node.name: node for node in session.get_outputs()}
        self._slots: dict[tuple, Slot] = {}
        self._several, self._numbers = several, itertools.count(1)  # 0 is ONNX Runtime's own

    def execute(self, requests: list[Any]) -> list[Any]:
        """One response for each request, in order."""
        if len(requests) > 1:
            try:
                return self._together(requests)
            except Exception:
                # Only the requests that are at fault shall fail.
                return [self._alone(request) for request in requests]
        return [self._alone(requests[0])]

    def _alone(self, request: Any) -> Any:
        try:
            return self._response(self._replay(_feed(request)))
        except Exception as error:
            text = why(self._session, self._outputs, request, self._options(_UNCAPTURED), error)
            return self._pb.InferenceResponse(error=self._pb.TritonError(text))

    def _together(self, requests: list[Any]) -> list[Any]:
        feeds = [_feed(request) for request in requests]
        arrays = self._replay({name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]})
        responses, start = [], 0
        for feed in feeds:
            end = start + len(next(iter(feed.values())))
            responses.append(self._response([array[start:end] for array in arrays]))
            start = end
        return responses

    def _replay(self, feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        shapes = tuple(sorted((name, array.shape) for name, array in feed.items()))
        slot = self._slots.get(shapes)
        if slot is None:
            slot = self._slot(feed)
        else:
            for name, array in feed.items():
                slot.inputs[name].update_inplace(array)
        self._session.run_with_iobinding(slot.binding, slot.options)
        self._slots[shapes] = slot
        return [value.numpy() for value in slot.outputs]

    def _slot(self, feed: Mapping[str, np.ndarray]) -> Slot:
        """Buffers for requests of these shapes; their first run captures the graph."""
        if not self._outputs:
            raise RuntimeError(NO_OUTPUT)
        binding, batch = self._session.io_binding(), len(next(iter(feed.values())))
        inputs = {name: OrtValue.ortvalue_from_numpy(array, "cuda", self._device) for name, array in feed.items()}
        outputs = [self._buffer(self._made[name], batch) for name in self._outputs]
        for name, value in inputs.items():
            binding.bind_ortvalue_input(name, value)
        for name, value in zip(self._outputs, outputs):
            binding.bind_ortvalue_output(name, value)
        return Slot(inputs, outputs, binding, self._options(str(next(self._numbers))))

    def _options(self, graph: str) -> onnxruntime.RunOptions:
        options = onnxruntime.RunOptions()
        if self._several:
            options.add_run_config_entry(_GRAPH, graph)
        return options

    def _buffer(self, node: Any, batch: int) -> Any:
        element = node.type[len("tensor(") : -1]
        dims = [dim if isinstance(dim, int) else batch for dim in node.shape]
        return OrtValue.ortvalue_from_shape_and_type(
            dims, np.dtype(_NUMPY.get(element, element)).type, "cuda", self._device
        )

    def _response(self, arrays: list[np.ndarray]) -> Any:
        make = self._pb.Tensor.from_dlpack
        return self._pb.InferenceResponse(
            [make(name, host.capsule(array)) for name, array in zip(self._outputs, arrays)]
        )


def _feed(request: Any) -> dict[str, np.ndarray]:
    return {tensor.name(): np.from_dlpack(tensor) for tensor in request.inputs()}
