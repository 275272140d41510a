"""`python -m accelkit.engine` against the bindings of each TensorRT: what is asked of the builder, answers, errors."""

from __future__ import annotations

import ctypes
import json
import mmap
import subprocess
import sys

import fake_tensorrt
import numpy as np
import pytest

from accelkit.engine import __main__ as command
from accelkit.engine import api, building
from accelkit.errors import ConfigError, ModelError

PROFILES = ("--profile", "1:16:64")


def run(capsys, *arguments):
    """Exit code, the JSON on standard output or None, and the lines on standard error."""
    code = command.main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, json.loads(out) if out else None, err.splitlines()


def built(plan) -> dict:
    """What the fake builder was asked for."""
    return json.loads(plan.read_text())


def has(trt, name: str) -> bool:
    return hasattr(trt.BuilderFlag, name)


def test_a_precision_is_in_the_file_and_in_the_flags_that_there_are(trt, network, tmp_path, capsys):
    plan = tmp_path / "deep" / "model.plan"
    for precision, flags in {
        "fp32": [],
        "tf32": ["TF32"],
        "fp16": ["FP16", "TF32"],
        "int8": ["FP16", "INT8", "TF32"],
    }.items():
        code, said, errors = run(capsys, "build", network, plan, "--precision", precision, *PROFILES)
        assert (code, errors, said["tensorrt"], said["precision"]) == (0, [], trt.__version__, precision)
        there = [flag for flag in flags if has(trt, flag)]
        assert built(plan)["flags"] == sorted(said["flags"]) == there
        assert bool(said["notes"]) == (there != flags) and all("has no flag" in note for note in said["notes"])
    assert said["input"] == {"x": {"type": "FLOAT", "shape": [-1, 4]}} and said["output"]["y"]["shape"] == [-1, 4]
    assert said["profiles"] == [{"x": [[1, 4], [16, 4], [64, 4]]}] and said["bytes"] == plan.stat().st_size


def test_only_old_versions_are_told_that_the_batch_is_explicit(trt, network, tmp_path, capsys):
    run(capsys, "build", network, tmp_path / "p", *PROFILES)
    explicit = hasattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH")
    assert trt.state.calls[0] == (
        "create_network",
        1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH) if explicit else 0,
    )
    code, _, errors = run(
        capsys, "build", network, tmp_path / "s", "--strongly-typed", "--precision", "fp16", *PROFILES
    )
    if trt.__version__.startswith("8."):
        assert code == 2 and errors == [
            "accelkit: error: TensorRT 8.6.0 knows no strongly typed networks: leave the option out"
        ]
    else:
        assert code == 0 and "FP16" not in built(tmp_path / "s")["flags"]


def test_profiles_and_a_fixed_batch(trt, network, tmp_path, capsys):
    two = ("--profile", "1:1:8", "--profile", "x=8x4:32x4:64x4")
    _, said, _ = run(capsys, "build", network, tmp_path / "two", *two)
    assert said["profiles"] == [{"x": [[1, 4], [1, 4], [8, 4]]}, {"x": [[8, 4], [32, 4], [64, 4]]}]
    _, said, _ = run(capsys, "build", network, tmp_path / "fixed", "--static", 16)
    assert said["input"]["x"]["shape"] == [16, 4]
    for options, reason in {
        (): "input x has the shape (-1, 4): give a profile, such as 1:16:64",
        ("--profile", "16"): "profile '16' has no minimum, optimum and maximum for the input x",
        ("--profile", "a=1x4:1x4:1x4"): "profile 'a=1x4:1x4:1x4' has no minimum, optimum and maximum for the input x",
        (
            "--profile",
            "8:4:16",
        ): "profile '8:4:16' does not fit the input x of shape (-1, 4): write all its sizes, rising",
        ("--profile", "x=1x3:1x3:1x3"): "does not fit the input x",
        ("--profile", "x=1:2:3"): "does not fit the input x",
        ("--static", "4", *PROFILES): "every shape of net.onnx is fixed: leave profiles out",
    }.items():
        code, said, errors = run(capsys, "build", network, tmp_path / "bad", *options)
        assert (code, said, len(errors)) == (2, None, 1) and reason in errors[0]
    assert not (tmp_path / "bad").exists()


def test_free_sizes_behind_the_batch_need_written_shapes():
    assert building.shapes_of("x=1x8:2x16:4x32", "x", (-1, -1)) == [(1, 8), (2, 16), (4, 32)]
    with pytest.raises(ConfigError, match="does not fit the input x"):
        building.shapes_of("1:2:4", "x", (-1, -1))


