"""The paths onnxruntime-cuda and onnxruntime-tensorrt: what they need, their files, their configs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from accelkit import interpreters, machine, models, paths, repository
from accelkit.models import Tensor, half

COMMITTED = Path(__file__).parents[2] / "model_repository"
CUDA, TENSORRT = paths.get("onnxruntime-cuda"), paths.get("onnxruntime-tensorrt")
H200 = machine.Gpu("H200", 141.0, "9.0", "580")


@pytest.fixture(scope="module")
def model():
    return models.get()


def accelerators(config) -> dict[str, dict[str, str]]:
    """Parameters by accelerator of a GPU."""
    listed = config.optimization.execution_accelerators.gpu_execution_accelerator
    return {entry.name: dict(entry.parameters) for entry in listed}


@pytest.mark.parametrize(("path", "precision"), [(path, one) for path in (CUDA, TENSORRT) for one in path.PRECISIONS])
def test_committed_configs_equal_what_the_code_generates(model, path, precision):
    made = path.config(model, precision=precision)
    assert repository.equal(repository.read(COMMITTED / made.name), made)
    assert made.instance_group[0].Kind.Name(made.instance_group[0].kind) == "KIND_GPU"


@pytest.mark.parametrize(
    ("packages", "gpus", "cuda", "tensorrt"),
    [
        (("onnxruntime-gpu", "tensorrt"), True, None, None),
        (("onnxruntime-gpu",), True, None, "the package tensorrt"),
        (("onnxruntime", "tensorrt"), True, "the package onnxruntime-gpu", "the package onnxruntime-gpu"),
        (("onnxruntime-gpu", "tensorrt"), False, "missing here: an NVIDIA GPU", "missing here: an NVIDIA GPU"),
    ],
)
def test_they_say_what_is_missing(made_up, monkeypatch, model, packages, gpus, cuda, tensorrt):
    monkeypatch.setattr(interpreters, "packages", lambda backend: dict.fromkeys(packages, "1"))
    here = made_up(gpus=(H200,) if gpus else ())
    for path, said in ((CUDA, cuda), (TENSORRT, tensorrt)):
        reason = path.unavailable(here, model)
        assert (reason is None) == (said is None) and (said or "") in (reason or "") and "\n" not in (reason or "")
        assert "no kernel" in path.unavailable(here, models.get("trees"))


def test_precisions_are_told_apart_by_file_and_tf32(model, tmp_path):
    files = {precision: CUDA.build(model, tmp_path, precision).files["model.onnx"] for precision in CUDA.PRECISIONS}
    assert files["fp32"] == files["tf32"] == model.onnx() and files["fp16"] == half.fp16_onnx(model)
    given = {precision: accelerators(CUDA.config(model, precision=precision)) for precision in CUDA.PRECISIONS}
    assert given == {"fp32": {"cuda": {"use_tf32": "0"}}, "tf32": {}, "fp16": {"cuda": {"prefer_nhwc": "1"}}}
    assert TENSORRT.build(model, tmp_path, "fp16").files == {"model.onnx": files["fp16"]}
    assert list(tmp_path.iterdir()) == []


def test_settings_of_cuda_reach_the_config(model):
    made = CUDA.config(
        model, precision="fp32", name="mine", instances=2, search="HEURISTIC", nhwc=True, cuda_graph=True,
        provider={"fuse_conv_bias": "1"}, parameters={"gpu_mem_limit": "5"}, max_batch_size=256, dynamic_batching=False,
    )  # fmt: skip
    assert (made.name, made.instance_group[0].count, made.max_batch_size) == ("mine", 2, 256)
    assert not made.HasField("dynamic_batching")
    assert accelerators(made)["cuda"] == {
        "use_tf32": "0",
        "prefer_nhwc": "1",
        "enable_cuda_graph": "1",
        "fuse_conv_bias": "1",
    }
    values = {key: value.string_value for key, value in made.parameters.items()}
    assert values == {"cudnn_conv_algo_search": "1", "gpu_mem_limit": "5"}
    assert accelerators(CUDA.config(model, precision="fp16", nhwc=False)) == {}


def test_tensorrts_profile_and_warmup_cover_the_batches(model):
    made = TENSORRT.config(model, batch=32, max_batch_size=128)
    shapes = {key: value for key, value in accelerators(made)["tensorrt"].items() if "profile" in key}
    assert shapes == {
        "trt_profile_min_shapes": "input.1:1x1x32x100",
        "trt_profile_opt_shapes": "input.1:32x1x32x100",
        "trt_profile_max_shapes": "input.1:128x1x32x100",
    }
    assert [(entry.name, entry.batch_size) for entry in made.model_warmup] == [
        ("batch_1", 1),
        ("batch_32", 32),
        ("batch_128", 128),
    ]
    assert all(list(entry.inputs["input.1"].dims) == [1, 32, 100] for entry in made.model_warmup)
    assert TENSORRT.config(model, batch=256).max_batch_size == 256
    assert len(TENSORRT.config(model, batch=1, max_batch_size=1).model_warmup) == 1
    assert not TENSORRT.config(model, warmup=False).model_warmup


def test_a_model_with_free_dims_or_without_a_batch_has_no_profile(model):
    free = dataclasses.replace(model, inputs=(Tensor("input.1", "float32", (1, 32, -1)),))
    made = TENSORRT.config(free)
    assert accelerators(made) == {"tensorrt": {}} and not made.model_warmup
    fixed = TENSORRT.config(dataclasses.replace(model, max_batch=0))
    assert (fixed.max_batch_size, accelerators(fixed), len(fixed.model_warmup)) == (0, {"tensorrt": {}}, 1)


def test_fp16_is_asked_for_again_where_tensorrt_needs_it(model, made_up, monkeypatch):
    versions = {"tensorrt": "8.6.0"}
    monkeypatch.setattr(interpreters, "packages", lambda backend: versions)
    asked = paths.fitted(TENSORRT, made_up(), 16)
    assert asked == {"batch": 16, "weak_typing": True} and paths.fitted(CUDA, made_up(), 16) == {}
    assert accelerators(TENSORRT.config(model, precision="fp16", **asked))["tensorrt"]["precision_mode"] == "FP16"
    assert "precision_mode" not in accelerators(TENSORRT.config(model, precision="fp32", **asked))["tensorrt"]
    versions["tensorrt"] = "10.0"
    assert paths.fitted(TENSORRT, made_up(), 16) == {"batch": 16}


def test_caches_lie_beside_the_placed_file_or_where_they_are_told(model, tmp_path, monkeypatch):
    monkeypatch.setattr(TENSORRT, "unavailable", lambda machine, model=None: None)
    placed = paths.place(TENSORRT, model, tmp_path / "models")
    given = accelerators(repository.read(placed.directory))["tensorrt"]
    where = str(placed.directory / "1" / "cache")
    assert given["trt_engine_cache_path"] == given["trt_timing_cache_path"] == where and Path(where).is_absolute()
    assert given["trt_engine_cache_enable"] == given["trt_timing_cache_enable"] == "1"
    elsewhere = paths.place(TENSORRT, model, tmp_path / "models", cache="/var/cache/engines")
    assert (
        accelerators(repository.read(elsewhere.directory))["tensorrt"]["trt_engine_cache_path"] == "/var/cache/engines"
    )
    none = paths.place(TENSORRT, model, tmp_path / "models", cache=None)
    assert "trt_engine_cache_path" not in accelerators(repository.read(none.directory))["tensorrt"]
