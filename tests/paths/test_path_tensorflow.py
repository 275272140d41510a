"""The paths tensorflow and tf-tensorrt: built, served and proven where TensorFlow is; their configs; their evidence; the ways out."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from accelkit import export, interpreters, machine, models, paths, repository, versions
from accelkit.errors import MeasureError, ModelError
from accelkit.measure import evidence, parity
from accelkit.savedmodel import reading
from accelkit.serving import Server

COMMITTED = Path(__file__).parents[2] / "model_repository"
PLAIN, TRT = paths.get("tensorflow"), paths.get("tf-tensorrt")
GPU = machine.Gpu("H200", 141.0, "9.0", "580")


@pytest.fixture(scope="module")
def model():
    return models.get()


@pytest.fixture(scope="module")
def placed(model, tmp_path_factory):
    """The path's model in a repository."""
    if reason := PLAIN.unavailable(machine.probe(), model):
        pytest.skip(reason)
    return paths.place(PLAIN, model, tmp_path_factory.mktemp("repository"))


@pytest.fixture(scope="module")
def saved(placed):
    """The SavedModel."""
    return placed.directory / "1/model.savedmodel"


@pytest.fixture(scope="module")
def served(model, placed, tmp_path_factory):
    """Parity of the served model, and the evidence that the ended server left."""
    profiles = tmp_path_factory.mktemp("profiles")
    with Server(placed.directory.parent, profile=profiles) as server:
        found = parity.check(model, parity.served(server, placed.directory.name, model), "fp32", 200)
        words = model.decode(
            server.infer(placed.directory.name, {"input.1": model.samples("test", 8).inputs})["logits"]
        )
    return found, words, evidence.READERS[PLAIN.EVIDENCE](profiles)


def test_served_it_reads_words_as_the_onnx_file_does(served, model):
    found, words, _ = served
    assert found.passed and 0 < found.distance.relative <= 1e-4, found.reason
    assert words == model.decode(model.reference("test", 8)) and (found.worse, found.better) == (0, 0)


def test_what_ran_is_seen(served):
    found = served[2]
    assert found.observed == "fp32" and "TensorFlow" in found.how
    assert sum(count for kind, count in found.nodes.items() if "Conv2D" in kind) == 33


def test_its_signature_has_the_names_of_all_paths_and_a_free_batch(saved):
    (graph,) = reading.graphs(saved)
    ports = graph.signatures[reading.DEFAULT]
    assert {name: port.shape for name, port in ports.inputs.items()} == {"input.1": (-1, 1, 32, 100)}
    assert {name: port.shape for name, port in ports.outputs.items()} == {"logits": (-1, 26, 37)}


def test_keras_writes_the_network_into_functions_that_the_graph_calls(saved):
    (graph,) = reading.graphs(saved)
    assert {node.operator for node in graph.functions[""]} <= {*reading.PLUMBING}
    assert any(node.operator == "Conv2D" for nodes in graph.functions.values() for node in nodes)


def test_the_config_may_be_left_out(model, saved, tmp_path):
    version = tmp_path / "bare/1"
    version.mkdir(parents=True)
    (version / "model.savedmodel").symlink_to(saved)
    with Server(tmp_path) as server:
        assert server.config("bare")["max_batch_size"] == 4
        assert parity.check(model, parity.served(server, "bare", model), "fp32", 8, 4).passed


