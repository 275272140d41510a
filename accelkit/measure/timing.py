"""Throughput, latency and Little's law from the time stamps in an export of perf_analyzer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from accelkit.errors import MeasureError

RAMP = 0.1
"""Share of a run that is warm-up and not counted."""
SETTLED = 0.05
"""Largest residual of Little's law at which a run is to be believed."""


class TooShort(MeasureError):
    """A run was too short to hold enough requests."""


@dataclass(frozen=True)
class Run:
    """One run: inferences per second, milliseconds of latency, and how far it is from Little's law."""

    concurrency: int
    throughput: float
    mean_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    requests: int
    seconds: float
    residual: float
    export: Mapping[str, Any]

    @property
    def settled(self) -> bool:
        """Whether the requests in flight were as many as asked for."""
        return abs(self.residual) <= SETTLED


def rows(export: Mapping[str, Any], batch: int) -> list[Run]:
    """Return one Run for every concurrency in an export of perf_analyzer, sorted by concurrency."""
    runs = [_run(experiment, batch, export) for experiment in export["experiments"]]
    return sorted(runs, key=lambda run: run.concurrency)


def _run(experiment: Mapping[str, Any], batch: int, export: Mapping[str, Any]) -> Run:
    import numpy as np

    concurrency = int(experiment["experiment"]["value"])
    answered = [row for row in experiment["requests"] if row["response_timestamps"]]
    times = sorted((row["response_timestamps"][-1], row["timestamp"]) for row in answered)
    if len(times) < 2 * concurrency + 2:
        raise TooShort(f"only {len(times)} requests ended at concurrency {concurrency}: measure for longer")
    ends, starts = (np.array(times, np.int64) - times[0][0]).T
    # When its first client has sent all it will, less is in flight than under load: stop there.
    moments = np.concatenate([starts, ends])
    order = np.argsort(moments, kind="stable")
    level, lasted = np.cumsum(np.where(order < len(starts), 1, -1))[:-1], np.diff(moments[order])
    full = np.flatnonzero((level >= np.bincount(level, lasted).argmax()) & (lasted > 0))[-1]
    first, last = starts.min() + RAMP * (ends[-1] - starts.min()), moments[order][full + 1]
    inside = np.clip(np.minimum(ends, last) - np.maximum(starts, first), 0, None) / np.maximum(ends - starts, 1)
    latency = (ends - starts)[(ends > first) & (ends <= last)] / 1e6
    seconds = float(last - first) / 1e9
    if seconds <= 0 or not len(latency):
        raise TooShort(f"no request ended after the warm-up at concurrency {concurrency}: measure for longer")
    rate = float(inside.sum()) / seconds
    p50, p95, p99 = (float(value) for value in np.percentile(latency, (50, 95, 99)))
    mean = float((inside * (ends - starts)).sum() / inside.sum()) / 1e6
    residual = rate * mean / 1e3 / concurrency - 1
    kept = {**export, "experiments": [experiment]}
    return Run(concurrency, rate * batch, mean, p50, p95, p99, len(latency), seconds, residual, kept)
