"""The ONNX writer and the network in PyTorch compute the same; layout, keys and counts are the original's."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from accelkit import models
from accelkit.models.text_recognition.layout import convolutions, shapes
from accelkit.models.text_recognition.model import infer

onnx = pytest.importorskip("onnx")
from accelkit.models.text_recognition import graph  # noqa: E402


def seeded(width: int) -> dict[str, np.ndarray]:
    """A state dict of random values that keep activations in range."""
    generator = np.random.default_rng(3)
    state = {}
    for key, shape in shapes(width).items():
        if key.endswith("running_var"):
            state[key] = generator.uniform(0.5, 2, shape).astype(np.float32)
        elif key.endswith("tracked"):
            state[key] = np.zeros((), np.int64)
        else:
            state[key] = generator.normal(0, 0.3 if len(shape) < 2 else np.prod(shape[1:]) ** -0.5, shape).astype(
                np.float32
            )
    return state


def parameters(width: int) -> int:
    """Trainable values of the network at that width."""
    kept = [shape for key, shape in shapes(width).items() if "running" not in key and "tracked" not in key]
    return sum(int(np.prod(shape)) for shape in kept)


def test_layout_has_the_originals_counts():
    assert len(list(convolutions(512))) == 32 and len(shapes(512)) == 194
    assert (parameters(128), parameters(512)) == (2_775_965, 44_282_885)
    assert shapes(512)["FeatureExtraction.ConvNet.layer3.0.downsample.0.weight"] == (512, 256, 1, 1)


def test_graph_is_folded_deterministic_and_opset_17():
    state = seeded(32)
    content = graph.write(state)
    assert content == graph.write(dict(reversed(state.items())))
    model = onnx.load_from_string(content)
    assert model.opset_import[0].version == 17
    counts = Counter(node.op_type for node in model.graph.node)
    assert counts == {"Conv": 32, "Relu": 29, "Add": 12, "MaxPool": 3, "ReduceMean": 1, "Transpose": 1, "MatMul": 1}
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)


@pytest.mark.parametrize("width", [128, 512])
def test_torch_has_the_same_keys_and_shapes(width):
    torch = pytest.importorskip("torch")
    from accelkit.models.text_recognition.training.network import TextRecognizer

    with torch.device("meta"):
        network = TextRecognizer(width)
    assert {key: tuple(value.shape) for key, value in network.state_dict().items()} == shapes(width)
    assert sum(value.numel() for value in network.parameters()) == parameters(width)


@pytest.mark.parametrize("source", ["seeded", "shipped"])
def test_torch_and_onnx_runtime_agree(tmp_path, source):
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    from accelkit.models.text_recognition.training.network import TextRecognizer

    state = seeded(64) if source == "seeded" else models.get().state()
    inputs = models.get().samples("hard", 8).inputs
    (tmp_path / "model.onnx").write_bytes(graph.write(state))
    network = TextRecognizer(state["Prediction.weight"].shape[1]).eval()
    network.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in state.items()})
    with torch.no_grad():
        expected = network(torch.from_numpy(inputs)).numpy()
    assert np.abs(expected).max() > 0.1
    assert np.abs(infer(tmp_path / "model.onnx", inputs) - expected).max() < 1e-4
