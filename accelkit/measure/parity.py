"""Parity: are a path's outputs still the reference's, by tensor distance and by the model's own task metric?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from accelkit.errors import MeasureError
from accelkit.models import batches, named

if TYPE_CHECKING:
    from accelkit.models import Model
    from accelkit.serving import Server

Arrays = np.ndarray | Mapping[str, np.ndarray]
REFERENCE = "onnxruntime-cpu fp32"
FIELDS = "passed reference max_abs relative cosine metric reference_value value samples worse better".split()


@dataclass(frozen=True)
class Tolerance:
    """Limits: largest difference over the reference's largest magnitude, cosine, and drop of the task metric."""

    relative: float | None
    cosine: float | None
    drop: float


TOLERANCES = {
    "fp32": Tolerance(1e-4, None, 0.002),
    "tf32": Tolerance(2e-2, None, 0.005),
    "bf16": Tolerance(8e-2, None, 0.005),
    "fp16": Tolerance(3e-2, None, 0.005),
    "int8": Tolerance(None, 0.99, 0.005),
    "probability": Tolerance(1e-5, None, 1e-4),
}
"""By precision; forests are held to "probability" whatever their precision.

fp16 and tf32 have 11 significant bits. GPUs cut tf32's off instead of rounding, and TensorRT may add up in fp16: which kernels do,
a builder decides anew each time by what ran fastest, and of one model on an H200 it made 0.014 to 0.020 in fp16, 0.005 to 0.009 in
tf32, with one word in 4,096 lost at most. Of the small one it made 0.017 to 0.031 in fp16 and 0.014 to 0.020 in tf32: what is beyond
the limit is rejected. bf16 has 8 bits: OpenVINO in it was 0.049 off on a Xeon, and no word changed.
"""

REDUCED = ("tf32", "bf16")
"""What hardware computes a model of fp32 in unless it is told not to, the loosest last: such a row is held to that precision."""


@dataclass(frozen=True)
class Distance:
    """How far outputs are from the reference: absolute, over the reference's largest magnitude, and by angle."""

    max_abs: float
    relative: float
    cosine: float
    finite: bool


@dataclass(frozen=True)
class Parity:
    """The verdict and its figures; `worse` and `better` count samples that only one of the two got right."""

    passed: bool
    reason: str | None
    distance: Distance | None
    metric: str | None
    reference_value: float | None
    value: float | None
    samples: int
    worse: int = 0
    better: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return the parity part of a Result."""
        figures = {**asdict(self), **(asdict(self.distance) if self.distance else {}), "reference": REFERENCE}
        return {key: figures.get(key) for key in FIELDS}


def distance(reference: np.ndarray, outputs: np.ndarray) -> Distance:
    """Return the distance of outputs from a reference of the same shape, computed in float64, safe for zeros."""
    wanted, got = (np.asarray(array, np.float64).ravel() for array in (reference, outputs))
    if not np.isfinite(got).all():
        return Distance(float("inf"), float("inf"), 0.0, False)
    largest = float(np.abs(wanted).max(initial=0.0))
    max_abs = float(np.abs(got - wanted).max(initial=0.0))
    lengths = float(np.linalg.norm(wanted) * np.linalg.norm(got))
    cosine = float(wanted @ got / lengths) if lengths else float(max_abs == 0)
    return Distance(max_abs, max_abs / largest if largest else (float("inf") if max_abs else 0.0), cosine, True)


def _rule(model: Model, precision: str) -> str:
    rule = "probability" if model.kind == "forest" else precision
    if rule not in TOLERANCES:
        raise MeasureError(f"no tolerance for precision {precision!r}: there are {', '.join(TOLERANCES)}")
    return rule


def held_to(requested: str, observed: str | None) -> str:
    """Return the precision whose limits outputs are held to: the one asked for, but of fp32 what hardware made of any part."""
    seen = (observed or "").split("+")
    reduced = [precision for precision in REDUCED if precision in seen]
    return reduced[-1] if reduced and requested == "fp32" and {*seen} <= {"fp32", "unseen", *REDUCED} else requested


def tolerance(model: Model, precision: str) -> Tolerance:
    """Return the limits that a model's outputs are held to in a precision; MeasureError for a precision without any."""
    return TOLERANCES[_rule(model, precision)]


