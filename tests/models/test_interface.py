"""The interface of accelkit.models, the cached ONNX files, and the accuracy that the kit claims."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from accelkit import models
from accelkit.errors import ModelError
from accelkit.models import files
from accelkit.models.text_recognition import ASSETS, data
from accelkit.models.text_recognition.model import TextRecognition, infer

ort = pytest.importorskip("onnxruntime")


def test_import_is_light():
    code = "import accelkit.models, sys; print([m for m in ('torch', 'onnx', 'onnxruntime', 'numpy', 'PIL') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_names_and_get():
    assert models.names()["text_recognition"][:2] == ("small", "full")
    model = models.get()
    assert (model.name, model.variant, model.metric) == ("text_recognition", "small", "word_accuracy")
    assert model.inputs == (models.Tensor("input.1", "float32", (1, 32, 100)),)
    assert model.outputs == (models.Tensor("logits", "float32", (26, 37)),)
    assert models.get("text_recognition", "full").code_hash != model.code_hash


@pytest.mark.parametrize(
    ("name", "variant", "named"), [("nothing", None, "text_recognition"), ("text_recognition", "huge", "small, full")]
)
def test_unknown_names_are_refused_with_the_known_ones(name, variant, named):
    with pytest.raises(ModelError, match=named):
        models.get(name, variant)


def test_onnx_file_serves_any_batch_and_is_built_once():
    path = models.get().onnx()
    before = path.stat().st_mtime_ns
    assert models.get().onnx() == path and path.stat().st_mtime_ns == before
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [(i.name, i.type, i.shape) for i in session.get_inputs()] == [
        ("input.1", "tensor(float)", ["batch", 1, 32, 100])
    ]
    assert [(o.name, o.type, o.shape) for o in session.get_outputs()] == [
        ("logits", "tensor(float)", ["batch", 26, 37])
    ]
    for batch in (1, 3):
        assert session.run(None, {"input.1": np.zeros((batch, 1, 32, 100), np.float32)})[0].shape == (batch, 26, 37)


def test_accuracy_is_what_the_kit_promises():
    model = models.get()
    for split, floor in (("test", 0.97), ("hard", 0.85)):
        samples = model.samples(split, 384)
        assert samples.inputs.shape == (384, 1, 32, 100) and samples.inputs.dtype == np.float32
        assert model.score(model.reference(split, 384), samples.labels) >= floor


def test_reference_is_stored_and_equals_a_new_computation(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELKIT_CACHE", str(tmp_path))
    model = models.get()
    first = model.reference("test", 20)
    stored = next((tmp_path / "models").glob("*.logits"))
    assert np.array_equal(model.reference("test", 20), first)
    assert np.allclose(infer(model.onnx(), model.samples("test", 20).inputs), first, atol=1e-4)
    stored.write_bytes(b"\0" * 40)
    assert np.allclose(model.reference("test", 20), first, atol=1e-4)


def test_damaged_cached_onnx_is_built_again(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELKIT_CACHE", str(tmp_path))
    path = models.get().onnx()
    content = path.read_bytes()
    path.write_bytes(content[:1000])
    assert models.get().onnx() == path and path.read_bytes() == content


def test_cache_that_cannot_be_written_is_one_clear_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ACCELKIT_CACHE", str(tmp_path / "file"))
    with pytest.raises(ModelError, match="ACCELKIT_CACHE") as caught:
        models.get().onnx()
    assert "\n" not in str(caught.value)


def test_full_disk_leaves_no_partial_file(tmp_path):
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000000, 1000000))\n"
        "from accelkit import models, errors\n"
        "try: models.get().onnx()\n"
        "except errors.ModelError as error: print(error)"
    )
    environment = {"ACCELKIT_CACHE": str(tmp_path), "PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert run.returncode == 0 and run.stdout.count("\n") == 1 and "cannot write" in run.stdout, run.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_missing_weights_are_one_clear_error(tmp_path):
    with pytest.raises(ModelError, match="no.safetensors"):
        TextRecognition("small", tmp_path / "no.safetensors").state()


def test_shipped_sizes():
    assert (ASSETS / "small.safetensors").stat().st_size <= 6_000_000
    assert data.ARCHIVE.stat().st_size <= 8_000_000


def test_write_is_all_or_nothing(tmp_path):
    target = files.write(tmp_path / "a" / "b", b"1")
    assert target.read_bytes() == b"1" and [path.name for path in target.parent.iterdir()] == ["b"]


def test_what_is_kept_is_made_once_and_again_when_damaged(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELKIT_CACHE", str(tmp_path))
    made = []

    def make():
        made.append(len(made))
        return f"content {made[-1]}".encode(), {"turn": made[-1]}

    first, facts = files.kept("m_small_x-0", ".bin", make)
    assert first.read_bytes() == b"content 0" and facts["turn"] == 0 and facts["wall_seconds"] >= 0
    assert files.kept("m_small_x-0", ".bin", make) == (first, facts) and made == [0]
    first.write_bytes(b"damaged")
    assert files.kept("m_small_x-0", ".bin", make)[1]["turn"] == 1
    for facts_of in tmp_path.rglob("*.json"):
        facts_of.unlink()
    assert files.kept("m_small_x-0", ".bin", make)[1]["turn"] == 2
