"""parity: what is wrong is rejected, for the first reason in the order finite, shape, distance, task metric."""

import types

import numpy as np
import pytest

from accelkit import models
from accelkit.errors import MeasureError
from accelkit.measure import parity
from accelkit.measure.parity import TOLERANCES, check, distance, held_to, judge

LABELS = tuple("abcdefghij" * 10)


@pytest.fixture
def model():
    """A model whose metric is the share of rows whose largest value is the label's letter."""

    def score(outputs, labels):
        return float(
            np.mean([chr(97 + int(row.argmax())) == label for row, label in zip(outputs, labels, strict=True)])
        )

    outputs = (models.Tensor("out", "float32", (10,)), models.Tensor("more", "float32", (10,)))
    return types.SimpleNamespace(kind="network", metric="accuracy", score=score, outputs=outputs)


@pytest.fixture
def reference():
    outputs = np.random.default_rng(0).normal(size=(100, 10)).astype(np.float32)
    outputs[np.arange(100), np.arange(100) % 10] += 8
    return outputs


def test_the_table_of_tolerances():
    table = {name: (row.relative, row.cosine) for name, row in TOLERANCES.items()}
    assert table == {
        "fp32": (1e-4, None),
        "tf32": (2e-2, None),
        "bf16": (8e-2, None),
        "fp16": (3e-2, None),
        "int8": (None, 0.99),
        "probability": (1e-5, None),
    }
    drops = {name: row.drop for name, row in TOLERANCES.items()}
    assert drops == {"fp32": 0.002, "tf32": 0.005, "bf16": 0.005, "fp16": 0.005, "int8": 0.005, "probability": 1e-4}


@pytest.mark.parametrize(
    ("requested", "observed", "rule"),
    [
        ("fp32", "fp32", "fp32"), ("fp32", "tf32", "tf32"), ("fp32", "bf16", "bf16"), ("fp32", None, "fp32"),
        ("fp32", "fp16", "fp32"), ("fp32", "int8", "fp32"), ("int8", "bf16", "int8"), ("fp16", "tf32", "fp16"),
        ("fp32", "bf16+fp32", "bf16"), ("fp32", "fp32+tf32", "tf32"), ("fp32", "bf16+int8", "fp32"), ("int8", "int8+bf16", "int8"),
        ("fp32", "tf32+unseen", "tf32"), ("fp32", "bf16+tf32", "bf16"), ("fp16", "fp16+tf32", "fp16"), ("fp32", "fp32+fp16", "fp32"),
    ],
)  # fmt: skip
def test_only_what_hardware_makes_of_fp32_loosens_its_limits(requested, observed, rule):
    assert held_to(requested, observed) == rule


def test_distance_is_over_the_largest_magnitude_and_safe_for_zeros():
    found = distance(np.array([0.0, 0.0, 4.0]), np.array([0.001, 0.0, 4.0]))
    assert found.max_abs == pytest.approx(1e-3) and found.relative == pytest.approx(2.5e-4) and found.finite
    nothing = distance(np.zeros(3), np.zeros(3))
    assert (nothing.max_abs, nothing.relative, nothing.cosine) == (0, 0, 1)
    assert distance(np.zeros(3), np.ones(3)).relative == float("inf")
    assert not distance(np.ones(2), np.array([1.0, np.nan])).finite


def test_distance_is_computed_in_float64():
    big = np.full(1000, 60000, np.float16)
    found = distance(big, big)
    assert found.cosine == pytest.approx(1) and found.finite


def test_equal_outputs_pass(model, reference):
    found = judge(model, reference, reference.copy(), LABELS, "fp32")
    assert found.passed and found.reason is None and (found.value, found.reference_value) == (1.0, 1.0)
    assert found.as_dict()["passed"] and found.as_dict()["samples"] == 100


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_comes_first(model, reference, value):
    outputs = reference[:, :5].copy()
    outputs[3, 1] = value
    found = judge(model, reference, outputs, LABELS, "int8")
    assert found.reason == "1 of 500 output values are not finite" and found.as_dict()["max_abs"] is None


def test_the_shape_comes_before_the_distance(model, reference):
    found = judge(model, reference, reference[:, :9] + 100, LABELS, "fp32")
    assert not found.passed and "shape [100, 9]" in found.reason


