"""Files of PyTorch: the network, TorchScript, AOTInductor's packages, and how TensorRT's part is counted."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from accelkit import models
from accelkit.errors import ConfigError, ModelError
from accelkit.torchfiles import __main__ as command

torch = pytest.importorskip("torch")

from torch._inductor.runtime.cache_dir_utils import cache_dir  # noqa: E402

from accelkit.torchfiles import networks, partition, plain, timing  # noqa: E402

MODULE = "accelkit.models.text_recognition.training.network"


@pytest.fixture(scope="module")
def model():
    return models.get()


@pytest.fixture(scope="module")
def weights(model, tmp_path_factory):
    file = tmp_path_factory.mktemp("weights") / "weights.npz"
    np.savez(file, **model.state())
    return file


def far(model, outputs: torch.Tensor, count: int) -> float:
    right = model.reference("test", count)
    return float(np.abs(outputs.numpy() - right).max() / np.abs(right).max())


@pytest.mark.parametrize(("detour", "limit"), [(False, 1e-4), (True, 1e-4)])
def test_the_network_computes_what_the_onnx_file_does(model, weights, detour, limit):
    network = networks.restore(MODULE, weights, detour=detour)
    with torch.no_grad():
        found = network(torch.from_numpy(model.samples("test", 16).inputs))
    assert 0 < far(model, found, 16) < limit
    assert sum(isinstance(part, networks.Detour) for part in network.modules()) == 3 * detour
    assert not any(part.training for part in network.modules())


def test_in_fp16_weights_and_arithmetic_are_half_and_the_ends_are_not(model, weights):
    network = networks.restore(MODULE, weights, "fp16")
    with torch.no_grad():
        found = network(torch.from_numpy(model.samples("test", 4).inputs))
    assert found.dtype == torch.float32 and 1e-5 < far(model, found, 4) < 2e-2
    assert {value.dtype for value in network.parameters()} == {torch.float16}


def test_torchscript_holds_no_batch_and_no_device(model, weights, tmp_path):
    plain.torchscript(networks.restore(MODULE, weights), tmp_path / "model.pt")
    again = torch.jit.load(str(tmp_path / "model.pt"))
    for count in (1, 5):
        with torch.no_grad():
            found = again(torch.from_numpy(model.samples("test", count).inputs))
        assert far(model, found, count) < 1e-4
    assert "device=" not in str(again.inlined_graph)


def test_weights_are_arrays_and_never_unpickled(tmp_path):
    class Harm:
        def __reduce__(self):
            return (tmp_path / "harm").mkdir, ()

    np.savez(tmp_path / "weights.npz", layer=np.array([Harm()], dtype=object))
    for name in ("weights.npz", "absent.npz"):
        with pytest.raises(ModelError, match="holds no arrays of a state dict"):
            networks.restore(MODULE, tmp_path / name)
    assert not (tmp_path / "harm").exists()


def test_the_command_prints_one_line_of_json(weights, tmp_path):
    words = [MODULE, str(weights), str(tmp_path / "model.pt"), "--dims", "1x32x100"]
    done = subprocess.run(
        [sys.executable, "-m", "accelkit.torchfiles", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["form"], facts["precision"], facts["torch"]) == ("torchscript", "fp32", torch.__version__)
    assert facts["bytes"] == (tmp_path / "model.pt").stat().st_size and facts["seconds"] > 0


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (["--profile", "9:8:7"], ConfigError, "profile 9:8:7: give least, best and largest batch"),
        (["--dims", "axb"], ConfigError, "axb: numbers with x between them"),
        (["--precision", "int8"], ConfigError, "invalid choice"),
        (["--tensorrt", "--dims", "1x32x100"], ModelError, "Torch-TensorRT"),
        (["--tensorrt"], ConfigError, "--dims is missing: give the input's sizes"),
        (["--form", "aoti"], ConfigError, "--dims is missing: give the input's sizes"),
        (["--form", "aoti", "--dims", "3x32x100"], ModelError, "AOTInductor cannot compile the network: "),
        (["--tensorrt", "--form", "state", "--dims", "1x32x100"], ConfigError, "leave out --tensorrt"),
    ],
)
def test_bad_input_is_one_line(weights, tmp_path, words, error, said):
    with pytest.raises(error, match=said) as refused:
        command.build(command.parser().parse_args([MODULE, str(weights), str(tmp_path / "out"), *words]))
    assert "\n" not in str(refused.value) and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("no.such.module", "no.such.module makes no network of .*: ModuleNotFoundError: No module named 'no'"),
        ("accelkit.models", "accelkit.models makes no network of .*: AttributeError: .*has no attribute 'restore'"),
        (MODULE, f"{MODULE} makes no network of .*: KeyError"),
    ],
)
def test_a_module_that_makes_no_network_of_the_weights_is_one_line(tmp_path, capsys, module, said):
    weights = tmp_path / "of another.npz"
    np.savez(weights, nothing=np.zeros(1))
    assert command.main([module, str(weights), str(tmp_path / "model.pt")]) == 2
    error = capsys.readouterr().err
    assert re.search(said, error) and error.count("\n") == 1


def test_a_single_array_and_a_device_that_is_not_there_are_one_line(weights, tmp_path, capsys):
    np.save(tmp_path / "one.npy", np.zeros(1))
    assert command.main([MODULE, str(tmp_path / "one.npy"), str(tmp_path / "model.pt")]) == 2
    assert "holds no arrays of a state dict" in capsys.readouterr().err
    if not torch.cuda.is_available():
        words = [MODULE, str(weights), str(tmp_path / "model.pt2"), "--form", "aoti", "--dims", "1x32x100"]
        assert command.main([*words, "--device", "cuda"]) == 2
        error = capsys.readouterr().err
        assert "AOTInductor cannot compile the network: " in error and error.count("\n") == 1


@pytest.mark.parametrize("form", ["torchscript", "state"])
def test_the_folder_of_a_file_is_made_and_a_place_that_takes_none_is_one_line(weights, tmp_path, capsys, form):
    words = ["--form", form]
    assert command.main([MODULE, str(weights), str(tmp_path / "new/one/file"), *words]) == 0
    assert (tmp_path / "new/one/file").stat().st_size > 10_000_000 and capsys.readouterr().err == ""
    places = {
        weights / "below": "cannot be written there: ",
        Path("/proc/file"): "No such file",
        tmp_path: "is a folder",
    }
    for place, said in places.items():
        assert command.main([MODULE, str(weights), str(place), *words]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"accelkit: error: {place}: ") and said in error and error.count("\n") == 1


def test_a_network_that_torchscript_cannot_compile_is_one_line(tmp_path):
    class Odd(torch.nn.Module):
        def forward(self, x):
            return sorted(x, key=lambda y: y.sum())

    with pytest.raises(ModelError, match="^TorchScript cannot compile the network: ") as refused:
        plain.torchscript(Odd(), tmp_path / "model.pt")
    assert "\n" not in str(refused.value)


def test_operators_are_counted_in_each_kind_of_graph(weights):
    network = networks.restore(MODULE, weights)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = partition.of_script(torch.jit.freeze(torch.jit.script(network), optimize_numerics=False))
        program = partition.of_program(plain.exported(network, torch.zeros(2, 1, 32, 100), 8))
    assert script["aten::_convolution"] == script["aten::batch_norm"] == 32 and script["aten::max_pool2d"] == 3
    assert program["aten::convolution"] == program["aten::_native_batch_norm_legit_no_training"] == 32
    assert program["aten::max_pool2d_with_indices"] == 3 and program["aten::bmm"] == 1
    assert not [kind for kind in script if kind.startswith("prim::")]


def test_what_is_in_an_engine_is_what_is_no_longer_outside():
    before = Counter({"aten::_convolution": 32, "aten::relu": 29, "aten::copysign": 3})
    after = Counter({partition.ENGINE: 4, "aten::copysign": 3, "aten::to": 2})
    found = partition.report(before, after)
    assert found == {"engines": 4, "operators": 64, "inside": 61, "outside": {"aten::copysign": 3, "aten::to": 2}}


def test_a_compiled_module_is_counted_by_its_engines_and_what_is_beside_them():
    class TorchTensorRTModule(torch.nn.Module):
        """Stands for the class of that name."""

    class Whole(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.engine, self.rest = TorchTensorRTModule(), torch.export.export(Copy(), (torch.ones(2),)).module()

    class Copy(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.copysign(x, x)

    assert partition.of_compiled(Whole()) == {partition.ENGINE: 1, "aten::copysign": 1}


def test_an_older_pytorch_is_refused_a_package(weights, tmp_path, monkeypatch):
    monkeypatch.setattr(networks, "version", lambda: (2, 2))
    with pytest.raises(ModelError, match="is too old for packages of AOTInductor: install 2.8 or newer"):
        plain.package(networks.restore(MODULE, weights), tmp_path / "model.pt2", (1, 32, 100), 8, "cpu")


@pytest.mark.parametrize("own", [False, True])
def test_what_the_compiler_leaves_goes_unless_a_place_is_named_for_it(weights, tmp_path, monkeypatch, capsys, own):
    left = []

    def compiled(program, package_path, inductor_configs):
        left.append(Path(cache_dir(), "wrapper.so"))
        left[0].write_bytes(b"large")
        raise RuntimeError("error: no space")

    monkeypatch.setattr(torch._inductor, "aoti_compile_and_package", compiled)
    monkeypatch.delenv(command.CACHE, raising=False)
    if own:
        monkeypatch.setenv(command.CACHE, str(tmp_path))
    words = [MODULE, str(weights), str(tmp_path / "model.pt2"), "--form", "aoti", "--dims", "1x32x100"]
    assert command.main(words) == 2 and "error: no space" in capsys.readouterr().err
    assert left[0].exists() is own and os.environ.get(command.CACHE) == (str(tmp_path) if own else None)


def test_ways_of_running_take_turns_in_one_process(model, weights, tmp_path):
    plain.torchscript(networks.restore(MODULE, weights), tmp_path / "model.pt")
    np.save(tmp_path / "in.npy", model.samples("test", 8).inputs)
    ways = {"eager": "eager", "again": "eager", "file": str(tmp_path / "model.pt"), "absent": str(tmp_path / "no.pt")}
    order = {
        "module": MODULE, "weights": str(weights), "ways": ways, "inputs": str(tmp_path / "in.npy"), "batches": [2, 4],
        "seconds": 0.05, "repeats": 2, "device": "cpu",
    }  # fmt: skip
    (tmp_path / "order.json").write_text(json.dumps(order))
    words = [sys.executable, "-m", "accelkit.torchfiles.timing", str(tmp_path / "order.json")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    for batch in ("2", "4"):
        for way in ("eager", "again", "file"):
            row = found[batch][way]
            assert len(row["rates"]) == 2 and min(row["rates"]) > 0 and row["far"] < 1e-4 and row["first_s"] > 0
        assert "no.pt" in found[batch]["absent"]["error"]


def test_outputs_are_held_against_the_first_way_without_tf32():
    given = []

    def way(part):
        given.append(torch.backends.cudnn.allow_tf32)
        return part * (1.5 if given[-1] else 1)

    rows = timing._interleaved(torch, {"first": way, "second": way}, [torch.ones(1)], 0, 1)
    assert given.count(False) == 1 and torch.backends.cudnn.allow_tf32
    assert [row["far"] for row in rows.values()] == [0.5, 0.5]


def test_a_state_dict_is_tensors_alone(weights, tmp_path):
    out = tmp_path / "model.pt"
    command.build(command.parser().parse_args([MODULE, str(weights), str(out), "--form", "state"]))
    state = torch.load(out, weights_only=True)
    assert len(state) == 194 and all(isinstance(value, torch.Tensor) for value in state.values())
