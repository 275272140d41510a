"""The accelerator openvino of the onnxruntime stand-in: what moves, what stays, what is ignored, what is refused."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import small
from onnx import helper, numpy_helper

from accelkit import machine, paths
from accelkit.errors import MeasureError, ServerError
from accelkit.measure import evidence
from accelkit.serving import Server

plugin = pytest.importorskip("onnxruntime_ep_openvino")
MISSING = paths.get("onnxruntime-openvino").unavailable(machine.probe())
needs_device = pytest.mark.skipif(MISSING is not None, reason=MISSING or "")
PROVIDER = "OpenVINOExecutionProvider"
REDUCED = machine.bf16(machine.probe().isa)
"""Whether OpenVINO computes what multiplies in BF16 here."""


def accelerated(*parameters: str, count: int = 1) -> str:
    """The lines of a configuration that ask for OpenVINO."""
    given = " ".join(f'parameters {{ key: "{name}" value: "7" }}' for name in parameters)
    return (
        "optimization { execution_accelerators { cpu_execution_accelerator: ["
        + ", ".join([f'{{ name: "openvino" {given} }}'] * count)
        + "] } }"
    )


def chain(*middle) -> object:
    """[N,1,32,100] -> Relu, these nodes, Exp -> the same shape as out."""
    nodes = [helper.make_node("Relu", ["input.1"], ["first"]), *middle, helper.make_node("Exp", ["last"], ["out"])]
    start, last, end = (small.tensor(name, ["N", *small.IMAGE]) for name in ("input.1", "last", "out"))
    # ONNX infers no shape behind an operator of ai.onnx.ml, and OpenVINO takes a tensor without one for a single number.
    graph = helper.make_graph(nodes, "chain", [start], [end], value_info=[last])
    sets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
    return helper.make_model(graph, opset_imports=sets, ir_version=8)


# An operator that OpenVINO has not: it multiplies by one.
FOREIGN = helper.make_node("Scaler", ["first"], ["last"], domain="ai.onnx.ml", scale=[1.0], offset=[0.0])
ALONE = small.model(
    [helper.make_node("Det", ["input.1"], ["out"])],
    [small.tensor("input.1", ["N", 3, 3])],
    [small.tensor("out", ["N"])],
)


def quantized() -> object:
    """[N,1,32,100] -> [N,16,32,100]: a convolution between Q/DQ nodes, then Relu."""
    weights = np.random.default_rng(0).integers(-99, 99, (16, 1, 3, 3), np.int8)
    numbers = {"scale": np.float32(1 / 255), "zero": np.uint8(0), "step": np.float32(0.01), "middle": np.int8(0)}
    made = [numpy_helper.from_array(np.asarray(value), name) for name, value in {**numbers, "weights": weights}.items()]
    nodes = [
        helper.make_node("QuantizeLinear", ["input.1", "scale", "zero"], ["levels"]),
        helper.make_node("DequantizeLinear", ["levels", "scale", "zero"], ["rounded"]),
        helper.make_node("DequantizeLinear", ["weights", "step", "middle"], ["kernel"]),
        helper.make_node("Conv", ["rounded", "kernel"], ["sum"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["sum"], ["out"]),
    ]
    return small.model(
        nodes, [small.tensor("input.1", ["N", *small.IMAGE])], [small.tensor("out", ["N", 16, 32, 100])], made
    )


NUMBERS = 'parameters { key: "intra_op_thread_count" value: { string_value: "1" } }'
MODELS = {
    "plain": (small.config(dims=[10]), small.tiny()),
    "moved": (small.config(dims=[10], more=accelerated()), small.tiny()),
    "ignored": (small.config(dims=[10], more=accelerated("device_type", "num_of_threads", "nonsense")), small.tiny()),
    "threads": (small.config(dims=[10], more=accelerated() + NUMBERS), small.tiny()),
    "three": (small.config(dims=[10], more=accelerated()).replace("count: 1", "count: 3"), small.tiny()),
    "completed": ('backend: "onnxruntime" ' + accelerated(), small.tiny()),
    "split": (small.config(more=accelerated()), chain(FOREIGN)),
    "quantized": (small.config(dims=[16, 32, 100], more=accelerated()), quantized()),
    "unmoved": ('backend: "onnxruntime" max_batch_size: 4 ' + accelerated(), ALONE),
}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The answers to one request each, the memory maps of the processes, and the profiles, of all models."""
    if MISSING:
        pytest.skip(MISSING)
    repository, profiles = tmp_path_factory.mktemp("repository"), tmp_path_factory.mktemp("profiles")
    for name, (text, made) in MODELS.items():
        small.add(repository, name, text, made)
    answers, maps = {}, {}
    with Server(repository, profile=profiles) as server:
        for name in MODELS:
            image = np.eye(3, dtype=np.float32)[None] if name == "unmoved" else small.image(3)
            for _ in range(6 if name == "three" else 1):
                answers[name] = server.infer(name, {"input.1": image})["out"]
            maps[name] = mapped(name)
    return answers, maps, profiles


def mapped(name: str) -> str:
    """What the process of a model's instance has mapped."""
    for process in Path("/proc").glob("[0-9]*"):
        words = (process / "cmdline").read_bytes() if process.exists() else b""
        if f"{name}_0".encode() in words and b"stub" in words:
            return (process / "maps").read_text()
    raise AssertionError(f"no process of {name}")


