"""Requests through a session: one run for all that were gathered, tensors handed over without copies.

The server's stubs were built against NumPy 1: under NumPy 2 their as_numpy and Tensor() are wrong. DLPack is right under
both. Tensors leave as DLPack capsules of ONNX Runtime, because the stub renames a capsule in a way that NumPy's answers
with a traceback in the log, which costs more than a small model's run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime import OrtValue

from accelkit.backends import host
from accelkit.backends.onnxruntime.session import official

NO_OUTPUT = "onnx runtime error 2: At least one output should be requested."

_SPEAKS_DLPACK = hasattr(OrtValue, "from_dlpack")  # an older ONNX Runtime does not


def _taken(tensor: Any) -> Any:
    if _SPEAKS_DLPACK:
        return OrtValue.from_dlpack(tensor)
    return OrtValue.ortvalue_from_numpy(np.from_dlpack(tensor))


def _given(value: Any) -> Any:
    return value.__dlpack__() if _SPEAKS_DLPACK else host.capsule(value.numpy())


def _array(value: Any) -> np.ndarray:
    return np.from_dlpack(value) if _SPEAKS_DLPACK else value.numpy()


def why(session: onnxruntime.InferenceSession, outputs: list[str], request: Any, options: Any, error: Exception) -> str:
    """The official text of an error; a bound run does not tell its status code, so a plain one is asked again."""
    if outputs:
        try:
            session.run(outputs, {tensor.name(): np.from_dlpack(tensor) for tensor in request.inputs()}, options)
        except Exception as again:
            # Kept in a variable it would hold this frame, and with it the request and its memory, for good.
            return str(official(again))
    return str(official(error))


class Runner:
    """Runs requests of one model through its session, whose bindings it keeps."""

    def __init__(self, config: Mapping[str, Any], session: onnxruntime.InferenceSession, options: Any, pb: Any):
        self._session, self._binding, self._run = session, session.io_binding(), session.run_with_iobinding
        self._options, self._pb = options, pb
        self._outputs = sorted(io["name"] for io in config["output"])
        ranks = {node.name: len(node.shape) for node in session.get_inputs()}
        self._scalars = {name for name, rank in ranks.items() if rank == 0}
        ranks = {node.name: len(node.shape) for node in session.get_outputs()}
        self._scalar_dims = {io["name"]: [1] * len(io["dims"]) for io in config["output"] if not ranks[io["name"]]}
        self._kept: Any = None

    def execute(self, requests: list[Any]) -> list[Any]:
        """One response for each request, in order."""
        if len(requests) == 1:
            return [self._alone(requests[0])]
        try:
            return self._together(requests)
        except Exception:
            # Only the requests that are at fault shall fail.
            return [self._alone(request) for request in requests]

    def _alone(self, request: Any) -> Any:
        bind = self._binding.bind_ortvalue_input
        try:
            for tensor in request.inputs():
                name = tensor.name()
                if name in self._scalars:
                    bind(name, OrtValue.ortvalue_from_numpy(np.from_dlpack(tensor).reshape(())))
                else:
                    bind(name, _taken(tensor))
            values = self._values()
        except Exception as error:
            text = why(self._session, self._outputs, request, self._options, error)
            return self._pb.InferenceResponse(error=self._pb.TritonError(text))
        return self._response(values)

    def _together(self, requests: list[Any]) -> list[Any]:
        feeds = [{tensor.name(): np.from_dlpack(tensor) for tensor in request.inputs()} for request in requests]
        joined = {name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]}
        for name, array in joined.items():
            self._binding.bind_ortvalue_input(name, OrtValue.ortvalue_from_numpy(array))
        arrays = [_array(value) for value in self._values()]
        # The parts are views: their arrays must live until the server has taken the responses.
        self._kept = arrays
        responses, start = [], 0
        for feed in feeds:
            end = start + len(next(iter(feed.values())))
            responses.append(self._response([OrtValue.ortvalue_from_numpy(array[start:end]) for array in arrays]))
            start = end
        return responses

    def _values(self) -> list[Any]:
        """Run what is bound; a bound output would be written into again, so each run binds new ones."""
        if not self._outputs:
            raise RuntimeError(NO_OUTPUT)
        binding = self._binding
        for name in self._outputs:
            binding.bind_output(name)
        try:
            self._run(binding, self._options)
        finally:
            binding.clear_binding_inputs()
        values = binding.get_outputs()
        for name, dims in self._scalar_dims.items():
            self._kept = _array(values[self._outputs.index(name)]).reshape(dims)
            values[self._outputs.index(name)] = OrtValue.ortvalue_from_numpy(self._kept)
        return values

    def _response(self, values: list[Any]) -> Any:
        make = self._pb.Tensor.from_dlpack
        return self._pb.InferenceResponse([make(name, _given(value)) for name, value in zip(self._outputs, values)])