def test_keras_loads_the_model_in_its_own_format(model, tmp_path):
    tensorflow = pytest.importorskip("tensorflow")
    if interpreters.named(PLAIN.BACKEND):
        pytest.skip("the Keras of another interpreter writes it")
    np.savez(tmp_path / "weights.npz", shape=np.array([1, 32, 100]), **model.folded())
    words = ["write", str(tmp_path / "weights.npz"), str(tmp_path / "saved"), "--keras", str(tmp_path / "model.keras")]
    said = json.loads(interpreters.run(PLAIN.BACKEND, "accelkit.savedmodel", words).splitlines()[-1])
    loaded = tensorflow.keras.models.load_model(tmp_path / "model.keras")
    samples = model.samples("test", 16)
    outputs = loaded(samples.inputs, training=False).numpy()
    assert parity.judge(model, model.reference("test", 16), outputs, samples.labels, "fp32").passed
    assert said["parameters"] == loaded.count_params() > 2_700_000


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["{}/weights.npz"], "weights.npz: no SavedModel can be written there: "),
        (["{}/saved", "--keras", "{}/model.pt"], "model.pt: a file of Keras' own format ends in .keras"),
        (["{}/saved", "--keras", "{}/weights.npz/model.keras"], "weights.npz: File exists"),
    ],
)
def test_a_place_that_takes_nothing_is_one_line(model, tmp_path, words, error):
    if PLAIN.unavailable(machine.probe()):
        pytest.skip("TensorFlow is not installed")
    np.savez(tmp_path / "weights.npz", shape=np.array([1, 32, 100]), **model.folded())
    with pytest.raises(ModelError, match=error) as refused:
        told = [word.format(tmp_path) for word in ["{}/weights.npz", *words]]
        interpreters.run(PLAIN.BACKEND, "accelkit.savedmodel", ["write", *told])
    assert "\n" not in str(refused.value)


def test_weights_of_something_else_are_one_line(tmp_path):
    if PLAIN.unavailable(machine.probe()):
        pytest.skip("TensorFlow is not installed")
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(ModelError, match="other.npz holds no weights of text recognition") as refused:
        interpreters.run(
            PLAIN.BACKEND, "accelkit.savedmodel", ["write", str(tmp_path / "other.npz"), str(tmp_path / "out")]
        )
    assert "\n" not in str(refused.value)


def test_its_project_is_for_the_last_server_that_has_the_backend(model, placed, tmp_path):
    project = export.export(model, "tensorflow", tmp_path / "project")
    assert versions.get("images.legacy.server") in (project / "compose.yaml").read_text()
    assert (project / "model_repository" / placed.directory.name / "1/model.savedmodel/saved_model.pb").is_file()
    assert "25.02 is the last" in (project / "model_repository" / placed.directory.name / "config.pbtxt").read_text()


@pytest.fixture(scope="module")
def exported(saved, tmp_path_factory):
    """An ONNX file of the SavedModel by tf2onnx."""
    pytest.importorskip("tf2onnx", reason="tf2onnx is not installed: pip install 'accelkit[tensorflow]'")
    target = tmp_path_factory.mktemp("exit") / "model.onnx"
    said = interpreters.run(PLAIN.BACKEND, "accelkit.savedmodel", ["onnx", str(saved), str(target)])
    return target, json.loads(said.splitlines()[-1])


def test_the_way_out_by_tf2onnx_reads_the_same_words(model, exported, tmp_path):
    target, said = exported
    assert (said["inputs"], said["outputs"], said["opset"]) == (["input.1"], ["logits"], 17)
    config = paths.get("onnxruntime-cpu").config(model, name="left")
    repository.add(tmp_path, config, {"model.onnx": target})
    with Server(tmp_path) as server:
        found = parity.check(model, parity.served(server, "left", model), "fp32", 200)
    assert found.passed and (found.worse, found.better) == (0, 0), found.reason


def test_the_way_out_by_openvino_reads_the_saved_model_itself(model, saved, tmp_path):
    pytest.importorskip("openvino")
    config = paths.get("openvino").config(model, name="left")
    config.default_model_filename = "model.saved_model"
    files = {f"model.saved_model/{path.relative_to(saved)}": path for path in saved.rglob("*") if path.is_file()}
    repository.add(tmp_path, config, files)
    reduced = "bf16" if machine.bf16(machine.probe().isa) else None
    with Server(tmp_path) as server:
        found = parity.check(model, parity.served(server, "left", model), parity.held_to("fp32", reduced), 200)
    assert found.passed and found.worse == 0, found.reason


def test_what_cannot_be_exported_is_one_line(tmp_path):
    with pytest.raises(ModelError, match="is no SavedModel: there is no saved_model.pb") as refused:
        interpreters.run(PLAIN.BACKEND, "accelkit.savedmodel", ["onnx", str(tmp_path), str(tmp_path / "out.onnx")])
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("path", "precision"), [(PLAIN, "fp32"), *((TRT, precision) for precision in TRT.PRECISIONS)])
def test_the_committed_config_equals_what_the_code_generates(model, path, precision):
    made = path.config(model, precision=precision)
    assert repository.equal(repository.read(COMMITTED / made.name), made)


