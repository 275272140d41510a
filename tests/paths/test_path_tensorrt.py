"""The path tensorrt up to the builder: what it needs, its configs, its plans by an interpreter with a made-up TensorRT."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from accelkit import machine, models, paths, repository
from accelkit.errors import ConfigError, ModelError
from accelkit.machine import Gpu
from accelkit.models import Tensor

COMMITTED = Path(__file__).parents[2] / "model_repository"
FIXTURES = Path(__file__).parents[1] / "fixtures"
GPU = Gpu("NVIDIA H200", 139.8, "9.0", "580.95")


@pytest.fixture
def path():
    return paths.get("tensorrt")


@pytest.fixture
def interpreter(tmp_path, monkeypatch):
    """An interpreter that has TensorRT 8.6 and the driver's bindings, both made up; every build is a line of `builds`."""
    site = tmp_path / "site"
    for name in ("tensorrt", "cuda_bindings"):
        (site / f"{name}-8.6.dist-info").mkdir(parents=True)
        (site / f"{name}-8.6.dist-info/METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 8.6\n")
    for part in ("fake_tensorrt.py", "tensorrt_api"):
        (shutil.copytree if (FIXTURES / part).is_dir() else shutil.copy)(FIXTURES / part, site / part)
    (site / "tensorrt.py").write_text(
        "import sys, fake_tensorrt\nfrom accelkit.engine import api\napi.need_gpu = lambda: None\n"
        f"open({str(tmp_path / 'builds')!r}, 'a').write(' '.join(sys.argv[1:]) + '\\n')\n"
        "sys.modules[__name__] = fake_tensorrt.make('8.6')\n"
    )
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nexport PYTHONPATH={site}\nexec {sys.executable} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("ACCELKIT_PYTHON_TENSORRT", str(script))
    monkeypatch.setenv("ACCELKIT_CACHE", str(tmp_path / "cache"))
    here = machine.probe()
    monkeypatch.setattr(machine, "probe", lambda: replace(here, gpus=(GPU,)))
    return SimpleNamespace(builds=lambda: (tmp_path / "builds").read_text().splitlines())


@pytest.fixture
def model(tmp_path):
    """A model whose ONNX file is what the made-up parser reads."""
    file = tmp_path / "net.onnx"
    file.write_text(json.dumps({"inputs": {"x": [-1, 4]}, "outputs": {"y": [-1, 4]}}))
    tensor = Tensor("x", "float32", (4,))
    return SimpleNamespace(
        name="net", variant="small", kind="network", max_batch=64, precisions=("fp32", "tf32"), inputs=(tensor,),
        outputs=(replace(tensor, name="y"),), onnx=lambda: file,
    )  # fmt: skip


def test_it_says_what_is_missing(path, made_up, model, monkeypatch):
    monkeypatch.delenv("ACCELKIT_PYTHON_TENSORRT", raising=False)
    assert path.unavailable(made_up()).startswith(
        "needs an NVIDIA GPU and TensorRT; missing here: an NVIDIA GPU, the package ten"
    )
    forest = models.get("trees")
    assert "no operators for forests" in path.unavailable(made_up(gpus=(GPU,)), forest)


def test_with_both_packages_in_its_interpreter_and_a_gpu_it_is_here(path, made_up, interpreter):
    assert path.unavailable(made_up(gpus=(GPU,))) is None


@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "int8"])
def test_the_committed_config_equals_what_the_code_generates(path, precision):
    model = models.get("text_recognition", "small")
    made = path.config(model, precision=precision)
    assert repository.equal(repository.read(COMMITTED / made.name), made)
    assert len((COMMITTED / made.name / "config.pbtxt").read_text().split("#")) > 10, "explains itself"