def test_limits_and_compatibility(trt, network, tmp_path, capsys):
    options = (
        "--workspace",
        64,
        "--level",
        2,
        "--tactics",
        "none",
        "--version-compatible",
        "--refit",
        "--hardware",
        "ampere_plus",
    )
    code, said, _ = run(capsys, "build", network, tmp_path / "p", *options, *PROFILES)
    assert code == 0 and {"VERSION_COMPATIBLE", "REFIT"} <= set(said["flags"])
    assert ("memory", "WORKSPACE", 64 << 20) in trt.state.calls and ("tactics", 0) in trt.state.calls
    same = run(capsys, "build", network, tmp_path / "p", "--hardware", "same_compute_capability", *PROFILES)
    assert same[0] == (2 if trt.__version__.startswith("8.") else 0)
    code, _, errors = run(capsys, "build", network, tmp_path / "p", "--hardware", "any", *PROFILES)
    assert code == 2 and errors == [
        f"accelkit: error: TensorRT {trt.__version__} knows no hardware compatibility 'any'"
    ]


def test_kernels_of_stand_in_libraries_are_not_taken(trt, network, tmp_path, capsys, monkeypatch):
    run(capsys, "build", network, tmp_path / "p", *PROFILES)
    assert ("tactics", 0) not in trt.state.calls
    monkeypatch.setattr(api, "stand_ins", lambda: ["libcublas.so.12"])
    _, said, _ = run(capsys, "build", network, tmp_path / "p", *PROFILES)
    assert ("tactics", 0) in trt.state.calls and said["stand_ins"] == ["libcublas.so.12"]


