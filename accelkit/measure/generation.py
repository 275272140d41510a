"""What a model that generates is measured by: time to the first part of the answer, and parts in a second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from accelkit.errors import MeasureError
from accelkit.measure.timing import RAMP, Run


@dataclass(frozen=True)
class Generation:
    """Milliseconds to the first id of a request and between two of its ids, and ids in a second of all requests and rows."""

    first_ms: float
    between_ms: float
    ids_per_s: float

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON, rounded."""
        return {name: round(value, 3) for name, value in asdict(self).items()}


def of(run: Run, batch: int, count: int) -> Generation:
    """Return the figures of a streaming run in which every request brought `count` ids for each of `batch` rows.

    Medians over its requests without the first tenth, which is warm-up; ids_per_s is rows in a second times ids.
    MeasureError where a request had fewer parts than ids: then it was not sent id by id.
    """
    (experiment,) = run.export["experiments"]
    requests = sorted(experiment["requests"], key=lambda one: one["timestamp"])
    counted = [one for one in requests[int(RAMP * len(requests)) :] if len(one["response_timestamps"]) >= count]
    if not counted:
        raise MeasureError(f"no request was answered in {count} parts: it did not come id by id")
    firsts = [one["response_timestamps"][0] - one["timestamp"] for one in counted]
    betweens = [
        (one["response_timestamps"][count - 1] - one["response_timestamps"][0]) / max(1, count - 1) for one in counted
    ]
    return Generation(median(firsts) / 1e6, median(betweens) / 1e6, run.throughput * count)


def middle(found: Sequence[Generation]) -> Generation:
    """Return the medians over several runs."""
    return Generation(*(median(getattr(one, name) for one in found) for name in asdict(found[0])))
