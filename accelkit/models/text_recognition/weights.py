"""State dicts as numpy arrays: reading, checking against the network's layout, writing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from accelkit.errors import ModelError
from accelkit.models import files
from accelkit.models.text_recognition.layout import shapes

COUNTER = "num_batches_tracked"


def load(path: Path) -> dict[str, np.ndarray]:
    """The state dict in a .safetensors file, checked, float32; ModelError where it is none of this network's."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        state = load_file(path)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{path} is no readable safetensors file ({files.reason(error)}): restore it or give another"
        ) from error
    return check(state, str(path))


def save(state: Mapping[str, np.ndarray], dtype: str = "float32") -> bytes:
    """The bytes of a .safetensors file, in that precision; ModelError where a value does not survive it."""
    from safetensors.numpy import save as to_bytes

    with np.errstate(over="ignore"):
        stored = {key: np.asarray(value, np.int64 if key.endswith(COUNTER) else dtype) for key, value in state.items()}
    lost = [key for key, value in stored.items() if not np.isfinite(value).all()]
    lost += [key for key, value in stored.items() if key.endswith("running_var") and not (value > 0).all()]
    if lost:
        raise ModelError(
            f"{len(lost)} tensors do not fit {dtype}, the first is {lost[0]}: rescale them or store float32"
        )
    return to_bytes(dict(sorted(stored.items())))


def check(state: Mapping[str, np.ndarray], where: str) -> dict[str, np.ndarray]:
    """The state dict with plain keys and float32 values; ModelError names the first key that is missing, foreign or misshapen."""
    state = {key.removeprefix("module."): np.asarray(value) for key, value in state.items()}
    head = state.get("Prediction.weight")
    if head is None or head.ndim != 2 or head.shape[1] % 16 or not head.shape[1]:
        raise ModelError(f"{where} is no None-ResNet-None-CTC checkpoint: it has no Prediction.weight [37, width]")
    expected = shapes(head.shape[1])
    missing = [key for key in expected if key not in state and not key.endswith(COUNTER)]
    foreign = [key for key in state if key not in expected]
    if missing or foreign:
        first = f"{missing[0]} is missing" if missing else f"{foreign[0]} does not belong there"
        raise ModelError(
            f"{where} is no None-ResNet-None-CTC checkpoint: {len(missing) + len(foreign)} keys differ, {first}"
        )
    for key, value in state.items():
        if value.shape != expected[key]:
            raise ModelError(f"{where}: {key} has shape {list(value.shape)}, the network needs {list(expected[key])}")
        if not np.isfinite(value).all():
            raise ModelError(f"{where}: {key} holds values that are not finite")
    counters = {key: np.zeros((), np.int64) for key in expected if key.endswith(COUNTER)}
    return counters | {key: value.astype(np.int64 if key in counters else np.float32) for key, value in state.items()}