def test_profiles_and_largest_batch_go_together(path, model):
    assert path.ranges(model, 16) == ("1:16:64", "1:64:64") and path.ranges(model, 64) == ("1:64:64",)
    assert path.ranges(model, 256) == ("1:256:256",) and path.ranges(model, 16, 256) == ("1:16:256", "1:256:256")
    made = path.config(model, batch=256)
    assert made.max_batch_size == 256 and list(made.instance_group[0].profile) == []
    assert [spec.batch_size for spec in made.optimization.cuda.graph_spec] == [1, 2, 4, 8, 16, 32, 48, 64, 128, 256]
    wide = path.config(
        model, profiles=("1:8:32", "1:512:1024"), max_batch_size=512, graphs=(), busy_wait=False, instances=3
    )
    assert wide.max_batch_size == 512 and list(wide.instance_group[0].profile) == ["0", "1"]
    assert not wide.HasField("optimization") and wide.instance_group[0].count == 3
    single = SimpleNamespace(**{**vars(model), "max_batch": 0})
    alone = path.config(single)
    assert path.ranges(single, 16) == () and alone.max_batch_size == 0 and not alone.HasField("dynamic_batching")


def test_a_plan_is_built_once_by_the_interpreter_of_its_backend(path, model, interpreter, tmp_path):
    placed = [paths.place(path, model, tmp_path / "repository", precision) for precision in ("fp32", "tf32", "fp32")]
    orders = [line.split()[3:] for line in interpreter.builds()]
    assert [order[1:] for order in orders] == [
        ["--precision", precision, "--profile=1:16:64", "--profile=1:64:64"] for precision in ("fp32", "tf32")
    ]
    assert orders[0][0] != orders[1][0], "the timings of a precision are its own: the first build of each is a cold one"
    plans = [json.loads(one.files[0].read_text()) for one in placed]
    assert [plan["flags"] for plan in plans] == [[], ["TF32"], []] and len(plans[0]["profiles"]) == 2
    assert placed[0].seconds == placed[2].seconds > 0.01, "the seconds of the build, not of finding it again"
    placed = paths.place(path, model, tmp_path / "repository", "fp32", batch=128)
    assert repository.read(placed.directory).max_batch_size == 128 and interpreter.builds()[-1].endswith(
        "--profile=1:128:128"
    )
    assert interpreter.builds()[-1].split()[3] == orders[0][0], "another batch finds the timings of its precision"


def test_a_damaged_plan_in_the_cache_is_built_again(path, model, interpreter, tmp_path):
    (plan,) = path.build(model, tmp_path).files.values()
    plan.write_bytes(plan.read_bytes()[:-1])
    assert path.build(model, tmp_path).files["model.plan"].read_bytes() != b"" and len(interpreter.builds()) == 2


def test_what_tensorrt_cannot_build_is_one_line_and_leaves_nothing(path, model, interpreter, tmp_path):
    model.onnx().write_text("no model")
    with pytest.raises(
        ModelError, match="^TensorRT 8.6.0 cannot read net.onnx: ModelImporter.cpp:735: Failed to parse"
    ):
        paths.place(path, model, tmp_path / "repository")
    assert not (tmp_path / "repository/net_tensorrt").exists() and not list((tmp_path / "cache/models").glob("*.plan"))


def test_a_precision_comes_from_the_file_that_carries_it(path, monkeypatch):
    from accelkit.models import half, signed

    monkeypatch.setattr(half, "fp16_onnx", lambda model: "half")
    monkeypatch.setattr(signed, "int8_onnx", lambda model: "signed")
    model = SimpleNamespace(onnx=lambda: "plain")
    assert [path._source(model, name) for name in path.PRECISIONS] == ["plain", "plain", "half", "signed"]


def test_without_a_gpu_nothing_is_built(path, model, tmp_path, monkeypatch):
    here = machine.probe()
    monkeypatch.setattr(machine, "probe", lambda: replace(here, gpus=()))
    with pytest.raises(ConfigError, match="path tensorrt is unavailable: needs an NVIDIA GPU"):
        paths.place(path, model, tmp_path)