def test_what_the_configs_take(model):
    made = PLAIN.config(model, threads=2, kind="KIND_GPU", parameters={"TF_SIGNATURE_DEF": "mine"}, max_batch_size=1)
    assert {key: value.string_value for key, value in made.parameters.items()} == {
        "TF_NUM_INTRA_THREADS": "2", "TF_SIGNATURE_DEF": "mine",
    }  # fmt: skip
    assert made.instance_group[0].kind == made.instance_group[0].KIND_GPU and not made.HasField("dynamic_batching")
    assert TRT.config(model, batch=256).max_batch_size == 256 and TRT.batches(model, 16) == [1, 16, 64]
    assert TRT.config(model, batch=16, max_batch_size=32).max_batch_size == 32
    assert paths.fitted(TRT, machine.probe(), 256, model.max_batch)["batch"] == 256


def test_what_they_lack_is_one_line(model, monkeypatch):
    here = machine.probe()
    bare = dataclasses.replace(here, gpus=(), runtimes={})
    monkeypatch.setattr(interpreters, "packages", lambda name: {})
    assert PLAIN.unavailable(bare).endswith("missing here: pip install 'accelkit[tensorflow]'")
    said = TRT.unavailable(bare, model)
    assert "missing here: an NVIDIA GPU, the package tensorflow up to 2.17 (ACCELKIT_PYTHON_TENSORFLOW names" in said
    monkeypatch.setattr(interpreters, "packages", lambda name: {"tensorflow": "2.18.0", "tensorrt": "8.6.0"})
    withal = dataclasses.replace(here, gpus=(GPU,))
    assert TRT.unavailable(withal, model).count("the package tensorflow up to 2.17") == 1
    monkeypatch.setattr(interpreters, "packages", lambda name: {"tensorflow": "2.14.1", "tensorrt": "8.6.0"})
    assert TRT.unavailable(withal, model) is None and "missing here" in PLAIN.unavailable(bare, model)
    monkeypatch.setenv("ACCELKIT_PYTHON_TENSORFLOW", "/somewhere/python")  # which has what the line above says
    assert PLAIN.unavailable(bare, model) is None
    assert "no SavedModel of forests" in TRT.unavailable(withal, models.get("trees"))


def test_a_conversion_is_asked_for_once(model, monkeypatch, tmp_path):
    """With a stand-in for the interpreter: what it is told, and that the cache answers the second time."""
    monkeypatch.setenv("ACCELKIT_CACHE", str(tmp_path / "cache"))
    told = []

    def run(name, module, words):
        told.append((name, module, words))
        target = Path(words[2])
        target.mkdir(parents=True)
        (target / "saved_model.pb").write_bytes(words[0].encode())
        return "a library says hello\n" + json.dumps({"tensorflow": "2.14.1"}) + "\n"

    monkeypatch.setattr(interpreters, "run", run)
    monkeypatch.setattr(interpreters, "packages", lambda name: {"tensorflow": "2.14.1", "tensorrt": "8.6.0"})
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        built = TRT.build(model, folder, "fp16", batch=256, options=["--minimum-segment-size", "5"])
        assert built.files["model.savedmodel/saved_model.pb"].read_bytes() == b"convert"
    assert [words[0] for _, _, words in told] == ["write", "convert"]
    sizes = ["--batch=1", "--batch=256"]
    assert told[1][2][3:] == ["--precision", "fp16", *sizes, "--minimum-segment-size", "5"]
    assert {(name, module) for name, module, _ in told} == {("tensorflow", "accelkit.savedmodel")}


# Evidence, on made-up traces of a GPU.
CPU_0, GPU_0 = "/job:localhost/replica:0/task:0/device:CPU:0", "/job:localhost/replica:0/task:0/device:GPU:0"
ENGINE = {"name": "TRTEngineOp_0", "label": "TRTEngineOp_0 = TRTEngineOp(x)", "type": "float32", "microseconds": 90}
SEGMENTS = {"engines": {"TRTEngineOp_0": {"precision": "FP16", "nodes": {"Conv2D": 33, "Relu": 29}}}, "in_tensorrt": 62,
            "stayed": {"Reshape": 1, "Pack": 1}}  # fmt: skip


