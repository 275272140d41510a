"""Requests through a forest: one prediction for all that were gathered."""

from __future__ import annotations

from typing import Any

import numpy as np

from accelkit.backends import host
from accelkit.backends.fil.forest import Forest


class Runner:
    """Runs requests of one model and counts what it ran."""

    def __init__(self, forest: Forest, pb: Any):
        self._forest, self._pb = forest, pb
        self.calls = self.rows = 0

    def execute(self, requests: list[Any]) -> list[Any]:
        """One response for each request, in order."""
        width = self._forest.model.num_feature
        parts = [np.from_dlpack(request.inputs()[0]).reshape(-1, width) for request in requests]
        rows = parts[0] if len(parts) == 1 else np.concatenate(parts)
        try:
            answers = self._forest.answer(rows)
        except Exception as error:
            failure = self._pb.TritonError(str(error))
            return [self._pb.InferenceResponse(error=failure) for _ in requests]
        self.calls, self.rows = self.calls + 1, self.rows + len(rows)
        ends = np.cumsum([len(part) for part in parts])
        return [self._response(answers, slice(end - len(part), end)) for part, end in zip(parts, ends)]

    def facts(self) -> dict[str, Any]:
        """What ran so far: the engine, the forest, and how many calls and rows."""
        return {"calls": self.calls, "rows": self.rows, **self._forest.facts()}

    def _response(self, answers: dict[str, np.ndarray], rows: slice) -> Any:
        make = self._pb.Tensor.from_dlpack
        return self._pb.InferenceResponse([make(name, host.capsule(array[rows])) for name, array in answers.items()])
