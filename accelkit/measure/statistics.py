"""The server's own account of a stretch of load: queue and compute time per request, and the batches it formed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from accelkit.errors import MeasureError

STAGES = {"queue": "queue", "input": "compute_input", "infer": "compute_infer", "output": "compute_output"}


@dataclass(frozen=True)
class Split:
    """Requests, rows, executions, microseconds per request by stage, executions by batch size."""

    requests: int
    inferences: int
    executions: int
    us: dict[str, float]
    batches: dict[int, int]

    @property
    def mean_batch(self) -> float:
        """Rows in an execution, on average."""
        return self.inferences / self.executions if self.executions else 0.0


def _counts(statistics: Mapping[str, Any]) -> dict[int, int]:
    return {int(row["batch_size"]): int(row["compute_infer"]["count"]) for row in statistics.get("batch_stats", [])}


def delta(before: Mapping[str, Any], after: Mapping[str, Any]) -> Split:
    """Return what happened between two `server.statistics(model)`; MeasureError if no request ended in between."""

    def difference(stage: str, unit: str) -> int:
        values = [int(part["inference_stats"].get(stage, {}).get(unit, 0)) for part in (before, after)]
        return values[1] - values[0]

    requests = difference("success", "count")
    if requests < 1:
        raise MeasureError(f"model {after.get('name', '')}: no successful request between the two statistics")
    us = {name: difference(stage, "ns") / requests / 1e3 for name, stage in STAGES.items()}
    inferences, executions = (int(after[key]) - int(before[key]) for key in ("inference_count", "execution_count"))
    old, new = _counts(before), _counts(after)
    batches = {size: count - old.get(size, 0) for size, count in sorted(new.items()) if count > old.get(size, 0)}
    return Split(requests, inferences, executions, us, batches)
