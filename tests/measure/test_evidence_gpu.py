"""Evidence from a GPU: TF32 is said, a fallback is refused, TensorRT's layers decide its precision."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest

from accelkit.errors import MeasureError
from accelkit.measure.evidence import READERS
from accelkit.measure.evidence_gpu import from_cuda, from_tensorrt_provider

CUDA, TENSORRT, CPU = (f"{name}ExecutionProvider" for name in ("CUDA", "Tensorrt", "CPU"))


def node(operator, element="float", provider=CUDA, dur=100, index=0):
    shapes = [{element: [16, 1, 32, 100]}]
    arguments = {"op_name": operator, "provider": provider, "node_index": str(index), "input_type_shape": shapes}
    return {"cat": "Node", "name": f"{operator}_{index}_kernel_time", "dur": dur, "args": arguments}


def session(directory, *events, tf32="1", assigned=None, layers=None, engines=None, name="1-m_0"):
    """What a served session leaves behind: its profile, what it ran with, TensorRT's layers."""
    directory.mkdir(exist_ok=True)
    (directory / f"{name}.json").write_text(json.dumps([{"cat": "Session", "name": "run", "dur": 9}, *events]))
    note = {"provider_options": {CUDA: {"use_tf32": tf32}}, "assigned": assigned or {}}
    (directory / f"{name}.session").write_text(json.dumps(note))
    if layers is not None or engines is not None:
        facts = [
            {"kind": kind, "name": f"layer {number}", "type": element}
            for number, (kind, element) in enumerate(layers or [])
        ]
        report = {"layers": facts, "engines": engines or {}, "model": str(directory / "model.onnx")}
        (directory / f"{name}.tensorrt").write_text(json.dumps(report))
    return directory


def test_the_readers_are_registered(tmp_path):
    session(tmp_path, node("Conv"), layers=[])
    assert READERS["onnxruntime-cuda"](tmp_path).observed == "tf32"
    with pytest.raises(
        MeasureError, match="no node ran on TensorRT, every one fell back: 1 CUDAExecutionProvider tf32"
    ):
        READERS["onnxruntime-tensorrt"](tmp_path)


@pytest.mark.parametrize(
    ("tf32", "observed", "said"), [("1", "tf32", "TF32 allowed"), ("0", "fp32", "TF32 switched off")]
)
def test_float_on_cuda_is_tf32_unless_it_is_switched_off(tmp_path, tf32, observed, said):
    found = from_cuda(session(tmp_path, node("Conv"), node("Relu", index=1), tf32=tf32, assigned={CUDA: 39}))
    assert found.observed == observed and said in found.how and "CUDA took 39 of 39 nodes of the graph" in found.how
    assert found.nodes == {f"{CUDA} {'tf32' if tf32 == '1' else 'float32'}": 2}


def test_an_fp16_file_is_fp16_whatever_tf32_is_and_its_casts_do_not_count(tmp_path):
    events = [node("Cast", dur=500), node("NhwcConv", "float16", index=1), node("MatMul", "float16", index=2)]
    found = from_cuda(session(tmp_path, *events))
    assert found.observed == "fp16" and found.shares == {"fp16": 1.0}
    assert found.nodes == {f"{CUDA} float16": 2, f"{CUDA} tf32": 1}


def test_what_fell_back_to_the_cpu_is_no_tf32(tmp_path):
    found = from_cuda(session(tmp_path, node("Conv"), node("Resize", provider=CPU, dur=300, index=1)))
    assert found.observed == "fp32+tf32" and found.nodes[f"{CPU} float32"] == 1
    with pytest.raises(MeasureError, match="no node ran on CUDA, every one fell back: 1 CPUExecutionProvider float32"):
        from_cuda(session(tmp_path / "cpu", node("Conv", provider=CPU)))


def test_two_instances_run_the_same_graph(tmp_path):
    session(tmp_path, node("Conv"))
    assert from_cuda(session(tmp_path, node("Conv"), name="1-m_1")).nodes == {f"{CUDA} tf32": 1}


def test_no_profile_or_a_broken_one_proves_nothing(tmp_path):
    with pytest.raises(MeasureError, match="0 profiles and no executed node"):
        from_cuda(tmp_path)
    (tmp_path / "p.json").write_text("[3]")
    with pytest.raises(MeasureError, match="p.json: is no ONNX Runtime profile"):
        from_cuda(tmp_path)


KERNEL = node("TRTKernel_graph_main", provider=TENSORRT)
LAYERS = [("Reformat", "Float"), ("Constant", "Float"), *[("CaskConvolution", "Half")] * 30, ("Myelin", "Half")]


def test_the_layers_say_in_what_tensorrt_computes(tmp_path):
    found = from_tensorrt_provider(session(tmp_path, KERNEL, layers=LAYERS, assigned={TENSORRT: 81}))
    assert found.observed == "fp16" and "TensorRT took 81 of 81 nodes of the graph" in found.how
    assert found.nodes == {
        f"{TENSORRT} subgraph": 1, "TensorRT fp16 CaskConvolution": 30, "TensorRT fp16 Myelin": 1,
        "TensorRT tf32 Reformat": 1, "TensorRT tf32 Constant": 1,
    }  # fmt: skip
    asked = session(tmp_path / "float", KERNEL, layers=[("CaskConvolution", "Float")] * 30)
    assert from_tensorrt_provider(asked).observed == "tf32"


def test_what_tensorrt_left_to_cuda_counts_and_shows(tmp_path):
    rest = [node("Custom", "float16", index=number) for number in (1, 2)]
    found = from_tensorrt_provider(
        session(tmp_path, KERNEL, *rest, node("Memcpy", index=3), layers=[("CaskConvolution", "Int8")] * 6)
    )
    assert found.observed == "int8+fp16" and found.shares == {"int8": 0.75, "fp16": 0.25}
    assert found.nodes[f"{CUDA} float16"] == 2


def test_an_engine_without_a_report_is_unseen(tmp_path):
    assert from_tensorrt_provider(session(tmp_path, KERNEL)).observed == "unseen"
    assert from_tensorrt_provider(session(tmp_path, KERNEL, engines={})).observed == "unseen"


@pytest.mark.parametrize(
    ("sizes", "observed"),
    [
        ((410,), "tf32"),
        ((150, 260), "unseen"),
        ((205,), "fp16"),
        ((120, 100), "fp16"),
        ((350,), "unseen"),
        ((106,), "unseen"),
    ],
)
def test_engines_without_layers_are_judged_by_their_bytes_for_each_weight(tmp_path, sizes, observed):
    weights = onnx.numpy_helper.from_array(np.ones((10, 10), np.float32), "weights")
    shape = onnx.numpy_helper.from_array(np.ones(50, np.int64), "shape")
    graph = onnx.helper.make_graph([], "net", [], [], [weights, shape])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "model.onnx")
    engines = {f"{number}.engine": size for number, size in enumerate(sizes)}
    found = from_tensorrt_provider(session(tmp_path, KERNEL, engines=engines))
    assert found.observed == observed and f"{sum(sizes) / 100:.2f} bytes for each weight" in found.how