def kernel(name: str, time: int) -> dict:
    return {"name": name, "label": f"{name} regs:80 shm:1024", "type": "", "microseconds": time}


def trace(folder: Path, devices: dict, **more) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"tensorflow": "2.14.1", "executions": 3, "segments": SEGMENTS, "devices": devices, **more}
    (folder / f"1-{len(list(folder.iterdir()))}.tensorflow").write_text(json.dumps(facts))
    return folder


HALF = kernel("sm80_xmma_fprop_implicit_gemm_f16f16_f16f16_f16_nhwckrsc_nhwc_tilesize128x128x32", 90)
TF32 = kernel("sm80_xmma_fprop_implicit_gemm_tf32f32_tf32f32_f32_nhwckrsc_nhwc", 5)
PLAIN_FP32 = kernel("ampere_sgemm_128x64_nn", 50)


def test_engines_are_seen_by_their_kernels(tmp_path):
    reshape = {"name": "r", "label": "r = Reshape(x)", "type": "float32", "microseconds": 2}
    devices = {
        GPU_0: [ENGINE, reshape, {**reshape, "label": "ThreadId 1455403904", "type": ""}],
        f"{GPU_0}/stream:all": [HALF, kernel("cudaMemset", 9)],
        f"{GPU_0}/stream:14": [HALF],
    }
    folder = trace(trace(tmp_path / "a", devices), devices)
    found = evidence.READERS[TRT.EVIDENCE](folder)
    assert found.observed == "fp16" and found.shares == {"fp16": 1.0}
    assert "TensorRT took 62 of 64 nodes in 1 segments" in found.how
    assert found.nodes["GPU fp32 TRTEngineOp"] == 1 and found.nodes["GPU kernel fp16"] == 1
    assert found.nodes["in TensorRT Conv2D"] == 33 and not [kind for kind in found.nodes if "ThreadId" in kind]
    mixed = {GPU_0: [ENGINE], f"{GPU_0}/stream:all": [HALF, TF32, TF32]}
    assert evidence.READERS[TRT.EVIDENCE](trace(tmp_path / "b", mixed)).observed == "fp16+tf32"


def test_engines_that_did_not_run_are_no_evidence(tmp_path):
    conv = {"name": "c", "label": "c = Conv2D(x, w)", "type": "float32", "microseconds": 9}
    with pytest.raises(MeasureError, match="no engine of TensorRT ran, TensorFlow computed all: 1 GPU fp32 Conv2D"):
        evidence.READERS[TRT.EVIDENCE](trace(tmp_path / "a", {GPU_0: [conv]}))
    with pytest.raises(
        MeasureError, match="ran the nodes of their segments in TensorFlow, none took the shape: 33 Conv2D"
    ):
        evidence.READERS[TRT.EVIDENCE](trace(tmp_path / "b", {GPU_0: [ENGINE, *[conv] * 33]}))
    empty = tmp_path / "c"
    with pytest.raises(MeasureError, match="0 traces and no executed node in them"):
        evidence.READERS[TRT.EVIDENCE](empty)
    with pytest.raises(
        MeasureError, match=r"1 traces and no executed node in them: nothing proves what ran \(OSError: x\)"
    ):
        evidence.READERS[TRT.EVIDENCE](trace(tmp_path / "d", {}, error="OSError: x"))
    (tmp_path / "e").mkdir()
    (tmp_path / "e/1.tensorflow").write_text("[]")
    with pytest.raises(MeasureError, match="holds no trace of TensorFlow"):
        evidence.READERS[TRT.EVIDENCE](tmp_path / "e")


def test_a_gpu_without_engines_is_told_by_its_kernels(tmp_path):
    conv = {"name": "c", "label": "c = Conv2D(x, w)", "type": "float32", "microseconds": 50}
    with_kernels = {GPU_0: [conv], f"{GPU_0}/stream:13": [PLAIN_FP32, TF32]}
    found = evidence.READERS[PLAIN.EVIDENCE](trace(tmp_path / "a", with_kernels))
    assert found.observed == "fp32+tf32" and found.nodes["GPU fp32 Conv2D"] == 1
    found = evidence.READERS[PLAIN.EVIDENCE](trace(tmp_path / "b", {GPU_0: [conv]}))
    assert found.observed == "unseen" and found.nodes["GPU fp32 Conv2D"] == 1
