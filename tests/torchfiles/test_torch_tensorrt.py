"""Torch-TensorRT: every keyword against the real signatures, and both front ends on a made-up one without a GPU."""

from __future__ import annotations

import json
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from accelkit import models
from accelkit.errors import ModelError

torch = pytest.importorskip("torch")

from accelkit.torchfiles import accelerated, networks, partition  # noqa: E402

API = json.loads((Path(__file__).parents[1] / "fixtures/torch_tensorrt_api.json").read_text())["versions"]
CURRENT = [name for name in API if tuple(map(int, name.split("."))) >= accelerated.DYNAMO]
MODULE = "accelkit.models.text_recognition.training.network"
PROFILE, DIMS = (1, 4, 8), (1, 32, 100)


def number(version: str) -> tuple[int, int]:
    major, minor = map(int, version.split("."))
    return major, minor


@pytest.mark.parametrize("version", CURRENT)
@pytest.mark.parametrize("precision", networks.PRECISIONS)
def test_every_keyword_is_one_of_the_version(version, precision):
    """The functions also take **kwargs, so a keyword that is gone would not fail: it would do nothing."""
    names, settings = API[version], {"min_block_size": 1}
    given = accelerated.compile_keywords(number(version), precision, settings)
    assert {"arg_inputs", *given} <= set(names["dynamo.compile"]), version
    assert "enabled_precisions" not in given and given["min_block_size"] == 1
    assert given["disable_tf32"] == (precision == "fp32")
    assert set(accelerated.save_keywords("torchscript", [], PROFILE[2])) <= set(names["save"])
    assert {"min_shape", "opt_shape", "max_shape", "dtype"} <= set(names["Input"])


def test_there_are_the_versions_that_are_claimed():
    assert CURRENT == ["2.11", "2.12", "2.13", "2.14"] and len(API) == 5
    gone = [name for name in CURRENT if "enabled_precisions" not in API[name]["dynamo.compile"]]
    assert gone == ["2.13", "2.14"] == [name for name in CURRENT if number(name) >= accelerated.TYPED]
    assert all("enabled_precisions" in API[name]["compile"] for name in CURRENT)  # which lesson 08 says it still names


def test_the_old_front_end_gets_its_own_keywords():
    names = set(API["2.2"]["ts.compile"]) | {"ir"}
    given = accelerated.script_keywords("fp16", {"min_block_size": 1})
    assert set(given) <= names and given["enabled_precisions"] == {torch.float32, torch.float16}
    assert accelerated.script_keywords("tf32", {})["enabled_precisions"] == {torch.float32}
    assert accelerated.script_keywords("fp32", {})["disable_tf32"]


class TorchTensorRTModule(torch.nn.Module):
    """Stands for an engine: it runs what it was made of."""

    def __init__(self, inner):
        super().__init__()
        self.run = [inner]

    def forward(self, x):
        return self.run[0](x)


class Parted(torch.nn.Module):
    """A whole of one engine."""

    def __init__(self, inner):
        super().__init__()
        self.engine = TorchTensorRTModule(inner)

    def forward(self, x):
        return self.engine(x)


