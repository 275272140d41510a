"""Widening keeps the function, gives the original's size, and makes no two copies equal."""

from __future__ import annotations

import numpy as np
import pytest

from accelkit import models
from accelkit.models.text_recognition.layout import convolutions, shapes
from accelkit.models.text_recognition.widen import widen


def test_full_equals_small_on_real_pictures():
    pytest.importorskip("onnxruntime")
    small, full = models.get(), models.get(variant="full")
    for split in ("test", "hard"):
        assert np.abs(full.reference(split, 24) - small.reference(split, 24)).max() < 1e-4
    assert full.onnx().stat().st_size > 170_000_000


def test_widened_state_has_the_originals_shapes_and_unequal_copies():
    state = models.get().state()
    wide = widen(state)
    assert {key: value.shape for key, value in wide.items()} == shapes(512)
    assert {value.dtype for key, value in wide.items() if not key.endswith("tracked")} == {np.dtype(np.float32)}
    for small, conv in zip(convolutions(128), convolutions(512), strict=True):
        kernel = wide[f"{conv.key}.weight"] * wide[f"{conv.norm}.weight"][:, None, None, None]
        copies = kernel.reshape(4, small.outputs, -1)
        live = np.abs(copies[0]).max(axis=1) > 1e-6
        assert live.any() and not any(np.allclose(copies[0][live], copies[k][live], rtol=1e-3) for k in (1, 2, 3)), (
            conv.key
        )


def test_widening_is_seeded():
    state = models.get().state()
    key = "FeatureExtraction.ConvNet.conv0_2.weight"
    assert np.array_equal(widen(state)[key], widen(state)[key])
    assert not np.array_equal(widen(state)[key], widen(state, seed=1)[key])