def judge(model: Model, reference: Arrays, outputs: Arrays, labels: tuple[Any, ...], precision: str) -> Parity:
    """Judge outputs against the reference: finite, shape, distance, task metric; the first failure is the reason.

    Of several outputs the farthest counts; the task metric looks at the first. MeasureError for a precision without tolerance.
    """
    rule, count = _rule(model, precision), len(labels)
    limit = TOLERANCES[rule]
    wanted, got = named(model.outputs, reference), named(model.outputs, outputs)
    for name, right in wanted.items():
        reason = None
        if bad := int((~np.isfinite(got[name])).sum()):
            reason = f"{bad} of {got[name].size} output values are not finite"
        elif got[name].shape != right.shape:
            reason = f"outputs have shape {list(got[name].shape)}, the reference {list(right.shape)}"
        if reason:
            return Parity(False, reason, None, model.metric, None, None, count)
    found = [distance(right, got[name]) for name, right in wanted.items()]
    far = replace(max(found, key=lambda one: one.relative), cosine=min(one.cosine for one in found))
    reason = None
    if limit.relative is not None and far.relative > limit.relative:
        reason = f"largest difference over largest magnitude is {far.relative:.3g}, {rule} allows {limit.relative:g}"
    elif limit.cosine is not None and far.cosine < limit.cosine:
        reason = f"cosine to the reference is {far.cosine:.4f}, {rule} needs {limit.cosine:g}"
    if model.metric is None:
        return Parity(reason is None, reason, far, None, None, None, count)
    first = model.outputs[0].name
    before, after = model.score(wanted[first], labels), model.score(got[first], labels)
    if reason is None and after < before - limit.drop:
        reason = f"{model.metric} fell from {before:.4f} to {after:.4f}, {rule} allows a drop of {limit.drop:g}"
    worse, better = _changed(model, wanted[first], got[first], labels)
    return Parity(reason is None, reason, far, model.metric, before, after, count, worse, better)


def _changed(model: Model, reference: np.ndarray, outputs: np.ndarray, labels: tuple[Any, ...]) -> tuple[int, int]:
    """Samples that only the reference got right, and only the outputs; a metric of a whole set, a forest's, has none."""
    if model.kind == "forest":
        return 0, 0
    gained = [
        model.score(after[None], (label,)) - model.score(before[None], (label,))
        for before, after, label in zip(reference, outputs, labels, strict=True)
    ]
    return sum(gain < 0 for gain in gained), sum(gain > 0 for gain in gained)


def check(model: Model, infer: Callable[[Arrays], Arrays], precision: str, samples: int, batch: int = 16) -> Parity:
    """Send the first `samples` test samples through `infer` (inputs [N, ...] to outputs [N, ...]) and judge them.

    Inputs and outputs are arrays by name, or those of the only tensor alone, as the model has its samples and reference.
    """
    data, reference = model.samples("test", samples), model.reference("test", samples)
    step = batch if model.max_batch else 1
    parts = [named(model.outputs, infer(part)) for part in batches(model, data.inputs, step)]
    join = np.concatenate if model.max_batch else np.stack
    outputs = {name: join([np.asarray(part[name]) for part in parts]) for name in named(model.outputs, reference)}
    return judge(model, reference, outputs, data.labels, precision)


def served(server: Server, name: str, model: Model) -> Callable[[Arrays], Arrays]:
    """Return `infer` for check that asks a server's model for all that the model's reference has."""
    targets = [spec.name for spec in model.outputs]
    return lambda inputs: server.infer(name, named(model.inputs, inputs), targets)