def test_a_small_library_of_that_name_is_a_stand_in(tmp_path):
    small, large, other = (tmp_path / name for name in ("libcudnn.so.8", "libcublas.so.12", "libother.so"))
    for path, size in ((small, 4096), (large, api.SMALLEST), (other, 4096)):
        path.write_bytes(bytes(size))
    before, maps = api.stand_ins(), []
    for path in (small, large, other):
        with path.open("rb") as file:
            maps.append(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    assert api.stand_ins() == sorted([*before, str(small)])
    del maps


def test_timings_are_kept_and_those_of_another_gpu_are_not_used(trt, network, tmp_path, capsys):
    cache = tmp_path / "timings"
    states = []
    for content in (None, b"timings", b"another GPU", b"broken"):
        if content is not None:
            cache.write_bytes(content)
        _, said, _ = run(capsys, "build", network, tmp_path / "p", "--timing-cache", cache, *PROFILES)
        states.append((said["timing_cache"], bool(said["notes"])))
        assert cache.read_bytes() == b"timings"
    assert states == [("cold", False), ("warm", False), ("cold", True), ("cold", True)]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [("builder", "cannot start a builder: CUDA initialization failure with error: 35"),
     ("build", "cannot build net.onnx: Could not find any implementation for node conv1 due to insufficient workspace.")],
)  # fmt: skip
def test_what_tensorrt_says_is_the_error(trt, network, tmp_path, capsys, broken, reason):
    trt.state.broken = broken
    code, said, errors = run(capsys, "build", network, tmp_path / "plan", *PROFILES)
    assert (code, said, errors) == (2, None, [f"accelkit: error: TensorRT {trt.__version__} {reason}"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.onnx"]


def test_a_file_that_is_no_model_and_an_operator_that_nobody_knows(trt, tmp_path, capsys):
    (tmp_path / "no.onnx").write_bytes(b"\x00nothing")
    code, _, errors = run(capsys, "build", tmp_path / "no.onnx", tmp_path / "p", *PROFILES)
    assert code == 2 and errors[0].endswith("cannot read no.onnx: ModelImporter.cpp:735: Failed to parse ONNX model")
    (tmp_path / "op.onnx").write_text(
        json.dumps({"error": "In node 0 (importFallbackPluginImporter):\n no plugin Foo"})
    )
    code, _, errors = run(capsys, "build", tmp_path / "op.onnx", tmp_path / "p", *PROFILES)
    assert code == 2 and errors[0].endswith(
        "cannot read op.onnx: In node 0 (importFallbackPluginImporter): no plugin Foo"
    )
    (tmp_path / "op.onnx").write_text(json.dumps({"error": "Plugin not found", "operator": "Bar"}))
    code, _, errors = run(capsys, "build", tmp_path / "op.onnx", tmp_path / "p", *PROFILES)
    assert code == 2 and errors[0].endswith("cannot read op.onnx: at the operator Bar: Plugin not found")
    code, _, errors = run(capsys, "build", tmp_path / "absent.onnx", tmp_path / "p", *PROFILES)
    assert code == 2 and "absent.onnx: is not there" in errors[0]


def test_a_plan_is_shown_and_one_of_another_version_is_refused(trt, network, tmp_path, capsys):
    plan = tmp_path / "p"
    run(capsys, "build", network, plan, *PROFILES)
    code, said, _ = run(capsys, "show", plan, "--layers")
    assert (
        code == 0 and said["inspector"] == fake_tensorrt.LAYERS and said["layers"] == 2 and said["hardware"] == "none"
    )
    for content, reason in (
        (b"\x00", "assertion"),
        (json.dumps({**built(plan), "version": "5"}).encode(), "not compatible"),
    ):
        plan.write_bytes(content)
        code, said, errors = run(capsys, "show", plan)
        assert (code, said, len(errors)) == (2, None, 1) and f"TensorRT {trt.__version__} cannot load p: " in errors[0]
        assert reason in errors[0]
    code, _, errors = run(capsys, "show", tmp_path / "absent")
    assert code == 2 and "absent: is not there" in errors[0]


def test_weights_are_replaced_by_name(trt, network, tmp_path, capsys):
    run(capsys, "build", network, tmp_path / "fixed", *PROFILES)
    run(capsys, "build", network, tmp_path / "p", "--refit", *PROFILES)
    weights = tmp_path / "w.npz"
    np.savez(weights, w=np.ones(3, np.float32), other=np.ones(1))
    code, _, errors = run(capsys, "refit", tmp_path / "fixed", weights, tmp_path / "new")
    assert code == 2 and errors == ["accelkit: error: fixed was not built to be refitted: build it with --refit"]
    code, said, errors = run(capsys, "refit", tmp_path / "p", weights, tmp_path / "new")
    assert (code, errors, said["weights"]) == (0, [], 1) and built(tmp_path / "new")["weights"] == {
        "w": [1.0, 1.0, 1.0]
    }
    np.savez(weights, other=np.ones(1))
    code, _, errors = run(capsys, "refit", tmp_path / "p", weights, tmp_path / "lacking")
    assert code == 2 and errors == ["accelkit: error: w.npz lacks 1 weights that the plan needs, such as w"]
    weights.write_bytes(b"no")
    code, _, errors = run(capsys, "refit", tmp_path / "p", weights, tmp_path / "lacking")
    assert code == 2 and "is no .npz of weights" in errors[0] and not (tmp_path / "lacking").exists()


def test_weights_come_out_of_an_onnx_file(tmp_path, capsys):
    import small

    file = tmp_path / "tiny.onnx"
    file.write_bytes(small.tiny().SerializeToString())
    code, _, errors = run(capsys, "weights", file, tmp_path)
    assert code == 2 and errors == [f"accelkit: error: {tmp_path}: Is a directory"]
    code, said, _ = run(capsys, "weights", file, tmp_path / "w.npz")
    assert code == 0 and said["count"] == len(np.load(tmp_path / "w.npz").files) == 5
    file.write_bytes(b"\xff\xff")
    code, _, errors = run(capsys, "weights", file, tmp_path / "w.npz")
    assert code == 2 and "is no ONNX model" in errors[0]


def test_it_is_a_command_and_says_in_one_line_what_is_missing(tmp_path):
    def ended(*arguments: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "accelkit.engine", *arguments], capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout, done.stderr

    assert ended("--help")[0] == 0
    code, out, err = ended("show", "nope")
    wanted = "nope: is not there, and `python -m accelkit.engine show` reads it: correct the path"
    assert (code, out, err) == (2, "", f"accelkit: error: {wanted}\n")
    code, out, err = ended("build", __file__, "b.plan")
    assert (code, out) == (2, "") and err.startswith("accelkit: error: ") and err.count("\n") == 1
    code, out, err = ended("build", __file__, "b.plan", "--precision", "fp99")
    assert code == 2 and "invalid choice: 'fp99'" in err and err.count("\n") == 1


def test_a_machine_without_a_driver_is_told_so(monkeypatch):
    def absent(name):
        raise OSError("libcuda.so.1: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", absent)
    with pytest.raises(ModelError, match="needs an NVIDIA GPU, and this machine has no driver for one"):
        api.need_gpu()


@pytest.mark.parametrize(
    ("status", "version", "count", "reason"),
    [(100, 12080, 0, r"offers none here \(CUDA error 100\)"), (0, 12080, 0, "offers none here"),
     (0, 11040, 1, "the driver knows CUDA 11.4, TensorRT needs 12.0"), (0, 12080, 1, None)],
)  # fmt: skip
def test_a_driver_without_a_gpu_or_too_old_is_told_so(monkeypatch, status, version, count, reason):
    class Driver:
        def cuInit(self, flags):
            return status

        def cuDriverGetVersion(self, pointer):
            pointer._obj.value = version
            return 0

        def cuDeviceGetCount(self, pointer):
            pointer._obj.value = count
            return 0

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver())
    if reason is None:
        return api.need_gpu()
    with pytest.raises(ModelError, match=reason):
        api.need_gpu()


def test_a_library_that_is_missing_names_where_to_put_it(monkeypatch, tmp_path):
    (tmp_path / "tensorrt.py").write_text("raise OSError('libcublas.so.12: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    api.load.cache_clear()
    with pytest.raises(ModelError, match="cannot be loaded: libcublas.so.12.*ACCELKIT_LIBS_TENSORRT"):
        api.load()
    (tmp_path / "tensorrt.py").write_text("import no_such_part")
    with pytest.raises(ModelError, match="cannot be loaded: No module named 'no_such_part'"):
        api.load()
