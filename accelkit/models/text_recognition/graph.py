"""The ONNX file, written straight from a state dict: batch normalization folded into the convolutions, as exporters do."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from accelkit.models.text_recognition.charset import CLASSES, STEPS
from accelkit.models.text_recognition.layout import EPSILON, Block, Conv, Pool, convolutions, steps
from accelkit.models.text_recognition.preprocess import HEIGHT, WIDTH

INPUT, OUTPUT = "input.1", "logits"
OPSET, IR_VERSION = 17, 8


def fold(state: Mapping[str, np.ndarray], conv: Conv) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias of the one convolution that equals a convolution and its batch normalization."""
    mean, variance, gain, shift = (
        state[f"{conv.norm}.{part}"].astype(np.float64) for part in ("running_mean", "running_var", "weight", "bias")
    )
    scale = gain / np.sqrt(variance + EPSILON)
    weight = state[f"{conv.key}.weight"].astype(np.float64) * scale[:, None, None, None]
    return weight.astype(np.float32), (shift - mean * scale).astype(np.float32)


def folded(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Weight and bias of every convolution and of the last layer, as they are in the model file."""
    found = {f"Prediction.{part}": state[f"Prediction.{part}"] for part in ("weight", "bias")}
    for conv in convolutions(state["Prediction.weight"].shape[1]):
        found[f"{conv.key}.weight"], found[f"{conv.key}.bias"] = fold(state, conv)
    return found


def write(state: Mapping[str, np.ndarray]) -> bytes:
    """The model file of a complete state dict of any width: input.1 [N, 1, 32, 100] to logits [N, 26, 37]."""
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []

    def add(operation: str, name: str, inputs: list[str], **attributes) -> str:
        output = OUTPUT if operation == "Add" and name == "Prediction.bias" else f"{name}.out"
        nodes.append(helper.make_node(operation, inputs, [output], name=name, **attributes))
        return output

    def constant(name: str, value: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name))
        return name

    def convolve(conv: Conv, x: str) -> str:
        weight, bias = fold(state, conv)
        inputs = [x, constant(f"{conv.key}.weight", weight), constant(f"{conv.key}.bias", bias)]
        shape = {"kernel_shape": [conv.kernel] * 2, "strides": conv.stride, "pads": [*conv.pad, *conv.pad]}
        return add("Conv", conv.key, inputs, **shape)

    def relu(name: str, x: str) -> str:
        return add("Relu", f"{name}.relu", [x])

    x = INPUT
    width = state["Prediction.weight"].shape[1]
    for step in steps(width):
        if isinstance(step, Conv):
            x = relu(step.key, convolve(step, x))
        elif isinstance(step, Pool):
            x = add("MaxPool", step.key, [x], kernel_shape=[2, 2], strides=step.stride, pads=[*step.pad, *step.pad])
        elif isinstance(step, Block):
            y = convolve(step.second, relu(step.first.key, convolve(step.first, x)))
            x = convolve(step.downsample, x) if step.downsample else x
            x = relu(step.key, add("Add", f"{step.key}.add", [y, x]))
    x = add("ReduceMean", "AdaptiveAvgPool", [x], axes=[2], keepdims=0)
    x = add("Transpose", "permute", [x], perm=[0, 2, 1])
    x = add("MatMul", "Prediction", [x, constant("Prediction.weight", state["Prediction.weight"].T)])
    add("Add", "Prediction.bias", [x, constant("Prediction.bias.value", state["Prediction.bias"])])

    graph = helper.make_graph(
        nodes,
        "text_recognition",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", 1, HEIGHT, WIDTH])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", STEPS, CLASSES])],
        constants,
    )
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="accelkit")
    onnx.checker.check_model(model)
    return model.SerializeToString(deterministic=True)