@pytest.mark.parametrize(("precision", "size"), [("fp32", 1e-4), ("tf32", 2e-2), ("fp16", 3e-2)])
def test_the_largest_difference_decides(model, reference, precision, size):
    largest = np.abs(reference).max()
    for factor, passed in ((0.9, True), (1.1, False)):
        outputs = reference.copy()
        outputs[7, 2] += factor * size * largest
        found = judge(model, reference, outputs, LABELS, precision)
        assert found.passed is passed and bool(found.reason) is not passed
    assert found.reason.startswith("largest difference") and precision in found.reason


def test_int8_is_judged_by_angle(model, reference):
    noise = np.random.default_rng(1).normal(size=reference.shape)
    assert judge(model, reference, reference + 0.2 * noise, LABELS, "int8").passed
    assert judge(model, reference, reference + 0.9 * noise, LABELS, "int8").reason.startswith("cosine")


def test_the_task_metric_decides_what_the_distance_lets_through(model):
    close = np.zeros((100, 10), np.float32)
    close[np.arange(100), np.arange(100) % 10] = 1e-3
    close[:, 0] += 100
    close[:, 0][np.arange(100) % 10 != 0] = 0
    outputs = close.copy()
    outputs[1:60, 3] += 2e-3
    found = judge(model, close, outputs, LABELS, "fp32")
    assert found.distance.relative < 1e-4 and found.reason.startswith("accuracy fell from 1.0000 to")
    assert found.worse > 40 and found.better == 0


def test_disagreements_are_paired(model, reference):
    wrong = reference.copy()
    wrong[0, 5] += 50
    found = judge(model, wrong, reference, LABELS, "int8")
    assert (found.worse, found.better) == (0, 1)
    assert (judge(model, reference, wrong, LABELS, "int8").worse) == 1


def test_an_unknown_precision_is_an_error(model, reference):
    with pytest.raises(MeasureError, match="fp4.*there are fp32"):
        judge(model, reference, reference, LABELS, "fp4")


def test_check_runs_the_real_model_in_batches():
    import onnxruntime

    model, sizes = models.get(), []
    session = onnxruntime.InferenceSession(model.onnx(), providers=["CPUExecutionProvider"])

    def infer(inputs):
        sizes.append(len(inputs))
        return session.run(["logits"], {"input.1": inputs})[0]

    assert check(model, infer, "fp32", 20, batch=8).passed and sizes == [8, 8, 4]
    assert not check(model, lambda inputs: infer(inputs)[:, ::-1], "fp32", 8).passed


def test_the_farthest_of_several_outputs_decides(model, reference):
    outputs = {"out": reference, "more": reference * 1.001}
    found = judge(model, {"out": reference, "more": reference}, outputs, LABELS, "fp32")
    assert not found.passed and found.distance.relative == pytest.approx(1e-3, rel=1e-3) and found.value == 1.0
    outputs["more"] = reference[:, :3]
    assert "shape [100, 3]" in judge(model, {"out": reference, "more": reference}, outputs, LABELS, "fp32").reason


def test_a_forest_is_held_to_its_probabilities_and_scored_as_a_whole(model, reference):
    sizes = []
    forest = types.SimpleNamespace(**{**vars(model), "kind": "forest"})
    forest.score = lambda outputs, labels: sizes.append(len(labels)) or 0.9
    assert judge(forest, reference, reference * (1 + 0.9e-5), LABELS, "fp32").passed and sizes == [100, 100]
    assert "probability allows 1e-05" in judge(forest, reference, reference * (1 + 1.5e-5), LABELS, "fp32").reason


def test_without_a_known_task_the_distance_alone_decides(model, reference):
    unknown = types.SimpleNamespace(kind="network", metric=None, outputs=model.outputs)
    found = judge(unknown, reference, reference, (None,) * 100, "fp32")
    assert found.passed and found.value is None and found.metric is None and found.as_dict()["samples"] == 100
    assert not judge(unknown, reference, -reference, (None,) * 100, "int8").passed


def test_served_asks_for_every_output_of_the_model():
    asked = {}

    def infer(name, inputs, outputs):
        asked.update(name=name, inputs=list(inputs), outputs=outputs)
        return {"logits": "answer"}

    assert parity.served(types.SimpleNamespace(infer=infer), "m", models.get())("x") == {"logits": "answer"}
    assert asked == {"name": "m", "inputs": ["input.1"], "outputs": ["logits"]}
