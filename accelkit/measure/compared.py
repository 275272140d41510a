"""What a set of interleaved runs lets one say: medians with intervals, paired ratios, noise, verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import mean, median, stdev
from typing import Any

from accelkit.errors import MeasureError
from accelkit.measure.bench import Load, Run

STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""Two-sided 95 % points of Student's t for 1 to 10 degrees of freedom."""


@dataclass(frozen=True)
class Versus:
    """A path against the baseline: median of paired ratios, its 95 % interval, the noise of A/A, and the verdict."""

    path: str
    ratio: float
    interval: tuple[float, float]
    noise: float
    verdict: str

    def as_dict(self) -> dict[str, Any]:
        """Return the versus part of a Result."""
        low, high = self.interval
        rounded = {"ratio": round(self.ratio, 4), "interval": [round(low, 4), round(high, 4)]}
        return {**asdict(self), **rounded, "noise": round(self.noise, 4)}


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval (Student's t) of the geometric mean of positive values, widened to hold their median."""
    if len(values) < 2:
        raise MeasureError("an interval needs at least two repeats: raise the repeats")
    logs = [math.log(value) for value in values]
    freedom = len(logs) - 1
    point = STUDENT[freedom - 1] if freedom <= len(STUDENT) else 1.96 + 2.7 / freedom
    half = point * stdev(logs) / math.sqrt(len(logs))
    low, high = math.exp(mean(logs) - half), math.exp(mean(logs) + half)
    return min(low, median(values)), max(high, median(values))


def versus(name: str, baseline: Sequence[float], control: Sequence[float], other: Sequence[float]) -> Versus:
    """Compare throughputs of the same repeats; `control` is the baseline measured a second time in each of them.

    Noise is the largest ratio, as distance from 1, that the A/A interval still holds. A difference counts only if the
    interval of the ratio lies outside 1 +- noise altogether.
    """
    ratios = [mine / theirs for mine, theirs in zip(other, baseline, strict=True)]
    same = interval([again / once for again, once in zip(control, baseline, strict=True)])
    noise = max(same[1] - 1, 1 - same[0])
    low, high = interval(ratios)
    verdict = "faster" if low > 1 + noise else "slower" if high < 1 - noise else "no difference"
    return Versus(name, median(ratios), (low, high), noise, verdict)


def speed(runs: Sequence[Run], load: Load, in_process: Sequence[Run] | None = None) -> dict[str, Any]:
    """Return the speed part of a Result: medians over the repeats, and the largest residual of Little's law.

    `in_process` are the runs of the same repeats without a server; that part then holds their throughput and what share of it is
    served, with its interval.
    """
    middle = {key: round(median(getattr(run, key) for run in runs), 3) for key in ("p50_ms", "p95_ms", "p99_ms")}
    throughputs = [run.throughput for run in runs]
    worst = max((run.residual for run in runs), key=abs)
    return {
        **asdict(load),
        "throughput": round(median(throughputs), 2),
        "interval": [round(value, 2) for value in interval(throughputs)],
        **middle,
        "repeats": len(runs),
        "littles_law_residual": round(worst, 4) + 0.0,
        **({"in_process": _share(runs, in_process)} if in_process else {}),
    }


def _share(runs: Sequence[Run], own: Sequence[Run]) -> dict[str, Any]:
    ratios = [mine.throughput / one.throughput for mine, one in zip(runs, own, strict=True)]
    return {
        "throughput": round(median(run.throughput for run in own), 2),
        "share": round(median(ratios), 4),
        "interval": [round(value, 4) for value in interval(ratios)],
    }
