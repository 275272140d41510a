"""Requests through a loaded model: all that were gathered as one batch, outputs handed over without copies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from accelkit.backends.key import Refused
from accelkit.backends.pytorch.tensors import Program, Side, joined, received, returned


def reason(error: BaseException) -> str:
    """The line of an error of PyTorch that says what was wrong: around it stand places in sources, and long advice."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    said = [line for line in lines if line.startswith(("RuntimeError:", "torch.", "ValueError:", "TypeError:"))]
    return " ".join((said or lines)[0].split())[:600]


class Runner:
    """Runs requests of one instance; `last` are the inputs of the last execution."""

    def __init__(self, config: Mapping[str, Any], program: Program, pb: Any):
        self._pb, self._program = pb, program
        self._batched = bool(config.get("max_batch_size"))
        self._width = 1 + max(side.place for side in program.inputs)
        self.last: list[Any] | None = None

    def execute(self, requests: list[Any]) -> list[Any]:
        """One response for each request, in order; all gathered requests fail together."""
        try:
            groups = [requests] if self._batched else [[request] for request in requests]
            return [response for group in groups for response in self._group(group)]
        except Exception as error:
            said = str(error) if isinstance(error, Refused) else f"PyTorch execute failure: {reason(error)}"
            return [self._pb.InferenceResponse(error=self._pb.TritonError(said)) for _ in requests]

    def again(self) -> None:
        """Run what ran last once more, as a profiler needs it."""
        self._program.call(list(self.last or []))
        if self._program.device.type == "cuda":
            torch.cuda.synchronize()

    def _group(self, requests: list[Any]) -> list[Any]:
        given: list[Any] = [None] * self._width
        rows = [1] * len(requests)
        for side in self._program.inputs:
            parts = [received(self._named(request, side.name)) for request in requests]
            given[side.place] = joined(parts, self._program.device)
            rows = [len(part) if self._batched else 1 for part in parts]
        self.last = given
        made = self._program.call(list(given))
        found = [(side, returned(self._made(made, side), side)) for side in self._program.outputs]
        if self._program.device.type == "cuda":
            torch.cuda.synchronize()
        if not self._batched or len(requests) == 1:
            return [self._response(request, found) for request in requests]
        responses, end = [], 0
        for request, count in zip(requests, rows):
            start, end = end, end + count
            responses.append(self._response(request, [(side, value[start:end]) for side, value in found]))
        return responses

    def _named(self, request: Any, name: str) -> Any:
        tensor = self._pb.get_input_tensor_by_name(request, name)
        if tensor is None:
            raise Refused(f"input '{name}' is not in the request")
        return tensor

    def _made(self, made: list[Any], side: Side) -> Any:
        if side.place >= len(made):
            raise Refused(
                f"The output {side.name} in the model configuration refers to an output index which doesn't exist. This "
                f"model has {len(made)} outputs"
            )
        return made[side.place]

    def _response(self, request: Any, found: list[tuple[Side, Any]]) -> Any:
        asked, make = request.requested_output_names(), self._pb.Tensor
        return self._pb.InferenceResponse(
            [make.from_dlpack(side.name, value) for side, value in found if not asked or side.name in asked]
        )
