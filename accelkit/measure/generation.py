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


def of(run: Run, batch: int, count: int, apart: float = 1.0) -> Generation:
    """Return the figures of a streaming run in which every request brought `count` ids for each of `batch` rows.

    Medians over its requests without the first tenth, which is warm-up; ids_per_s is rows in a second times ids. `apart` is the
    least share of a request's ids that come in a part of their own: an engine may put those together that wait for the server.
    MeasureError where every request had fewer parts: then it was not sent id by id.
    """
    requests = sorted(run.export["experiments"][0]["requests"], key=lambda one: one["timestamp"])
    least = max(1, round(apart * count))
    counted = [one for one in requests[int(RAMP * len(requests)) :] if len(one["response_timestamps"]) >= least]
    if not counted:
        raise MeasureError(f"no request was answered in {least} parts: it did not come id by id")
    firsts = [one["response_timestamps"][0] - one["timestamp"] for one in counted]
    told = [one["response_timestamps"][:count] for one in counted]
    betweens = [(times[-1] - times[0]) / max(1, count - 1) for times in told]
    return Generation(median(firsts) / 1e6, median(betweens) / 1e6, run.throughput * count)


def middle(found: Sequence[Generation]) -> Generation:
    """Return the medians over several runs."""
    return Generation(*(median(getattr(one, name) for one in found) for name in asdict(found[0])))
