"""The paths of PyTorch: configs, what they need, both files served and proven on a CPU, and what is evidence."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from accelkit import lint, machine, models, paths, repository
from accelkit.backends.key import ERAS
from accelkit.errors import MeasureError
from accelkit.machine import Gpu
from accelkit.measure import evidence, parity
from accelkit.serving import Server

COMMITTED = Path(__file__).parents[2] / "model_repository"
NAMES = ("pytorch", "pytorch-aoti", "torch-tensorrt")
GPU = Gpu("NVIDIA H200", 139.8, "9.0", "580.95")
EVERY = [(name, precision) for name in NAMES for precision in paths.get(name).PRECISIONS]
PACKAGE = ("bridge", "current")


@pytest.fixture(scope="module")
def model():
    return models.get()


@pytest.mark.parametrize(("name", "precision"), EVERY)
def test_the_committed_config_equals_what_the_code_generates(model, name, precision):
    made = paths.get(name).config(model, precision=precision)
    folder = COMMITTED / made.name
    assert repository.equal(repository.read(folder), made)
    assert [entry.name for entry in (*made.input, *made.output)] == ["INPUT__0", "OUTPUT__0"]
    assert len((folder / "config.pbtxt").read_text().split("#")) > 10, "explains itself"
    if name == "pytorch-aoti":
        current = repository.read(folder / "configs/current.pbtxt")
        assert repository.equal(current, paths.get(name).config(model, precision=precision, era="current"))
        assert current.platform == "torch_aoti" and made.platform == "" and current.input == made.input


def test_a_file_for_another_era_is_linted_for_that_era(tmp_path):
    folder = tmp_path / "text_recognition_pytorch_aoti"
    shutil.copytree(COMMITTED / folder.name, folder, ignore=shutil.ignore_patterns("1"))  # there it may have been built
    files = lint.configs([folder])
    assert files == [folder / "config.pbtxt", folder / "configs/current.pbtxt"]
    assert {found.rule for found in lint.file(files[0], ["legacy"])} == {"aoti-era", "not-built"}
    assert {found.rule for found in lint.file(files[0], ["current"])} == {"aoti-platform", "not-built"}
    assert {(found.rule, found.eras) for found in lint.file(files[1], ERAS)} == {("not-built", ("current",))}


def test_each_says_what_is_missing(model, made_up, monkeypatch):
    plain, package, engines = (paths.get(name) for name in NAMES)
    here = made_up(runtimes={"torch": "2.13.0", "torch-tensorrt": "2.13.0"}, gpus=(GPU,))
    bare = made_up(runtimes={})
    for path in (plain, package, engines):
        assert "missing here: " in path.unavailable(bare) and "the package torch (" in path.unavailable(bare)
        assert "trees is a forest" in path.unavailable(here, models.get("trees"))
        assert path.unavailable(here, model) is None or path is package
    assert "GPU" not in plain.unavailable(bare) and "an NVIDIA GPU" in engines.unavailable(bare)
    monkeypatch.setenv("CXX", "no-such-compiler -O2")
    assert "missing here: the C++ compiler no-such-compiler" in package.unavailable(here, model)
    old = made_up(runtimes={"torch": "2.2.0"})
    assert package.unavailable(old).endswith("PyTorch here is 2.2.0") and plain.unavailable(old) is None


def test_precisions_for_a_gpu_are_not_tried_without_one(made_up):
    bare, with_gpu = made_up(), made_up(gpus=(GPU,))
    assert [paths.worthwhile(paths.get("pytorch"), one, bare) for one in ("fp32", "fp16")] == [True, False]
    assert paths.worthwhile(paths.get("pytorch"), "fp16", with_gpu)
    assert paths.worthwhile(paths.get("openvino"), "int8", bare)


def test_a_model_is_seen_by_the_names_that_it_is_served_by(model):
    seen = paths.as_served(model, paths.get("pytorch").config(model))
    assert [spec.name for spec in (*seen.inputs, *seen.outputs)] == ["INPUT__0", "OUTPUT__0"]
    assert (seen.inputs[0].dims, seen.variant) == (model.inputs[0].dims, model.variant)
    assert paths.as_served(model, paths.get("openvino").config(model)) is model


def test_engines_are_for_the_batches_of_the_config(model):
    made = paths.get("torch-tensorrt").config(model, batch=256)
    assert made.max_batch_size == 256 and made.instance_group[0].Kind.Name(made.instance_group[0].kind) == "KIND_GPU"
    tuned = paths.get("pytorch").config(model, threads=3, instances=2, parameters={"INFERENCE_MODE": "false"})
    assert {key: value.string_value for key, value in tuned.parameters.items()} == {
        "INTRA_OP_THREAD_COUNT": "3", "INFERENCE_MODE": "false",
    }  # fmt: skip


@pytest.fixture(scope="module")
def served(model, tmp_path_factory):
    """What is here of the two on this machine: built, proven, and the evidence that the ended server left."""
    pytest.importorskip("torch")
    store, profiles = tmp_path_factory.mktemp("repository"), tmp_path_factory.mktemp("profiles")
    able = [paths.get(name) for name in NAMES[:2]]
    able = [path for path in able if path.unavailable(machine.probe(), model) is None]
    placed = {path.NAME: paths.place(path, model, store) for path in able}
    found = {}
    with Server(store, profile=profiles) as server:
        for name, one in placed.items():
            seen = paths.as_served(model, repository.read(one.directory))
            infer = parity.served(server, one.directory.name, seen)
            found[name] = (
                parity.check(seen, infer, "fp32", 70),
                seen.decode(infer(model.samples("test", 4).inputs)["OUTPUT__0"]),
            )
    read = {name: evidence.READERS["pytorch"](profiles / one.directory.name) for name, one in placed.items()}
    return placed, found, read


@pytest.mark.parametrize("name", NAMES[:2])
def test_on_a_cpu_both_files_read_words_and_say_what_ran(model, served, name):
    placed, found, read = served
    if name not in placed:
        pytest.skip(paths.get(name).unavailable(machine.probe(), model))
    verdict, words = found[name]
    assert verdict.passed, verdict.reason
    assert verdict.distance.max_abs > 0, "another engine is never equal to the last bit"
    assert words == list(model.samples("test", 4).labels)
    seen = read[name]
    assert seen.observed == "fp32" and seen.nodes["CPU fp32 mkldnn_convolution"] == 32
    assert ("AOTInductor fused kernel" in seen.nodes) == (name == "pytorch-aoti")
    assert placed[name].seconds > 0.1 and paths.get("pytorch").facts(paths.get(name).build(model, Path()))[
        "torch"
    ].startswith("2.")


def test_a_file_is_made_once(model, served, tmp_path):
    again = paths.get("pytorch").build(model, tmp_path)
    assert not list(tmp_path.iterdir()) and again.seconds == served[0]["pytorch"].seconds
    (file,) = again.files.values()
    shutil.copy(file, tmp_path / "kept")
    file.write_bytes(file.read_bytes()[:-1])
    (anew,) = paths.get("pytorch").build(model, tmp_path).files.values()
    assert anew.stat().st_size >= (tmp_path / "kept").stat().st_size - 1000, "made anew, whatever name it bears inside"


def report(folder: Path, device: str, operators, kernels=(), **program) -> Path:
    folder.mkdir(exist_ok=True)
    facts = {
        "torch": "2.2.0", "device": device, "program": {"runtime": "TorchScript", "graph": {}, "cudnn": True, **program},
        "operators": [dict(zip(("name", "type", "microseconds"), one)) for one in operators],
        "kernels": [dict(zip(("name", "microseconds"), one)) for one in kernels],
    }  # fmt: skip
    if device.startswith("cuda"):
        facts |= {"capability": [9, 0], "tf32": {"cudnn": True, "matmul": False}}
    (folder / f"1-{len(list(folder.iterdir()))}.pytorch").write_text(json.dumps(facts))
    return folder


CONV, LINEAR = ("aten::cudnn_convolution", "float", 900.0), ("aten::addmm", "float", 9.0)


def test_floats_on_a_gpu_are_tf32_where_it_may_be_used(tmp_path):
    read = evidence.READERS["pytorch"]
    seen = read(report(tmp_path / "a", "cuda:0", [CONV, LINEAR, ("aten::relu", "float", 5000.0)]))
    assert seen.observed == "tf32" and seen.nodes["CUDA fp32 relu"] == 1
    assert "TF32: cudnn allowed, matmul off; by the names of its operators" in seen.how
    assert read(report(tmp_path / "b", "cuda:0", [CONV], cudnn=False)).observed == "fp32"
    half = [("sm80_xmma_fprop_implicit_gemm_f16f16_f16f16_f16_nhwc", 9.0), ("void vectorized_elementwise_kernel", 99.0)]
    seen = read(report(tmp_path / "c", "cuda:0", [CONV], half))
    assert seen.observed == "fp16" and "its kernels" in seen.how
    assert read(report(tmp_path / "c", "cuda:0", [])) == seen, "an instance that no request reached says nothing"
    assert read(report(tmp_path / "d", "cpu", [CONV])).observed == "fp32"


def test_without_an_engine_there_is_no_torch_tensorrt(tmp_path):
    read, ran = evidence.READERS["torch-tensorrt"], [("tensorrt::execute_engine", "float", 90.0), CONV]
    with pytest.raises(
        MeasureError, match="no engine of TensorRT is in the served graph, PyTorch runs all of it: 32 conv2d"
    ):
        read(report(tmp_path / "none", "cuda:0", [CONV], graph={"aten::conv2d": 32}))
    parts = {"engines": 4, "operators": 113, "inside": 110, "outside": {"aten::copysign": 3}}
    graph = {"tensorrt::execute_engine": 4, "aten::copysign": 3}
    kernels = [("sm90_xmma_fprop_implicit_gemm_f16f16_f16f16_f16", 9.0)]
    seen = read(report(tmp_path / "some", "cuda:0", ran, kernels, graph=graph, partition=parts))
    assert seen.observed == "fp16" and seen.nodes["TensorRT engine"] == 4
    assert "TensorRT took 110 of 113 operators in 4 engines, outside of them: 3 copysign" in seen.how
    assert read(report(tmp_path / "blind", "cuda:0", ran, graph=graph, partition=parts)).observed == "unseen"


def test_no_evidence_is_an_error(tmp_path):
    read = evidence.READERS["pytorch"]
    with pytest.raises(MeasureError, match="0 reports of PyTorch and no executed operator"):
        read(tmp_path)
    with pytest.raises(MeasureError, match="1 reports of PyTorch and no executed operator"):
        read(report(tmp_path / "idle", "cpu", []))
    (tmp_path / "idle/1-0.pytorch").write_text("{}")
    with pytest.raises(MeasureError, match="holds no report of PyTorch: 'device'"):
        read(tmp_path / "idle")
    failed = {"torch": "2", "device": "cpu", "program": {"runtime": "x"}, "operators": [], "kernels": [], "error": "no"}
    (tmp_path / "idle/1-0.pytorch").write_text(json.dumps(failed))
    with pytest.raises(MeasureError, match="PyTorch could not be profiled: no"):
        read(tmp_path / "idle")


def test_a_comparison_names_the_tensors_as_each_path_serves_them(model, tmp_path):
    from accelkit import comparison

    entry = comparison.Entry(
        paths.get("pytorch"), "fp32", model=paths.as_served(model, paths.get("pytorch").config(model))
    )
    own, plain = (
        json.loads(comparison._inputs_file(model, one, tmp_path).read_text())["data"][0]
        for one in (entry, replace(entry, model=None))
    )
    assert list(own) == ["INPUT__0"] and list(plain) == ["input.1"] and own["INPUT__0"] == plain["input.1"]
    assert len(list(tmp_path.iterdir())) == 2
