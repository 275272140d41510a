"""evidence: what ran is read from profiles, and nothing is believed without one."""

import json

import numpy as np
import pytest

from accelkit import models
from accelkit.errors import MeasureError
from accelkit.measure.evidence import READERS, from_profiles


def node(name, operator, element, dur=100, provider="CPUExecutionProvider", index=0):
    shapes = [{element: [1, 2]}]
    arguments = {"op_name": operator, "provider": provider, "node_index": str(index), "input_type_shape": shapes}
    return {"cat": "Node", "name": f"{name}_kernel_time", "dur": dur, "args": arguments}


def profile(directory, *events, name="p.json"):
    directory.mkdir(exist_ok=True)
    (directory / name).write_text(json.dumps([{"cat": "Session", "name": "run", "dur": 9}, *events]))
    return directory


def test_a_real_profile_shows_the_cpu_provider_in_fp32(tmp_path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.enable_profiling, options.profile_file_prefix = True, str(tmp_path / "session")
    session = onnxruntime.InferenceSession(models.get().onnx(), options, providers=["CPUExecutionProvider"])
    for batch in (1, 2):
        session.run(None, {"input.1": np.zeros((batch, 1, 32, 100), np.float32)})
    session.end_profiling()
    found = from_profiles(tmp_path)
    assert found.observed == "fp32" and list(found.nodes) == ["CPUExecutionProvider float32"]
    assert found.nodes["CPUExecutionProvider float32"] >= 35
    assert found.as_dict()["shares"] == {"fp32": 1.0} and READERS["onnxruntime"] is from_profiles


def test_nodes_are_counted_once_however_often_and_in_however_many_instances_they_ran(tmp_path):
    events = [node("conv", "Conv", "float"), node("conv", "Conv", "float"), node("fc", "MatMul", "float", index=1)]
    profile(tmp_path, *events)
    profile(tmp_path / "second", *events, name="q.json")
    assert from_profiles(tmp_path).nodes == {"CPUExecutionProvider float32": 2}


def test_conversions_do_not_make_a_precision(tmp_path):
    events = [node(f"q{i}", "QuantizeLinear", "float", 500, index=i) for i in range(3)]
    events += [node(f"d{i}", "DequantizeLinear", "int8", 900, index=10 + i) for i in range(3)]
    found = from_profiles(profile(tmp_path, *events, node("conv", "Conv", "float", index=30)))
    assert found.observed == "fp32" and found.nodes["CPUExecutionProvider int8"] == 3


def test_the_bulk_of_the_compute_time_decides_and_a_large_rest_is_named(tmp_path):
    quantised = node("conv", "QLinearConv", "uint8", 970)
    found = from_profiles(profile(tmp_path, quantised, node("fc", "MatMul", "float", 30, index=1)))
    assert found.observed == "int8" and found.shares == {"int8": 0.97, "fp32": 0.03}
    mixed = from_profiles(profile(tmp_path, quantised, node("fc", "MatMul", "float", 500, index=1)))
    assert mixed.observed == "int8+fp32"


def test_a_fallback_to_another_provider_shows(tmp_path):
    events = [node("a", "Conv", "float16", provider="CUDAExecutionProvider"), node("b", "Resize", "float", index=1)]
    assert from_profiles(profile(tmp_path, *events)).nodes == {
        "CUDAExecutionProvider float16": 1,
        "CPUExecutionProvider float32": 1,
    }


@pytest.mark.parametrize("content", [None, "[]", '[{"cat": "Session", "name": "model_run"}]'])
def test_without_an_executed_node_nothing_is_proven(tmp_path, content):
    if content:
        (tmp_path / "p.json").write_text(content)
    with pytest.raises(MeasureError, match="no executed node"):
        from_profiles(tmp_path)


@pytest.mark.parametrize("content", ["not json", '["text"]'])
def test_a_file_that_is_no_profile_is_named(tmp_path, content):
    (tmp_path / "p.json").write_text(content)
    with pytest.raises(MeasureError, match="p.json: is no ONNX Runtime profile"):
        from_profiles(tmp_path)


def fused(*layers, index=0):
    """A subgraph of OpenVINO and the layers (operator, implementation, microseconds) that it reports."""
    name = f"OpenVINOExecutionProvider_{index}"
    events = [node(name, name, "float", 9_999, "OpenVINOExecutionProvider", index)]
    for number, (operator, implementation, dur) in enumerate(layers):
        about = {
            "ov_node_type": operator,
            "ov_exec_type": implementation,
            "parent_ort_event_name": f"{name}_kernel_time",
        }
        events.append({"cat": "Kernel", "name": f"OV::{number}", "dur": dur, "args": about})
    return events


def test_the_precision_of_a_fused_subgraph_is_that_of_its_layers(tmp_path):
    layers = [
        ("Reorder", "jit_uni_f32", 500),
        ("Convolution", "jit_avx2_I8", 900),
        ("FullyConnected", "gemm_mlas_f32", 50),
    ]
    found = from_profiles(profile(tmp_path, *fused(*layers), *fused(*layers)))
    assert found.nodes == {
        "OpenVINOExecutionProvider subgraph": 1,
        "OpenVINO layer fp32": 2,
        "OpenVINO layer int8": 1,
    }
    assert found.observed == "int8+fp32" and found.shares == {"int8": 0.9474, "fp32": 0.0526}


def test_a_fused_subgraph_that_reports_no_layer_has_no_precision(tmp_path):
    found = from_profiles(profile(tmp_path, *fused(), node("fc", "MatMul", "float", 1, index=9)))
    assert found.observed == "unseen" and found.nodes["OpenVINOExecutionProvider subgraph"] == 1


def test_a_run_without_a_node_on_openvino_is_refused(tmp_path):
    with pytest.raises(
        MeasureError, match="no node ran on OpenVINO, every one fell back: 1 CPUExecutionProvider float32"
    ):
        READERS["onnxruntime-openvino"](profile(tmp_path, node("conv", "Conv", "float")))
