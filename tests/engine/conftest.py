"""TensorRT in each of its versions, made from the names of its real bindings."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))

import fake_cuda  # noqa: E402
import fake_tensorrt  # noqa: E402

from accelkit.engine import api  # noqa: E402


@pytest.fixture(params=fake_tensorrt.VERSIONS)
def trt(request, monkeypatch):
    """The module tensorrt of one version, on a machine with a GPU."""
    made = fake_tensorrt.make(request.param, fake_cuda.Driver())
    monkeypatch.setitem(sys.modules, "tensorrt", made)
    monkeypatch.setattr(api, "need_gpu", lambda: None)
    api.load.cache_clear()
    yield made
    api.load.cache_clear()


@pytest.fixture
def network(tmp_path):
    """What the fake parser takes for an ONNX file: x [N, 4] -> y [N, 4]."""
    path = tmp_path / "net.onnx"
    path.write_text(json.dumps({"inputs": {"x": [-1, 4]}, "outputs": {"y": [-1, 4]}}))
    return path
