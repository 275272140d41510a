"""The model trees: its table, its five forms, its ONNX form, and what it refuses."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import onnxruntime as ort
import pytest
import treelite
import xgboost

from accelkit import models
from accelkit.errors import MissingPackage, ModelError
from accelkit.measure import parity
from accelkit.models import trees
from accelkit.models.trees import graph, nodes, table, train

SHARED = ("xgboost_json", "xgboost_ubj", "treelite")


def onnx_outputs(path, inputs: np.ndarray) -> np.ndarray:
    """What ONNX Runtime answers, in a batch of all and row by row, which it computes differently; they must agree."""
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    whole = session.run(None, {"input__0": inputs})[0]
    single = np.concatenate([session.run(None, {"input__0": row[None]})[0] for row in inputs[:100]])
    assert np.allclose(whole[:100], single, atol=1e-6)
    return whole


def test_names_and_get():
    assert models.names()["trees"] == trees.VARIANTS
    model = models.get("trees")
    assert (model.name, model.variant, model.kind, model.metric) == ("trees", "xgboost_json", "forest", "roc_auc")
    assert model.inputs == (models.Tensor("input__0", "float32", (16,)),)
    assert model.outputs == (models.Tensor("output__0", "float32", (2,)),)
    with pytest.raises(ModelError, match="xgboost_json, xgboost_ubj, lightgbm, sklearn, treelite"):
        models.get("trees", "catboost")
    assert trees.get(depth=3).code_hash != model.code_hash != trees.get(trees=10).code_hash


def test_import_is_light():
    code = "import accelkit.models.trees, sys; print([m for m in ('numpy', 'treelite', 'xgboost') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_table_is_what_its_description_says():
    inputs, labels = table.payments()
    assert inputs.shape == (100_000, 16) and inputs.dtype == np.float32 and np.isfinite(inputs).all()
    assert labels.mean() == pytest.approx(0.015, abs=0.001)
    assert [(part.stop - part.start) for part in table.SPLITS.values()] == [70_000, 10_000, 20_000]
    columns = {name: inputs[:, place].astype(float) for place, name in enumerate(table.FEATURES)}
    risk = table.risk(columns)
    assert table.roc_auc(risk[table.SPLITS["test"]], table.split("test")[1]) == pytest.approx(0.91, abs=0.005)
    assert risk.mean() == pytest.approx(labels.mean(), rel=0.05)
    assert not (columns["new_device"] * columns["card_present"]).any() and columns["hour"].max() < 24
    for name in ("refunds", "km_from_home"):
        assert abs(np.corrcoef(columns[name], labels)[0, 1]) < 0.02, name
    assert np.corrcoef(columns["merchant_risk"], labels)[0, 1] > 0.05


def test_the_area_under_the_curve_is_the_share_of_right_pairs():
    stream = np.random.default_rng(0)
    scores, labels = np.round(stream.random(300), 2), stream.integers(0, 2, 300)
    pairs = scores[labels == 1][:, None] - scores[labels == 0][None]
    assert table.roc_auc(scores, labels) == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean(), abs=1e-12)
    assert table.roc_auc(labels, labels) == 1.0


def test_samples_score_and_answers():
    model = models.get("trees")
    samples = model.samples("test", 512)
    assert samples.inputs.shape == (512, 16) and set(samples.labels) == {0, 1} and len(samples.labels) == 512
    assert np.array_equal(samples.inputs, table.payments()[0][80_000:80_512])
    perfect = np.stack([1 - np.array(samples.labels), samples.labels], axis=1)
    assert model.score(perfect, samples.labels) == 1.0 and model.score(perfect[:, ::-1], samples.labels) == 0.0
    assert model.decode(np.array([[0.9, 0.1], [0.2, 0.8]])) == ["honest", "fraud"]
    with pytest.raises(ModelError, match="needs frauds and honest payments: these 4 are all of one kind"):
        model.score(perfect[:4] * 0, [0] * 4)
    for call in (model.samples, model.reference):
        with pytest.raises(ModelError, match="no .*split 'hard'|for split 'hard'"):
            call("hard")


@pytest.mark.parametrize("variant", trees.VARIANTS)
def test_treelite_and_onnx_answer_as_the_library_does(variant):
    model = models.get("trees", variant)
    inputs, labels = table.split("test")
    reference = model.reference()
    assert reference.shape == (20_000, 2) and reference.dtype == np.float32
    assert np.allclose(reference.sum(axis=1), 1, atol=1e-6)
    assert 0.87 < model.score(reference, labels) < 0.915
    served = treelite.gtil.predict(model.load(), inputs)[:, 0]
    assert np.abs(served[:, -1] - reference[:, 1]).max() < 1e-5
    answered = onnx_outputs(model.onnx(), inputs)
    for outputs in (answered, served if served.shape[1] == 2 else np.hstack([1 - served, served])):
        verdict = parity.judge(model, reference, outputs.astype(np.float32), tuple(labels.tolist()), "fp32")
        assert verdict.passed and verdict.distance.relative < 1e-5, verdict
        assert verdict.value == pytest.approx(verdict.reference_value, abs=1e-5)


def test_a_forest_that_differs_fails_parity():
    model, labels = models.get("trees"), tuple(table.split("test")[1].tolist())
    other = onnx_outputs(trees.get(trees=99).onnx(), table.split("test")[0])
    assert "probability allows 1e-05" in parity.judge(model, model.reference(), other, labels, "fp32").reason


@pytest.mark.parametrize("variant", ["xgboost_json", "lightgbm", "sklearn"])
def test_thresholds_part_rows_that_lie_on_them_and_missing_values_alike(variant):
    model = models.get("trees", variant)
    forest, inner = model.load(), nodes.read(model.load())
    splits = np.flatnonzero(inner.left >= 0)
    inputs = np.repeat(table.split("test")[0][:1], 3 * len(splits), axis=0)
    edge = inner.threshold[splits].astype(np.float32)
    sides = np.concatenate([np.nextafter(edge, np.float32(-np.inf)), edge, np.nextafter(edge, np.float32(np.inf))])
    inputs[np.arange(len(inputs)), np.tile(inner.feature[splits], 3)] = sides
    inputs[::7, 0] = np.nan
    wanted = treelite.gtil.predict(forest, inputs)[:, 0, -1]
    assert len(np.unique(wanted)) > 100
    assert np.abs(onnx_outputs(model.onnx(), inputs)[:, 1] - wanted).max() < 1e-5
    if variant == "xgboost_json":
        native = xgboost.Booster(model_file=str(model.forest())).predict(xgboost.DMatrix(inputs))
        assert np.abs(native - wanted).max() < 1e-5


def test_one_forest_in_three_forms():
    references = [models.get("trees", variant).reference() for variant in SHARED]
    assert all(np.array_equal(references[0], other) for other in references[1:])
    files = [models.get("trees", variant).onnx().read_bytes() for variant in SHARED]
    assert files[0] == files[1] == files[2]


def test_training_gives_the_same_bytes_again_and_damage_is_mended(tmp_path, monkeypatch):
    kept = {variant: trees.get(variant, 10, 3) for variant in trees.VARIANTS}
    before = {variant: (model.forest().read_bytes(), model.reference()) for variant, model in kept.items()}
    monkeypatch.setenv("ACCELKIT_CACHE", str(tmp_path))
    for variant, model in kept.items():
        again = trees.get(variant, 10, 3)
        path = again.forest()
        assert path.is_relative_to(tmp_path) and path.read_bytes() == before[variant][0], variant
        assert np.array_equal(again.reference(), before[variant][1])
        when = path.stat().st_mtime_ns
        assert model.forest() == path and path.stat().st_mtime_ns == when
    path.write_bytes(path.read_bytes()[:-1])
    next(tmp_path.rglob("trees_treelite*.npz")).write_bytes(b"")
    assert trees.get("treelite", 10, 3).forest().read_bytes() == before["treelite"][0]
    assert np.array_equal(trees.get("treelite", 10, 3).reference(), before["treelite"][1])


def test_size_of_the_forest_is_what_was_asked_for():
    made = trees.get("xgboost_json", 10, 3)
    assert made.load().num_tree == 10 and made.load().get_tree_depth().max() == 3 + 1  # levels
    assert models.get("trees").load().num_tree == 100


def test_payments_come_from_a_file_of_the_reader(tmp_path):
    model, file = models.get("trees"), tmp_path / "payments.csv"
    rows = model.samples("test", 3).inputs
    order = [*reversed(table.FEATURES)]
    columns = [list(table.FEATURES).index(name) for name in order]
    np.savetxt(file, rows[:, columns], delimiter=",", header=",".join(order), comments="", fmt="%.9g")
    assert np.array_equal(model.preprocess([model.open(file)]), rows)
    assert model.preprocess([rows[0], rows]).shape == (4, 16)
    file.write_text(",".join(order))
    assert model.open(file).shape == (0, 16)
    for content in ("amount,hour\n1,2\n", ",".join(order) + "\n" + "x," * 16, ",".join(order) + "\n1"):
        file.write_text(content)
        with pytest.raises(ModelError, match="has a line of names, amount, ") as refused:
            model.open(file)
        assert "\n" not in str(refused.value)


def test_a_missing_library_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELKIT_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(MissingPackage, match=r"training the forest lightgbm .*pip install 'accelkit\[trees\]'"):
        models.get("trees", "lightgbm").forest()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_forest_that_the_onnx_form_cannot_hold_is_refused():
    inputs, labels = table.split("calibration")
    several = xgboost.train(
        {"objective": "multi:softprob", "num_class": 3, "max_depth": 2},
        xgboost.DMatrix(inputs, labels + (inputs[:, 0] > 50)),
        2,
    )
    with pytest.raises(ValueError, match="3 outputs and the postprocessor softmax"):
        graph.write(treelite.frontend.from_xgboost(several))


def test_every_form_says_how_it_is_served():
    assert list(train.FORMS) == list(trees.VARIANTS)
    assert models.get("trees", "sklearn").file_name == "checkpoint.tl"
    assert models.get("trees", "xgboost_ubj").model_type == "xgboost_ubj"
