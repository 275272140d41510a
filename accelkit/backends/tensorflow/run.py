"""Requests through a session: those that the server gathered run as one batch.

Tensors come and go by DLPack: the server's stubs were built against NumPy 1, and their own ways are wrong under NumPy 2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from accelkit.backends import host
from accelkit.backends.key import Refused
from accelkit.backends.tensorflow.opening import Opened, attempt


class Runner:
    """Runs requests of one model through one session."""

    def __init__(self, model: str, config: Mapping[str, Any], found: Opened, pb: Any):
        self.found, self._pb, self._model = found, pb, model
        self._batch = int(config.get("max_batch_size") or 0)
        self._names = [io["name"] for io in config["output"]]
        self._calls: dict[tuple[str, ...], Any] = {}
        self.last: Mapping[str, np.ndarray] | None = None
        self.executions = 0

    def execute(self, requests: list[Any]) -> list[Any]:
        """One response for each request, in order; like the official backend, all gathered requests fail together."""
        try:
            feeds = [{tensor.name(): np.from_dlpack(tensor) for tensor in one.inputs()} for one in requests]
            asked = [set(one.requested_output_names()) for one in requests]
            names = tuple(name for name in self._names if any(name in wanted for wanted in asked))
            if not self._batch:
                arrays = self._run(feeds[0], names)
                return [self._response(names, arrays, asked[0])]
            sizes = [len(next(iter(feed.values()))) for feed in feeds]
            if sum(sizes) > self._batch:
                raise Refused(f"batch size {sum(sizes)} for '{self._model}', max allowed is {self._batch}")
            joined = feeds[0]
            if len(feeds) > 1:
                joined = {name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]}
            arrays, end, responses = self._run(joined, names), 0, []
            for size, wanted in zip(sizes, asked):
                start, end = end, end + size
                responses.append(self._response(names, [array[start:end] for array in arrays], wanted))
            return responses
        except Exception as error:
            reason = str(error)
            return [self._pb.InferenceResponse(error=self._pb.TritonError(reason)) for _ in requests]

    def _run(self, feed: Mapping[str, np.ndarray], names: tuple[str, ...]) -> Sequence[np.ndarray]:
        order = tuple(sorted(feed))
        call = self._calls.get((*order, "", *names))
        if call is None:
            fetches = [self.found.outputs[name] for name in names]
            call = self.found.session.make_callable(fetches, [self.found.inputs[name] for name in order])
            self._calls[(*order, "", *names)] = call
        self.last = feed
        self.executions += 1
        return attempt(self.found.tf, call, *(feed[name] for name in order))

    def _response(self, names: Sequence[str], arrays: Sequence[np.ndarray], wanted: set[str]) -> Any:
        return self._pb.InferenceResponse(
            [self._tensor(name, array) for name, array in zip(names, arrays) if name in wanted]
        )

    def _tensor(self, name: str, array: np.ndarray) -> Any:
        array = np.atleast_1d(array)
        if not array.flags.writeable or not array.flags.c_contiguous:
            array = array.copy()
        return self._pb.Tensor.from_dlpack(name, host.capsule(array))