def sessions(profiles: Path, name: str) -> list[dict]:
    """What each instance of a model ran with."""
    return [json.loads(file.read_text()) for file in sorted((profiles / name).glob("*.session"))]


def test_the_nodes_move_and_the_answers_stay(served):
    answers, _, profiles = served
    for name in ("moved", "ignored", "threads", "three", "completed"):
        for facts in sessions(profiles, name):
            assert facts["providers"] == [PROVIDER, "CPUExecutionProvider"]
            assert facts["assigned"] == {PROVIDER: 3}, name
        np.testing.assert_allclose(answers[name], answers["plain"], rtol=1e-2 if REDUCED else 1e-5)
    assert len(sessions(profiles, "three")) == 3
    assert sessions(profiles, "plain")[0]["assigned"] == {"CPUExecutionProvider": 3}


def test_the_plugin_is_in_the_process_of_a_model_that_asks_for_it(served):
    _, maps, _ = served
    assert plugin.get_library_path() in maps["moved"] and "openvino" not in maps["plain"]


def test_what_openvino_has_not_runs_on_the_cpu_provider(served):
    answers, _, profiles = served
    assert sessions(profiles, "split")[0]["assigned"] == {PROVIDER: 2, "CPUExecutionProvider": 1}
    np.testing.assert_allclose(answers["split"], np.exp(small.image(3)), rtol=1e-5)
    assert sessions(profiles, "unmoved")[0]["assigned"] == {"CPUExecutionProvider": 1}
    assert answers["unmoved"].tolist() == [[1.0]]


@pytest.fixture
def place(tmp_path):
    """A server with the model plain, and in its repository one with the accelerator and one with it twice."""
    small.add(tmp_path, "plain", *MODELS["plain"])
    small.add(tmp_path, "late", small.config(dims=[10], more=accelerated()), small.tiny())
    small.add(tmp_path, "twice", small.config(dims=[10], more=accelerated(count=2)), small.tiny())
    with Server(tmp_path, models=["plain"]) as server:
        yield server


def test_the_plugin_is_in_no_process_that_does_not_ask_for_it(place):
    place.infer("plain", {"input.1": small.image(3)})
    assert "onnxruntime" in mapped("plain") and "openvino" not in mapped("plain")


def test_the_server_loads_it_exactly_where_the_path_says_so(place):
    if MISSING is None:
        place.load("late")
    else:
        with pytest.raises(ServerError, match="offers no CPU device on this machine: .* on Intel processors only"):
            place.load("late")
    assert place.ready("late") == (MISSING is None)


@needs_device
def test_sessions_are_made_one_at_a_time(place):
    loading = threading.Thread(target=place.load, args=("late",))
    with open(plugin.get_library_path(), "rb") as library:
        fcntl.flock(library, fcntl.LOCK_EX)
        loading.start()
        deadline = time.monotonic() + 60
        while "ModelInstanceInitialize: late_0_0" not in place.log_tail(100_000) and time.monotonic() < deadline:
            time.sleep(0.1)
        loading.join(4)
        assert loading.is_alive() and not place.ready("late")
    loading.join(60)
    assert place.ready("late")


@needs_device
def test_the_accelerator_twice_is_refused(place):
    with pytest.raises(ServerError, match="onnx runtime error 1: Provider OpenVINOExecutionProvider has already been"):
        place.load("twice")


def fresh(code: str) -> str:
    """What a new interpreter prints."""
    start = "import sys, onnxruntime\nfrom accelkit.backends.onnxruntime import openvino\n"
    return subprocess.run([sys.executable, "-c", start + code], capture_output=True, text=True, check=True).stdout


def test_without_the_package_it_is_as_if_built_without_the_accelerator():
    code = """
sys.modules["onnxruntime_ep_openvino"] = None
try:
    openvino.add(onnxruntime.SessionOptions())
except Exception as error:
    print(type(error).__name__, error)
"""
    said = fresh(code)
    assert said.startswith("Refused unknown Execution Accelerator 'openvino' is requested: ")
    assert "onnxruntime-ep-openvino" in said and said.count("\n") == 1


def test_without_a_cpu_device_it_is_refused():
    code = """
known = onnxruntime.get_ep_devices
onnxruntime.get_ep_devices = lambda: [device for device in known() if device.ep_name != openvino.PROVIDER]
try:
    openvino.add(onnxruntime.SessionOptions())
except Exception as error:
    print(type(error).__name__, error)
"""
    said = fresh(code)
    assert said.startswith("Refused the OpenVINO provider offers no CPU device") and said.count("\n") == 1


def test_evidence_names_the_provider_and_refuses_a_run_without_it(served):
    _, _, profiles = served
    read = evidence.READERS["onnxruntime-openvino"]
    moved, split = read(profiles / "moved"), read(profiles / "split")
    assert moved.nodes["OpenVINOExecutionProvider subgraph"] == 1 and "3 of 3 nodes" in moved.how
    assert split.nodes["OpenVINOExecutionProvider subgraph"] == 2 and split.nodes["CPUExecutionProvider float32"] == 1
    assert "2 of 3 nodes" in split.how and split.observed == "fp32"
    assert read(profiles / "quantized").observed == "int8"
    assert read(profiles / "moved").observed == ("bf16" if REDUCED else "fp32")
    for name in ("unmoved", "plain"):
        with pytest.raises(MeasureError, match="no node ran on OpenVINO"):
            read(profiles / name)
