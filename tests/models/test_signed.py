"""INT8 files for TensorRT: every quantizer around zero in int8, and answers that stay those of the quantized model."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from accelkit.errors import ModelError
from accelkit.models import signed


def pair(name: str, source: str) -> list:
    """A quantizer and what turns its bytes into floats again."""
    given = [f"{name}_scale", f"{name}_zero"]
    return [
        helper.make_node("QuantizeLinear", [source, *given], [f"{name}_q"], name=name),
        helper.make_node("DequantizeLinear", [f"{name}_q", *given], [name]),
    ]


def network(zero: int, kind: type = np.uint8) -> onnx.ModelProto:
    """out = quantized(x) @ w, where w lies in the file as bytes with a scale for each column."""
    rng = np.random.default_rng(0)
    constants = {
        "a_scale": np.float32(0.01), "a_zero": np.array(zero, kind),
        "w_bytes": rng.integers(-128, 128, (8, 3)).astype(np.int8),
        "w_scale": np.array([0.01, 0.02, 0.03], np.float32), "w_zero": np.zeros(3, np.int8),
    }  # fmt: skip
    weights = helper.make_node("DequantizeLinear", ["w_bytes", "w_scale", "w_zero"], ["w"], axis=-1)
    graph = helper.make_graph(
        [*pair("a", "x"), weights, helper.make_node("MatMul", ["a", "w"], ["out"])],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 8])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    return made


def run(made: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def quantizers(made: onnx.ModelProto) -> list[tuple]:
    """Each quantizer's operator, and its zero points."""
    values = {entry.name: numpy_helper.to_array(entry) for entry in made.graph.initializer}
    pairs = [node for node in made.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    return [(node.op_type, values[node.input[2]]) for node in pairs]


@pytest.mark.parametrize(
    ("zero", "kind", "low", "high", "step"),
    [(0, np.uint8, 0.0, 2.5, 0.01 * (1 + 255 / 127) / 2), (128, np.uint8, -1.28, 1.2, 0), (0, np.int8, -1.28, 1.2, 0)],
)
def test_every_quantizer_is_around_zero_and_answers_stay(zero, kind, low, high, step):
    source = network(zero, kind)
    made = signed.signed(source)
    onnx.checker.check_model(made)
    assert [node.op_type for node in made.graph.node].count("QuantizeLinear") == 2, "the weights' too"
    assert all(point.dtype == np.int8 and not point.any() for _, point in quantizers(made))
    x = np.random.default_rng(1).uniform(low, high, (64, 8)).astype(np.float32)
    # Both round; eight products with weights below 0.03 * 128 add up.
    assert np.abs(run(source, x) - run(made, x)).max() <= step * 8 * 3.84 + 1e-5
    assert not {entry.name for entry in made.graph.initializer} & {"w_bytes", "w_zero"}


@pytest.mark.parametrize(("zero", "kind"), [(7, np.uint8), (-3, np.int8)])
def test_a_zero_point_that_tensorrt_cannot_have_is_refused(zero, kind):
    with pytest.raises(
        ModelError, match=f"quantizer a has the zero point {zero}: TensorRT takes signed bytes around 0 alone"
    ):
        signed.signed(network(zero, kind))
