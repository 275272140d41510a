"""Requests through a session: one run for all that were gathered, tensors handed over by DLPack without copies.

The server's stubs were built against NumPy 1: their own arrays are wrong under NumPy 2, DLPack is right under both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime

from accelkit.backends.onnxruntime.session import official


class Runner:
    """Runs requests of one model through its session."""

    def __init__(self, config: Mapping[str, Any], session: onnxruntime.InferenceSession, options: Any, pb: Any):
        self._session, self._options, self._pb = session, options, pb
        self._outputs = sorted(io["name"] for io in config["output"])
        self._batched = int(config.get("max_batch_size") or 0) > 0
        self._scalars = {node.name for node in session.get_inputs() if not node.shape}

    def execute(self, requests: list[Any]) -> list[Any]:
        """One response for each request, in order."""
        feeds = [self._feed(request) for request in requests]
        if len(feeds) == 1:
            return [self._one(feeds[0])]
        try:
            return self._together(feeds)
        except Exception:
            # Only the requests that are at fault shall fail.
            return [self._one(feed) for feed in feeds]

    def _feed(self, request: Any) -> dict[str, np.ndarray]:
        feed = {tensor.name(): np.from_dlpack(tensor) for tensor in request.inputs()}
        return {name: array.reshape(()) if name in self._scalars else array for name, array in feed.items()}

    def _run(self, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        if not self._outputs:
            raise RuntimeError("onnx runtime error 2: At least one output should be requested.")
        return self._session.run(self._outputs, feed, self._options)

    def _one(self, feed: dict[str, np.ndarray]) -> Any:
        try:
            values = self._run(feed)
        except Exception as error:
            return self._pb.InferenceResponse(error=self._pb.TritonError(str(official(error))))
        return self._response(values)

    def _together(self, feeds: list[dict[str, np.ndarray]]) -> list[Any]:
        joined = {name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]}
        values = self._run(joined)
        responses, start = [], 0
        for feed in feeds:
            end = start + len(next(iter(feed.values())))
            responses.append(self._response([value[start:end] for value in values]))
            start = end
        return responses

    def _response(self, values: list[np.ndarray]) -> Any:
        make = self._pb.Tensor.from_dlpack
        return self._pb.InferenceResponse(
            [make(name, value if value.ndim else value.reshape(1)) for name, value in zip(self._outputs, values)]
        )
