"""detour: a node that TensorRT lacks behind each pooling, and the same answers."""

import onnx
import pytest

from accelkit import models
from accelkit.errors import ModelError
from accelkit.measure import parity
from accelkit.models import detour
from accelkit.models.text_recognition.model import infer


def test_the_operator_stands_behind_each_pooling_and_answers_stay(tmp_path):
    model = models.get()
    target = tmp_path / "detour.onnx"
    names = detour.write(model.onnx(), target)
    graph = onnx.load(target).graph
    poolings = {node.output[0] for node in graph.node if node.op_type == "MaxPool"}
    inserted = [node for node in graph.node if node.op_type == detour.OPERATOR]
    assert [node.name for node in inserted] == names and {node.input[0] for node in inserted} == poolings
    assert all(node.domain == detour.DOMAIN for node in inserted) and len(names) == 3
    samples = model.samples("test", 16)
    found = parity.judge(model, model.reference("test", 16), infer(target, samples.inputs), samples.labels, "fp32")
    assert found.passed


def test_a_file_without_a_pooling_is_refused(tmp_path):
    value = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "one", value[:1], value[1:])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "one.onnx")
    with pytest.raises(ModelError, match="has no pooling to put QuickGelu behind"):
        detour.write(tmp_path / "one.onnx", tmp_path / "out.onnx")
