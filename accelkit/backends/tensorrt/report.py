"""What an instance ran: the plan's layers as TensorRT's inspector has them, and the time of each in one more execution."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from accelkit.backends.tensorrt.plan import Place, Plan
from accelkit.backends.tensorrt.run import Runner
from accelkit.engine import describing


def write(path: Path, place: Place, plan: Plan, runner: Runner) -> None:
    """Write it as JSON: {"tensorrt", "ran": {"graph", "enqueue"}, "shapes", "profile", "layers", "microseconds": {name: us}}.

    What fails becomes "error": an instance at its end has nobody to tell.
    """
    ready, trt = runner.last, plan.trt
    facts: dict[str, Any] = {
        "model": place.model,
        "instance": place.instance,
        "tensorrt": trt.__version__,
        "ran": runner.ran,
        "layers": [],
        "microseconds": {},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        if ready is not None:
            facts["profile"] = f"{ready.profile.name}[{ready.profile.index}]"
            facts["shapes"] = {name: list(shape) for name, shape in ready.shapes.items()}
            ready.profile.set(ready.shapes)
            facts["layers"] = describing.layers(trt, plan.engine, ready.profile.context)
            path.write_text(json.dumps(facts, indent=1))  # the layers, whatever becomes of the times
            facts["microseconds"] = _times(trt, runner, ready)
    except Exception as error:
        facts["error"] = f"{type(error).__name__}: {error}"
    path.write_text(json.dumps(facts, indent=1))


def _times(trt: Any, runner: Runner, ready: Any) -> dict[str, float]:
    """Microseconds of each layer in the last of some executions; the first ones warm the clocks."""
    found: dict[str, float] = {}

    class Profiler(trt.IProfiler):  # type: ignore[misc, name-defined]
        """Keeps the times that TensorRT reports."""

        def __init__(self) -> None:
            trt.IProfiler.__init__(self)

        def report_layer_time(self, name: str, milliseconds: float) -> None:
            found[name] = found.get(name, 0.0) + milliseconds * 1e3

    context, profiler = ready.profile.context, Profiler()
    context.profiler = profiler
    for _ in range(4):
        found.clear()
        runner.again(ready)
    return {name: round(time, 3) for name, time in found.items()}
