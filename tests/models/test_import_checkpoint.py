"""Checkpoints of the original's form become variants; everything else is refused in one line."""

from __future__ import annotations

import os

import numpy as np
import pytest

from accelkit import models
from accelkit.errors import ModelError
from accelkit.models.text_recognition import weights
from accelkit.models.text_recognition.import_checkpoint import import_checkpoint

torch = pytest.importorskip("torch")
from accelkit.models.text_recognition.training.network import TextRecognizer  # noqa: E402


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELKIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def state():
    torch.manual_seed(1)
    return TextRecognizer(32).state_dict()


def test_originals_form_becomes_a_variant(tmp_path, state):
    stored = {f"module.{key}": value for key, value in state.items() if not key.endswith("tracked")}
    torch.save(stored, tmp_path / "None-ResNet-None-CTC.pth")
    path = import_checkpoint(tmp_path / "None-ResNet-None-CTC.pth", "official")
    assert path.is_file() and models.names()["text_recognition"] == ("small", "full", "official")
    network = TextRecognizer(32).eval()
    network.load_state_dict(state)
    model = models.get(variant="official")
    with torch.no_grad():
        expected = network(torch.from_numpy(model.samples(limit=4).inputs)).numpy()
    assert np.abs(model.reference(limit=4) - expected).max() < 1e-4


def test_original_width_is_taken(tmp_path):
    torch.save(TextRecognizer(512).state_dict(), tmp_path / "wide.pth")
    state = weights.load(import_checkpoint(tmp_path / "wide.pth", "wide"))
    assert state["Prediction.weight"].shape == (37, 512) and len(state) == 194


def test_safetensors_and_half_precision(tmp_path, state):
    values = {key: value.numpy() for key, value in state.items()}
    (tmp_path / "half.safetensors").write_bytes(weights.save(values, "float16"))
    imported = weights.load(import_checkpoint(tmp_path / "half.safetensors", "half"))
    key = "FeatureExtraction.ConvNet.conv3.weight"
    assert imported[key].dtype == np.float32 and np.allclose(imported[key], values[key], atol=1e-3)


class Evil:
    def __reduce__(self):
        return (os.system, ("touch /tmp/accelkit-evil",))


def changed(state, change):
    state = dict(state)
    change(state)
    return state


HEAD = "Prediction.weight"
BAD = {
    "missing": lambda s: s.pop("FeatureExtraction.ConvNet.conv3.weight"),
    "extra": lambda s: s.update({"Transformation.x": torch.zeros(1)}),
    "shape": lambda s: s.update({"FeatureExtraction.ConvNet.conv3.weight": torch.zeros(32, 32, 3, 2)}),
    "head": lambda s: s.update({HEAD: torch.zeros(38, 32)}),
    "nan": lambda s: s.update({HEAD: torch.full((37, 32), float("nan"))}),
    "no tensor": lambda s: s.update({HEAD: "text"}),
}


@pytest.mark.parametrize(
    "kind", [*BAD, "code", "text", "truncated", "empty", "list", "absent", "directory", "other safetensors"]
)
def test_anything_else_is_one_clear_error(tmp_path, state, kind):
    path = tmp_path / ("bad.safetensors" if kind == "other safetensors" else "bad.pth")
    if kind in BAD:
        torch.save(changed(state, BAD[kind]), path)
    elif kind == "code":
        torch.save({"x": Evil()}, path)
    elif kind in ("text", "other safetensors"):
        path.write_text("no checkpoint\n" * 20)
    elif kind == "truncated":
        torch.save(state, path)
        path.write_bytes(path.read_bytes()[:5000])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "list":
        torch.save([torch.zeros(1)], path)
    elif kind == "directory":
        path.mkdir()
    with pytest.raises(ModelError, match="bad") as caught:
        import_checkpoint(path, "bad")
    assert "\n" not in str(caught.value) and "weights_only" not in str(caught.value)
    found = {"absent": "is not there: name", "directory": "is a directory: name"}.get(kind, "is no checkpoint: name")
    if kind in ("absent", "directory", "text", "truncated", "empty", "code"):
        assert f"{found} a .pth that torch.save made of a state dict" in str(caught.value)
    assert not os.path.exists("/tmp/accelkit-evil") and models.names()["text_recognition"] == ("small", "full")


@pytest.mark.parametrize("name", ["small", "full", "", "../up", "a b", ".hidden"])
def test_names_that_cannot_be_used(tmp_path, state, name):
    torch.save(state, tmp_path / "good.pth")
    with pytest.raises(ModelError, match="cannot name"):
        import_checkpoint(tmp_path / "good.pth", name)


def test_weights_that_do_not_survive_float16_are_refused():
    values = {key: value.numpy() for key, value in TextRecognizer(16).state_dict().items()}
    with pytest.raises(ModelError, match="float16"):
        weights.save(values | {HEAD: np.full((37, 16), 1e6, np.float32)}, "float16")
    with pytest.raises(ModelError, match="running_var"):
        weights.save(values | {"FeatureExtraction.ConvNet.bn3.running_var": np.full(16, 1e-9, np.float32)}, "float16")
