"""FP16 files: half the bytes, FP16 arithmetic, FP32 at the border, and the answers of the float model."""

from __future__ import annotations

import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from accelkit import models
from accelkit.errors import MissingPackage, ModelError
from accelkit.measure import parity
from accelkit.models import half, onnx_file
from accelkit.models.text_recognition.model import infer


@pytest.fixture(scope="module")
def model():
    return models.get()


@pytest.fixture(scope="module")
def file(model):
    return half.fp16_onnx(model)


def test_weights_and_arithmetic_are_fp16_and_the_border_is_not(model, file):
    graph, source = onnx.load(file).graph, onnx.load(model.onnx()).graph
    assert {entry.data_type for entry in graph.initializer} == {TensorProto.FLOAT16}
    border = [value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)]
    assert border == [TensorProto.FLOAT, TensorProto.FLOAT]
    assert [node.op_type for node in graph.node].count("Cast") == 2 and len(graph.node) == len(source.node) + 2
    assert file.stat().st_size < 0.52 * model.onnx().stat().st_size


def test_its_answers_are_within_the_tolerance_of_fp16_and_not_equal(model, file):
    samples = model.samples("test", 16)
    found = parity.judge(model, model.reference("test", 16), infer(file, samples.inputs), samples.labels, "fp16")
    assert found.passed, found.reason
    assert found.distance.relative > 1e-5, "an FP16 file cannot answer as the FP32 one to the last digits"


def test_it_is_made_once_and_again_when_it_is_damaged(model, file, tmp_path, monkeypatch):
    said: list[str] = []
    assert half.fp16_onnx(model, say=said.append) == file and said == []
    monkeypatch.setenv("ACCELKIT_CACHE", str(tmp_path))
    first = half.fp16_onnx(model, say=said.append)
    first.write_bytes(first.read_bytes()[:-1])
    again = half.fp16_onnx(model, say=said.append)
    assert (
        again.read_bytes() == file.read_bytes() and len(said) == 2 and "converting to FP16 (convert), once" in said[0]
    )


def test_an_unknown_way_and_a_missing_package_are_one_line(model, monkeypatch):
    with pytest.raises(ModelError, match="^no way 'magic' to make an FP16 file: there are convert, autocast$"):
        half.fp16_onnx(model, "magic")
    monkeypatch.setitem(sys.modules, "modelopt", None)
    with pytest.raises(MissingPackage, match=r"accelkit\[modelopt\]"):
        half.fp16_onnx(model, "autocast")


def test_a_graph_in_which_nothing_becomes_fp16_is_refused(tmp_path):
    values = {"input": helper.make_tensor_value_info("x", TensorProto.INT64, ["N", 4])}
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])], "whole", list(values.values()),
        [helper.make_tensor_value_info("y", TensorProto.INT64, ["N", 4])],
    )  # fmt: skip
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "whole.onnx"
    )
    np.savez(tmp_path / "samples.npz", x=np.zeros((2, 4), np.int64))
    model = onnx_file.load(tmp_path / "whole.onnx", tmp_path / "samples.npz")
    with pytest.raises(ModelError, match=r"^whole: cannot be converted to FP16 \(convert\): none of its weights"):
        half.fp16_onnx(model, say=lambda text: None)
