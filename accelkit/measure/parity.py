"""Parity: are a path's outputs still the reference's, by tensor distance and by the model's own task metric?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from accelkit.errors import MeasureError

if TYPE_CHECKING:
    from accelkit.models import Model
    from accelkit.serving import Server

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
    "tf32": Tolerance(5e-3, None, 0.005),
    "fp16": Tolerance(2e-2, None, 0.01),
    "int8": Tolerance(None, 0.99, 0.02),
}


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
    metric: str
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


def judge(model: Model, reference: np.ndarray, outputs: np.ndarray, labels: tuple[str, ...], precision: str) -> Parity:
    """Judge outputs against the reference: finite, shape, distance, task metric; the first failure is the reason.

    MeasureError for a precision that has no tolerance.
    """
    if precision not in TOLERANCES:
        raise MeasureError(f"no tolerance for precision {precision!r}: there are {', '.join(TOLERANCES)}")
    limit, count = TOLERANCES[precision], len(labels)
    reason = None
    if bad := int((~np.isfinite(outputs)).sum()):
        reason = f"{bad} of {outputs.size} output values are not finite"
    elif outputs.shape != reference.shape:
        reason = f"outputs have shape {list(outputs.shape)}, the reference {list(reference.shape)}"
    if reason:
        return Parity(False, reason, None, model.metric, None, None, count)
    far = distance(reference, outputs)
    wanted, got = model.score(reference, labels), model.score(outputs, labels)
    gained = [
        model.score(after[None], (label,)) - model.score(before[None], (label,))
        for before, after, label in zip(reference, outputs, labels, strict=True)
    ]
    if limit.relative is not None and far.relative > limit.relative:
        allowed = f"{precision} allows {limit.relative:g}"
        reason = f"largest difference over largest magnitude is {far.relative:.2g}, {allowed}"
    elif limit.cosine is not None and far.cosine < limit.cosine:
        reason = f"cosine to the reference is {far.cosine:.4f}, {precision} needs {limit.cosine:g}"
    elif got < wanted - limit.drop:
        reason = f"{model.metric} fell from {wanted:.4f} to {got:.4f}, {precision} allows a drop of {limit.drop:g}"
    worse, better = sum(gain < 0 for gain in gained), sum(gain > 0 for gain in gained)
    return Parity(reason is None, reason, far, model.metric, wanted, got, count, worse, better)


def check(
    model: Model, infer: Callable[[np.ndarray], np.ndarray], precision: str, samples: int, batch: int = 16
) -> Parity:
    """Send the first `samples` test samples through `infer` (inputs [N, ...] to outputs [N, ...]) and judge them."""
    data = model.samples("test", samples)
    parts = [np.asarray(infer(data.inputs[start : start + batch])) for start in range(0, len(data.inputs), batch)]
    return judge(model, model.reference("test", samples), np.concatenate(parts), data.labels, precision)


def served(server: Server, name: str, model: Model) -> Callable[[np.ndarray], np.ndarray]:
    """Return `infer` for check that asks a server's model, first input to first output."""
    source, target = model.inputs[0].name, model.outputs[0].name
    return lambda inputs: server.infer(name, {source: inputs}, [target])[target]
