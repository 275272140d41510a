"""INT8: calibrated on the calibration split, as accurate as promised, the same file every time, and refused in one line."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from accelkit import models
from accelkit.errors import ModelError
from accelkit.models import Samples, Tensor, quantize

DIMS = (3, 12, 12)


@dataclass(frozen=True)
class Network:
    """A made-up network whose task nobody knows: three convolutions of random weights; the second has far outliers."""

    folder: Path
    inputs: tuple[Tensor, ...] = (Tensor("x", "float32", DIMS),)
    calibration: tuple[int, ...] = (64, *DIMS)
    dtype: str = "float32"
    name: str = "made_up"
    variant: str = "only"
    metric: str | None = None
    max_batch: int = 64
    code_hash: str = "0"

    def onnx(self) -> Path:
        numbers = np.random.default_rng(0)
        weights = [numbers.normal(size=(8, width, 3, 3)).astype(np.float32) / 5 for width in (3, 8, 8)]
        weights[1][:, 0, 0, 0] *= 60
        nodes, last = [], "x"
        for index in range(3):
            nodes.append(helper.make_node("Conv", [last, f"w{index}"], [f"c{index}"], name=f"conv{index}"))
            nodes.append(helper.make_node("Relu", [f"c{index}"], [f"r{index}"], name=f"relu{index}"))
            last = f"r{index}"
        graph = helper.make_graph(
            nodes[:-1],
            "network",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *DIMS])],
            [helper.make_tensor_value_info("c2", TensorProto.FLOAT, ["N", 8, 6, 6])],
            [onnx.numpy_helper.from_array(weight, f"w{index}") for index, weight in enumerate(weights)],
        )
        path = self.folder / "network.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
        return path

    def samples(self, split: str = "test", limit: int | None = None) -> Samples:
        assert split == "calibration"
        inputs = np.random.default_rng(1).normal(size=self.calibration).astype(self.dtype)
        return Samples(inputs, ("",) * len(inputs))


def outputs(graph: onnx.ModelProto | Path, inputs: np.ndarray) -> np.ndarray:
    content = str(graph) if isinstance(graph, Path) else graph.SerializeToString()
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).run(None, {"x": inputs})[0]


@pytest.fixture
def network(tmp_path, monkeypatch) -> Network:
    monkeypatch.setenv("ACCELKIT_CACHE", str(tmp_path / "cache"))
    return Network(tmp_path)


def test_the_text_recognition_network_keeps_its_accuracy(capfd):
    model = models.get()
    path = quantize.int8_onnx(model)
    assert capfd.readouterr().out == "", "what is printed would end in somebody's --json"
    facts = quantize.record(path)
    assert facts["before"] - facts["after"] <= facts["limit"] == 0.005
    assert (facts["metric"], facts["calibrated_on"], facts["validated_on"]) == ("word_accuracy", 256, 256)
    kinds = Counter(node.op_type for node in onnx.load(path).graph.node)
    assert (kinds["Conv"], kinds["QuantizeLinear"]) == (32, 45) and facts["float"] == []
    data, right = model.samples("hard", 256), model.reference("hard", 256)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    got = session.run(None, {"input.1": data.inputs})[0]
    assert float((got * right).sum() / np.linalg.norm(got) / np.linalg.norm(right)) > 0.999
    assert model.score(got, data.labels) >= model.score(right, data.labels) - 0.02
    assert quantize.int8_onnx(model) == path


def test_the_same_file_every_time_and_only_once(network, capsys):
    said: list[str] = []
    path = quantize.int8_onnx(network, said.append)
    assert [line.split(":")[0] for line in said] == ["made_up only"] * 2 and "once" in said[0]
    assert quantize.int8_onnx(network, said.append) == path and len(said) == 2
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    assert quantize.int8_onnx(network, said.append) == path and path.read_bytes() == content
    assert quantize.int8_onnx(replace(network, calibration=(32, *DIMS)), said.append) != path


def test_layers_return_to_float_until_little_enough_is_lost(network):
    inputs = network.samples("calibration").inputs
    whole, facts = quantize.quantized(network, inputs, ("",) * 64, limit=1.0)
    assert facts["float"] == [] and facts["all_int8"] < 0.9999
    asked = (1 - facts["all_int8"]) / 2
    made, facts = quantize.quantized(network, inputs, ("",) * 64, limit=asked)
    assert 0 < len(facts["float"]) < 3 and 1 - facts["after"] <= asked < 1 - facts["all_int8"]
    left = {node.name: set(node.input) for node in made.graph.node if node.op_type == "Conv"}
    for number in range(3):
        name = f"conv{number}"
        assert (f"w{number}" in left[name]) == (name in facts["float"])
    assert len(made.graph.node) < len(whole.graph.node)
    onnx.checker.check_model(made)
    assert not np.array_equal(outputs(made, inputs), outputs(network.onnx(), inputs))


def test_a_limit_that_no_layer_keeps_gives_the_float_network_back(network):
    inputs = network.samples("calibration").inputs
    made, facts = quantize.quantized(network, inputs, ("",) * 64, limit=-1.0)
    assert sorted(facts["float"]) == ["conv0", "conv1", "conv2"]
    assert {node.op_type for node in made.graph.node} == {"Conv", "Relu"}
    assert np.array_equal(outputs(made, inputs), outputs(network.onnx(), inputs))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"calibration": (0, *DIMS)}, "the calibration split has 0 samples, INT8 needs two at least"),
        ({"calibration": (8, 3, 12, 11)}, r"are float32 \[3, 12, 11\], its input x is float32 \[3, 12, 12\]"),
        ({"dtype": "float64"}, r"are float64 \[3, 12, 12\], its input x is float32"),
    ],
    ids=["empty", "shape", "type"],
)
def test_a_calibration_split_that_will_not_do_is_refused_in_one_line(network, change, reason):
    with pytest.raises(ModelError, match=reason) as refused:
        quantize.int8_onnx(replace(network, **change))
    assert "\n" not in str(refused.value) and re.match("made_up: ", str(refused.value))
    assert not list((network.folder).glob("cache/**/*.onnx"))
