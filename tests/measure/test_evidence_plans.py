"""Evidence of a plan: layers by the precision that TensorRT's inspector names, weighed by the time of each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from accelkit.errors import MeasureError
from accelkit.measure import evidence
from accelkit.measure.evidence_gpu import plan_precision


def layer(name: str, kind: str, given: str, made: str, kernel: str = "") -> dict:
    """A layer as the inspector writes it."""
    tensors = [[{"Name": end, "Format/Datatype": text}] if text else [] for end, text in (("x", given), ("y", made))]
    return {"Name": name, "LayerType": kind, "Inputs": tensors[0], "Outputs": tensors[1], "TacticName": kernel}


def report(folder: Path, layers: list, times: dict[str, float], name: str = "1-m_0_0") -> None:
    """What an instance wrote at its end."""
    facts = {
        "tensorrt": "8.6.0",
        "ran": {"graph": 7, "enqueue": 1},
        "profile": "0[0]",
        "layers": layers,
        "microseconds": times,
    }
    (folder / "m").mkdir(exist_ok=True)
    (folder / "m" / f"{name}.tensorrt").write_text(json.dumps(facts))


@pytest.mark.parametrize(
    ("given", "made", "kernel", "precision"),
    [("Channel major FP16 format where channel % 8 == 0", "Row major linear FP32", "sm80_xmma_f16f16", "fp16"),
     ("Half", "Half", "", "fp16"), ("BFloat16", "Float", "", "bf16"), ("Row major linear BF16", "", "", "bf16"),
     ("Thirty-two wide channel vectorized row major Int8 format", "Row major linear FP16 format", "i8i8_i8i32_f32", "int8"),
     ("Row major linear FP32", "Row major linear FP32", "sm80_xmma_fprop_tf32f32_tf32f32_f32", "tf32"),
     ("Row major linear FP32", "Row major linear FP32", "sm50_xmma_fprop_f32f32", "fp32"),
     ("Float", "Float", "", "fp32"), ("", "Half", "", "fp16"), ("FP8", "Half", "", "fp8"),
     ("Row major Int32", "Row major linear FP32", "", "fp32"), ("", "", "", "unseen")],
)  # fmt: skip
def test_a_layer_computes_in_the_type_of_its_first_tensor(given, made, kernel, precision):
    assert plan_precision(layer("a", "Convolution", given, made, kernel)) == precision


def test_layers_are_weighed_by_time_and_those_that_only_move_data_do_not_count(tmp_path):
    layers = [
        layer("in", "Reformat", "Row major linear FP32", "Half"), layer("a", "CaskConvolution", "Int8", "Int8"),
        layer("b", "CaskConvolution", "Half", "Half"), layer("c", "CaskPooling", "Int8", "Int8"),
    ]  # fmt: skip
    report(tmp_path, layers, {"in": 500.0, "a": 60.0, "b": 30.0, "c": 10.0})
    report(tmp_path, layers, {"in": 500.0, "a": 60.0, "b": 30.0, "c": 10.0}, "1-m_0_1")
    report(tmp_path, [], {}, "1-m_0_2")
    found = evidence.READERS["tensorrt"](tmp_path)
    assert found.observed == "int8+fp16" and found.shares == {"int8": 0.7, "fp16": 0.3}
    assert found.nodes == {
        "TensorRT fp32 Reformat": 1, "TensorRT int8 CaskConvolution": 1, "TensorRT fp16 CaskConvolution": 1,
        "TensorRT int8 CaskPooling": 1,
    }  # fmt: skip
    assert found.how == "TensorRT's inspector: TensorRT 8.6.0, profile 0[0], executions 7 by graph, 1 by enqueue"


def test_layers_without_times_count_the_same(tmp_path):
    layers = [layer("a", "CaskConvolution", "Half", "Half"), layer("b", "CaskPooling", "Float", "Float")]
    report(tmp_path, layers, {})
    assert evidence.READERS["tensorrt"](tmp_path).shares == {"fp16": 0.5, "fp32": 0.5}


def test_without_a_layer_or_a_report_nothing_is_proved(tmp_path):
    with pytest.raises(MeasureError, match="0 reports and no layer in them"):
        evidence.READERS["tensorrt"](tmp_path)
    report(tmp_path, [], {})
    with pytest.raises(MeasureError, match="1 reports and no layer in them: nothing proves what ran"):
        evidence.READERS["tensorrt"](tmp_path)
    (tmp_path / "m/1-m_0_0.tensorrt").write_text("{")
    with pytest.raises(MeasureError, match="holds no report of TensorRT's layers"):
        evidence.READERS["tensorrt"](tmp_path)
