"""Widening that keeps the function: every channel becomes several copies whose incoming weights are split unequally."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from accelkit.models.text_recognition.layout import convolutions

FACTOR = 4
SEED = 20261123


def _shares(generator: np.random.Generator, shape: tuple[int, ...], factor: int) -> np.ndarray:
    """Random positive numbers [*shape, factor] that sum to 1 over the last axis."""
    raw = generator.uniform(0.5, 1.5, (*shape, factor))
    return raw / raw.sum(axis=-1, keepdims=True)


def widen(state: Mapping[str, np.ndarray], factor: int = FACTOR, seed: int = SEED) -> dict[str, np.ndarray]:
    """A state dict of `factor` times the width with the same function.

    Output channels are copied `factor` times, copy k of channel c at index k * channels + c. Each copy reads an input
    channel's `factor` copies with its own random shares, which sum to the original weight, so no two copies are equal.
    The first convolution has one input channel and nothing to share: its copies differ in gain, which the next undoes.
    """
    generator = np.random.default_rng(seed)

    def split(weight: np.ndarray, copies: int) -> np.ndarray:
        """[out, in, ...] to [copies * out, factor * in, ...]."""
        out, inputs = weight.shape[:2]
        shares = _shares(generator, (copies, out, inputs), factor)  # [copy, out, in, factor]
        wide = shares.transpose(0, 1, 3, 2)[..., None, None] * weight.reshape(1, out, 1, inputs, *weight.shape[2:])
        return wide.reshape(copies * out, factor * inputs, *weight.shape[2:]).astype(np.float32)

    wide: dict[str, np.ndarray] = {}
    first, second, *_ = convolutions(state["Prediction.weight"].shape[1])
    for conv in convolutions(state["Prediction.weight"].shape[1]):
        weight = state[f"{conv.key}.weight"]
        wide[f"{conv.key}.weight"] = np.concatenate([weight] * factor) if conv.inputs == 1 else split(weight, factor)
        for part in ("weight", "bias", "running_mean", "running_var"):
            wide[f"{conv.norm}.{part}"] = np.tile(state[f"{conv.norm}.{part}"], factor)
        counter = f"{conv.norm}.num_batches_tracked"
        wide[counter] = state[counter]
    gains = generator.uniform(0.8, 1.25, factor * first.outputs).astype(np.float32)
    for part in ("weight", "bias"):
        wide[f"{first.norm}.{part}"] *= gains
    wide[f"{second.key}.weight"] /= gains[None, :, None, None]
    head = state["Prediction.weight"]
    wide["Prediction.weight"] = split(head[..., None, None], 1)[..., 0, 0]
    wide["Prediction.bias"] = state["Prediction.bias"]
    return wide