@pytest.fixture
def made_up(monkeypatch):
    """A maker of a made-up Torch-TensorRT of a version that takes what the real one does, and a GPU that is the CPU."""
    calls: list[tuple[str, dict]] = []

    def make(version: str) -> list[tuple[str, dict]]:
        names = API[version]

        def known(function: str, keywords: dict) -> None:
            assert set(keywords) <= set(names[function]) | ({"ir"} if function == "ts.compile" else set()), keywords
            calls.append((function, keywords))

        def dynamo(program, **keywords):
            known("dynamo.compile", keywords)
            return Parted(program.module())

        def compile(module, **keywords):
            known("ts.compile", keywords)
            return module

        def save(module, path, **keywords):
            known("save", keywords)
            example = keywords["arg_inputs"][0]
            torch.jit.save(torch.jit.trace(module.engine.run[0], example), path)

        def describe(**keywords):
            known("Input", keywords)
            return SimpleNamespace(**keywords)

        module, tensorrt = ModuleType("torch_tensorrt"), ModuleType("tensorrt")
        for one in (module, tensorrt):
            one.__spec__ = ModuleSpec(one.__name__, None)  # PyTorch asks who is there
        module.__version__, tensorrt.__version__ = f"{version}.0", "8.6.0"
        module.Input, module.compile, module.save = describe, compile, save
        module.dynamo = SimpleNamespace(compile=dynamo)
        monkeypatch.setitem(sys.modules, "torch_tensorrt", module)
        monkeypatch.setitem(sys.modules, "tensorrt", tensorrt)
        return calls

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda: torch.zeros(1, dtype=torch.uint8))
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state: None)
    monkeypatch.setattr(torch.nn.Module, "cuda", lambda self: self)
    real = networks.sample
    monkeypatch.setattr(networks, "sample", lambda dims, batch, device: real(dims, batch, "cpu"))
    return make


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    file = tmp_path_factory.mktemp("weights") / "weights.npz"
    np.savez(file, **models.get().state())
    return file


@pytest.mark.parametrize("version", ["2.2", "2.12", "2.14"])
def test_a_file_is_made_by_the_front_end_of_the_version(made_up, weights, tmp_path, version):
    calls, out = made_up(version), tmp_path / "model.pt"

    def make(precision):
        return networks.restore(MODULE, weights, precision, detour=True)

    facts = accelerated.build(
        make, out, form="torchscript", precision="fp16", dims=DIMS, profile=PROFILE, min_block_size=2
    )
    old = version == "2.2"
    assert facts["route"] == ("ts" if old else "dynamo") and facts["tensorrt"] == "8.6.0"
    shapes = dict(calls)["Input"]
    assert shapes["min_shape"] == (1, *DIMS) and shapes["max_shape"] == (8, *DIMS)
    compiled = dict(calls)["ts.compile" if old else "dynamo.compile"]
    assert compiled["min_block_size"] == 2 and ("enabled_precisions" in compiled) == old
    assert ("use_explicit_typing" in compiled) == (version == "2.12")
    parts, noted = facts["partition"], {"partition.json": ""}
    again = torch.jit.load(str(out), _extra_files=noted)
    assert json.loads(noted["partition.json"]) == parts and parts["operators"] > 60
    assert parts["engines"] == (0 if old else 1)
    model = models.get()
    with torch.no_grad():
        found = again(torch.from_numpy(model.samples("test", 4).inputs)).numpy()
    right = model.reference("test", 4)
    assert np.abs(found - right).max() < 2e-2 * np.abs(right).max()


def test_a_reason_of_torch_tensorrt_is_one_line(made_up, weights, tmp_path):
    made_up("2.14")
    sys.modules["torch_tensorrt"].dynamo.compile = lambda *given, **more: (_ for _ in ()).throw(
        RuntimeError("a place\n\nno converter for it")
    )
    with pytest.raises(ModelError, match="Torch-TensorRT 2.14.0 cannot compile the network: no converter for it$"):
        accelerated.build(
            lambda precision: networks.restore(MODULE, weights, precision), tmp_path / "x", form="torchscript",
            precision="fp32", dims=DIMS, profile=PROFILE,
        )  # fmt: skip


def test_the_old_front_end_writes_no_package(made_up, tmp_path):
    made_up("2.2")
    with pytest.raises(ModelError, match="writes TorchScript, not aoti"):
        accelerated.build(
            lambda precision: None, tmp_path / "x", form="aoti", precision="fp32", dims=DIMS, profile=PROFILE
        )


def test_without_a_gpu_nothing_is_compiled(made_up, tmp_path, monkeypatch):
    made_up("2.14")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelError, match="needs an NVIDIA GPU, and PyTorch sees none here"):
        accelerated.build(
            lambda precision: None, tmp_path / "x", form="aoti", precision="fp32", dims=DIMS, profile=PROFILE
        )


def test_an_engine_is_counted_in_a_served_graph():
    found = partition.report(partition.Counter(), partition.Counter({partition.ENGINE: 2}))
    assert found["engines"] == 2 and found["outside"] == {}
