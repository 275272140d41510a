"""The pytorch stand-in against what the official backend's source says, case by case, on one real server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import small

from accelkit import lint
from accelkit.backends.key import Refused
from accelkit.backends.pytorch import keys, names
from accelkit.errors import RequestError
from accelkit.serving import Server

torch = pytest.importorskip("torch")
import small_torch as nets  # noqa: E402

from accelkit.backends.pytorch import package, tensors  # noqa: E402

COMPILER = shutil.which((os.environ.get("CXX") or "g++").split()[0])
SCRIPT = 'platform: "pytorch_libtorch"\n'
PACKAGE = 'backend: "pytorch"\ndefault_model_filename: "model.pt2"\n'
PYTHON = 'backend: "pytorch"\nruntime: "model.py"\n'
ROW, TWO = "FP32 3", "FP32 2"
CPU = "instance_group [ { kind: KIND_CPU count: 1 } ]\n"


def given(**values: str) -> str:
    return "".join(
        f'parameters {{ key: "{k}" value: {{ string_value: {json.dumps(v)} }} }}\n' for k, v in values.items()
    )


def config(runtime: str, inputs: dict[str, str], outputs: dict[str, str], more: str = CPU, batch: int = 16) -> str:
    return f"{runtime}max_batch_size: {batch}\n{nets.io_text(inputs, outputs)}{more}"


INDEX = {"INPUT__0": ROW}, {"OUTPUT__0": TWO}
LINEAR = config(SCRIPT, *INDEX)
BACK = {"INPUT__1": ROW, "INPUT__0": ROW}, {"OUTPUT__1": ROW, "OUTPUT__0": ROW}
PAIR = {"INPUT__0": ROW, "INPUT__1": ROW}, {"OUTPUT__0": ROW, "OUTPUT__1": ROW}
EAGER = given(TORCH_COMPILE_OPTIONAL_PARAMETERS='{"backend": "eager"}')
NETWORK = """
import torch


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 2, bias=False)

    def forward(self, x):
        return self.layer(x) * torch.get_num_threads()
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Iterator[Path]:
    """Every case of this file as a model; packages only where there is a compiler."""
    store, mark = tmp_path_factory.mktemp("repository"), tmp_path_factory.mktemp("mark") / "harm"
    linear, apart = nets.script(nets.Linear()), nets.script(nets.Apart())
    scripts = {
        "linear": (LINEAR, linear),
        "gathered": (config(SCRIPT, *INDEX, CPU + "dynamic_batching { max_queue_delay_microseconds: 200000 }"), linear),
        "unbatched": (config(SCRIPT, {"x": "FP32 -1 3"}, {"y": "FP32 -1 2"}, batch=0), linear),
        "of_model": (config(SCRIPT, *INDEX, "instance_group [ { kind: KIND_MODEL } ]"), linear),
        "by_index": (config(SCRIPT, *BACK), apart),
        "by_argument": (config(SCRIPT, {"second": ROW, "first": ROW}, {"sum__1": ROW, "less__0": ROW}), apart),
        "by_order": (config(SCRIPT, {"a": ROW, "b": ROW}, {"c": ROW, "d": ROW}), apart),
        "mixed": (config(SCRIPT, {"INPUT__1": ROW, "other": ROW}, {"OUTPUT__1": ROW, "rest": ROW}), apart),
        "keyed": (config(SCRIPT, {"b": ROW, "a": ROW}, {"OUTPUT__0": ROW}), nets.script(nets.Keyed())),
        "words": (config(SCRIPT, {"INPUT__0": "STRING -1"}, {"OUTPUT__0": "STRING -1"}, batch=0), nets.script(nets.Words())),
        "knobs": (
            config(SCRIPT, *INDEX, CPU + given(
                INTRA_OP_THREAD_COUNT="1", INTER_OP_THREAD_COUNT="1", DISABLE_OPTIMIZED_EXECUTION="true", INFERENCE_MODE="0",
                DISABLE_CUDNN="on", ENABLE_WEIGHT_SHARING="true", ENABLE_CACHE_CLEANING="true", ENABLE_JIT_EXECUTOR="false",
                ENABLE_JIT_PROFILING="false", ENABLE_TENSOR_FUSER="false", ENABLE_NVFUSER="what", unknown="1",
            )),
            linear,
        ),
        "other_type": (config(SCRIPT, {"INPUT__0": ROW}, {"OUTPUT__0": "FP16 2"}), linear),
        "no_such_place": (config(SCRIPT, {"INPUT__0": ROW}, {"OUTPUT__3": TWO}), linear),
        "elsewhere": (config(SCRIPT, {"INPUT__0": ROW}, {"OUTPUT__0": ROW}), nets.traced_elsewhere()),
        "gap": (config(SCRIPT, {"INPUT__1": ROW}, INDEX[1]), linear),
        "inputs": (config(SCRIPT, *PAIR), linear),
        "uint16": (config(SCRIPT, {"INPUT__0": "UINT16 3"}, INDEX[1]), linear),
        "number": (config(SCRIPT, *INDEX), nets.script(nets.Number())),
        "silent": ("platform: \"pytorch_libtorch\"\nmax_batch_size: 4\n" + CPU, linear),
        "switch": (config(SCRIPT, *INDEX, CPU + given(INFERENCE_MODE="maybe")), linear),
        "count": (config(SCRIPT, *INDEX, CPU + given(INTRA_OP_THREAD_COUNT="two")), linear),
        "pickle": (LINEAR, nets.harmful(mark)),
        "cut": (LINEAR, linear[: len(linear) // 2]),
        "nothing": (LINEAR, None),
        "ragged": (config(SCRIPT, *INDEX).replace("dims: [ 3 ]", "dims: [ 3 ] allow_ragged_batch: true", 1), linear),
        "on_gpu": (config(SCRIPT, *INDEX, "instance_group [ { kind: KIND_GPU gpus: [ 0 ] } ]"), linear),
    }  # fmt: skip
    for name, (text, content) in scripts.items():
        small.add(store, name, text, content, "model.pt")
    pythons = {
        "compiled": (config(PYTHON, {"x": ROW}, {"y": TWO}, CPU + EAGER), "state"),
        "threads": (config(PYTHON, {"x": ROW}, {"y": TWO}, CPU + EAGER + given(NUM_THREADS="2")), "state"),
        "harm": (config(PYTHON, {"x": ROW}, {"y": TWO}, CPU + EAGER), "harm"),
        "option": (config(PYTHON, {"x": ROW}, {"y": TWO}, CPU + given(TORCH_COMPILE_OPTIONAL_PARAMETERS='{"mod": 1}')), "state"),
        "model": (config(PYTHON, {"x": ROW}, {"y": TWO}, CPU + given(TORCH_COMPILE_OPTIONAL_PARAMETERS='{"model": 1}')), "state"),
        "json": (config(PYTHON, {"x": ROW}, {"y": TWO}, CPU + given(TORCH_COMPILE_OPTIONAL_PARAMETERS="{")), "state"),
        "no_module": (config(PYTHON, {"x": ROW}, {"y": TWO}, CPU + EAGER), "no module"),
    }  # fmt: skip
    for name, (text, what) in pythons.items():
        small.add(store, name, text, b"x = 1\n" if what == "no module" else NETWORK.encode(), "model.py")
        if what == "harm":
            (store / name / "1/model.pt").write_bytes(nets.harmful(mark))
        elif what == "state":
            torch.save({"layer.weight": torch.ones(2, 3)}, store / name / "1/model.pt")
    if COMPILER:
        made = nets.package(nets.Apart(), torch.ones(2, 3), torch.ones(2, 3), folder=store.parent)
        foreign = nets.rewritten(made, r'"AOTI_CPU_ISA": "', '"AOTI_CPU_ISA": "AVX9000 ', "_metadata.json")
        cuda = nets.rewritten(made, r'"AOTI_DEVICE_KEY": "cpu"', '"AOTI_DEVICE_KEY": "cuda"', "_metadata.json")
        arm = nets.rewritten(made, r'"AOTI_MACHINE": "\w+"', '"AOTI_MACHINE": "riscv"', "_metadata.json")
        packages = {
            "package": (config(PACKAGE, *BACK), made),
            "paths": (config(PACKAGE, {"ARGS[1]": ROW, "ARGS[0]": ROW}, {"RESULT[1]": ROW, "RESULT[0]": ROW}), made),
            "read_none": (config(PACKAGE, *PAIR, CPU + given(DISABLE_CUDNN="what", CACHE_CLEANING_ENABLED="what")), made),
            "package_argument": (config(PACKAGE, {"first": ROW, "second": ROW}, BACK[1]), made),
            "package_result": (config(PACKAGE, BACK[0], {"OUTPUT__2": ROW}), made),
            "package_inputs": (config(PACKAGE, {"INPUT__0": ROW}, BACK[1]), made),
            "other_cpu": (config(PACKAGE, *BACK), foreign),
            "other_device": (config(PACKAGE, *BACK), cuda),
            "other_machine": (config(PACKAGE, *BACK), arm),
            "no_package": (config(PACKAGE, *BACK), linear),
            "text": (config(PACKAGE, *BACK), b"no archive"),
            "as_script": (config(SCRIPT + 'default_model_filename: "model.pt2"\n', *BACK), made),
        }  # fmt: skip
        for name, (text, content) in packages.items():
            small.add(store, name, text, content, "model.pt2")
    yield store
    assert not mark.exists(), "a pickle was opened and did what it liked"


@pytest.fixture(scope="module")
def loaded(repository) -> Iterator[tuple[Server, dict[str, str | None]]]:
    """The server, and what it said to each load, None when it loaded."""
    with Server(repository, models=[]) as server:
        yield server, small.load_all(server, sorted(entry.name for entry in repository.iterdir()))


A, B = (np.array([[1, 2, 3], [4, 5, 6]], np.float32) * by for by in (1, 10))


@pytest.mark.parametrize(
    "name", ["by_index", "by_argument", "by_order", "mixed", *(["package", "paths"] if COMPILER else [])]
)
def test_names_are_matched_by_argument_by_index_or_by_order(loaded, name):
    server, said = loaded
    assert said[name] is None
    shown = {
        "by_index": (("INPUT__0", "INPUT__1"), ("OUTPUT__0", "OUTPUT__1")),
        "by_argument": (("first", "second"), ("less__0", "sum__1")),
        "by_order": (("a", "b"), ("c", "d")),
        "mixed": (("INPUT__1", "other"), ("OUTPUT__1", "rest")),  # one departs: the list's order counts for all
        "package": (("INPUT__0", "INPUT__1"), ("OUTPUT__0", "OUTPUT__1")),
        "paths": (("ARGS[0]", "ARGS[1]"), ("RESULT[0]", "RESULT[1]")),
    }[name]
    found = server.infer(name, dict(zip(shown[0], (A, B))))
    assert np.array_equal(found[shown[1][0]], A - 2 * B) and np.array_equal(found[shown[1][1]], A + B)


def test_a_departing_name_is_warned_of_in_the_log(loaded):
    server, _ = loaded
    assert "do not follow the <name>__<index> naming convention. Falling back" in server.log_tail(1_000_000)
    assert "auto-complete for 'linear': not supported for pytorch backend" in server.log_tail(1_000_000)


def test_a_dictionary_is_given_by_its_keys(loaded):
    server, said = loaded
    assert said["keyed"] is None
    assert np.array_equal(server.infer("keyed", {"a": A, "b": B})["OUTPUT__0"], B - A)


@pytest.mark.parametrize("name", ["linear", "unbatched", "of_model", "knobs", "compiled"])
def test_it_computes_on_the_cpu_whatever_the_kind_and_the_runtime(loaded, name):
    server, said = loaded
    assert said[name] is None
    source, target = {"unbatched": ("x", "y"), "compiled": ("x", "y")}.get(name, ("INPUT__0", "OUTPUT__0"))
    assert np.array_equal(server.infer(name, {source: A})[target], np.repeat(A.sum(1)[:, None], 2, 1))


def test_the_python_runtime_has_one_thread_unless_it_is_told_otherwise(loaded):
    server, said = loaded
    assert said["threads"] is None
    assert np.array_equal(server.infer("threads", {"x": A})["y"], 2 * server.infer("compiled", {"x": A})["y"])


def test_gathered_requests_are_one_execution_and_each_gets_its_own(loaded):
    from concurrent.futures import ThreadPoolExecutor

    server, _ = loaded
    parts = [A[:1] * number for number in range(1, 9)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda part: server.infer("gathered", {"INPUT__0": part})["OUTPUT__0"], parts))
    assert [float(one[0, 0]) for one in found] == [float(part.sum()) for part in parts]
    assert small.counted(server, "gathered", sum(map(len, parts)))["execution_count"] < len(parts)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("other_type", "configuration expects datatype TYPE_FP16 for output 'OUTPUT__0', model provides TYPE_FP32"),
        (
            "no_such_place",
            "The output OUTPUT__3 in the model configuration refers to an output index which doesn't exist",
        ),
        ("elsewhere", "PyTorch execute failure: "),
    ],
)
def test_what_loads_and_cannot_answer_says_so_and_the_others_go_on(loaded, name, reason):
    server, said = loaded
    assert said[name] is None
    with pytest.raises(RequestError) as refused:
        server.infer(name, {"INPUT__0": A})
    assert reason in str(refused.value) and "\n" not in str(refused.value) and "Traceback" not in str(refused.value)
    assert server.infer("linear", {"INPUT__0": A})["OUTPUT__0"].shape == (2, 2)


REFUSED = {
    "inputs": "configuration expects 2 inputs, model provides 1",
    "uint16": "unsupported datatype TYPE_UINT16 for input 'INPUT__0' for model 'uint16'",
    "number": "An input of type 'int' was detected in the model.",
    "words": "has strings as input 'INPUT__0', which this Python-based stand-in of the backend does not offer",
    "switch": "failed to convert 'maybe' to boolean",
    "count": "failed to convert 'two' to integral number",
    "pickle": "failed to load model 'pickle': ",
    "cut": "failed to load model 'cut': ",
    "nothing": "model.pt' for model|failed to stat",
    "ragged": "which this Python-based stand-in of the backend does not offer",
    "on_gpu": "GPU|gpu",
    "silent": "configuration expects 0 inputs, model provides 1",
    "harm": "holds more than tensors and is not unpickled",
    "option": "torch.compile has no parameter mod",
    "model": "'model' is not an optional parameter for 'torch.compile'",
    "json": "TORCH_COMPILE_OPTIONAL_PARAMETERS is no JSON object",
    "no_module": "Cannot find a subclass of torch.nn.Module",
}
PACKAGES = {
    "package_argument": 'Input "first" for model instance "package_argument" is not found in model input map',
    "package_result": 'Output "OUTPUT__2" for model instance "package_result" is not found in model output map',
    "package_inputs": "configuration expects 1 inputs, model provides 2",
    "other_cpu": "was compiled for a CPU with AVX9000, which this one lacks: compile it here",
    "other_device": "was compiled for cuda, its instance is on cpu",
    "other_machine": "was compiled for riscv, this is",
    "no_package": "is no package of AOTInductor",
    "text": "is no package of AOTInductor",
    "as_script": "failed to load model 'as_script': ",
}


@pytest.mark.parametrize(("name", "reason"), [*REFUSED.items(), *(PACKAGES.items() if COMPILER else [])])
def test_a_refusal_is_one_line_with_its_reason(loaded, name, reason):
    server, said = loaded
    line = said[name] or "it loaded"
    assert any(part in line for part in reason.split("|")), line
    assert "\n" not in line and "Traceback" not in line
    assert server.ready("linear")


@pytest.mark.skipif(COMPILER is None, reason="AOTInductor needs a C++ compiler")
def test_a_package_reads_no_parameter_not_even_a_wrong_one(loaded):
    server, said = loaded
    assert said["read_none"] is None
    found = server.infer("read_none", {"INPUT__0": A, "INPUT__1": B}, ["OUTPUT__1"])
    assert list(found) == ["OUTPUT__1"] and np.array_equal(found["OUTPUT__1"], A + B)


@pytest.mark.parametrize(
    ("name", "rule", "severity"),
    [
        ("mixed", "torch-names", "warning"),
        ("gap", "torch-index", "warning"),
        ("knobs", "unknown-parameter", "warning"),
        *(
            [
                ("read_none", "torch-parameter", "warning"),
                ("as_script", "torch-platform", "error"),
                ("package_argument", "aoti-names", "error"),
            ]
            if COMPILER
            else []
        ),
    ],
)
def test_what_the_linter_claims_holds_on_the_server(repository, loaded, name, rule, severity):
    server, said = loaded
    found = [one for one in lint.file(repository / name / "config.pbtxt", ["current"]) if one.rule == rule]
    assert found and {one.severity for one in found} == {severity}
    assert (said[name] is None) == (severity == "warning"), said[name]
    if name == "gap":
        with pytest.raises(RequestError, match="PyTorch execute failure"):
            server.infer(name, {"INPUT__1": A})


def test_threads_are_said_in_the_log_as_the_official_backend_says_them(loaded):
    server, _ = loaded
    tail = server.log_tail(1_000_000)
    for line in (
        "Intra op thread count is set to 1",
        "Inter op thread count is set to 1",
        "Optimized execution is disabled",
    ):
        assert line in tail


STATE = """
import json, sys, torch
from types import SimpleNamespace
from pathlib import Path
from accelkit.backends.pytorch import torchscript
log = SimpleNamespace(log_info=lambda text: None, log_warn=lambda text: None)
given = {key: {"string_value": value} for key, value in json.loads(sys.argv[2]).items()}
io = {"data_type": "TYPE_FP32", "dims": [3]}
sides = {"input": [{"name": "INPUT__0", **io}], "output": [{"name": "OUTPUT__0", **io}]}
program = torchscript.load(Path(sys.argv[1]), "m", {**sides, "max_batch_size": 4, "parameters": given}, torch.device("cpu"), log)
seen = []
real = torch.backends.cudnn.flags
torch.backends.cudnn.flags = lambda enabled, **more: (seen.append(enabled), real(enabled=enabled, **more))[1]
made = program.call([torch.ones(1, 3)])[0]
print(json.dumps({
    "inference": made.is_inference(), "gradient": made.requires_grad, "cudnn": seen[0], "threads": torch.get_num_threads(),
    "branches": torch.get_num_interop_threads(), "fuser": torch._C._jit_texpr_fuser_enabled(),
    "executor": torch._C._jit_set_profiling_executor(True), "profiling": torch._C._jit_set_profiling_mode(True),
}))
"""


def state(folder: Path, parameters: dict[str, str]) -> dict[str, object]:
    """What holds in a process that loaded a model with these parameters."""
    (folder / "model.pt").write_bytes(nets.script(nets.Linear()))
    command = [sys.executable, "-c", STATE, str(folder / "model.pt"), json.dumps(parameters)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def untold(tmp_path_factory) -> dict[str, object]:
    """What holds without any parameter."""
    return state(tmp_path_factory.mktemp("untold"), {})


@pytest.mark.parametrize(
    ("key", "value", "fact", "wanted"),
    [
        ("INFERENCE_MODE", "false", "inference", False),
        ("DISABLE_CUDNN", "true", "cudnn", False),
        ("INTRA_OP_THREAD_COUNT", "3", "threads", 3),
        ("INTER_OP_THREAD_COUNT", "5", "branches", 5),
        ("ENABLE_TENSOR_FUSER", "false", "fuser", False),
        ("ENABLE_JIT_EXECUTOR", "false", "executor", False),
        ("ENABLE_JIT_PROFILING", "false", "profiling", False),
    ],
)
def test_a_key_changes_what_it_says_and_nothing_does_without_it(tmp_path, untold, key, value, fact, wanted):
    told = state(tmp_path, {key: value})
    assert told[fact] == wanted != untold[fact]
    assert not told["gradient"]


def test_a_call_specification_gives_every_tensor_its_names():
    tensor = {"type": None, "context": None, "children_spec": []}
    args = {"type": "builtins.tuple", "context": "null", "children_spec": [tensor]}
    by_name = {"type": "builtins.dict", "context": '["mask"]', "children_spec": [tensor]}
    pair = {"type": "builtins.list", "context": "null", "children_spec": [tensor, tensor]}
    results = {"type": "builtins.dict", "context": '["a", "b"]', "children_spec": [tensor, pair]}
    call = [1, {"type": "builtins.tuple", "context": "null", "children_spec": [args, by_name]}]
    found = names.of_package([json.dumps(call), json.dumps([1, results])])
    assert found["input"] == {"ARGS[0]": 0, "KWARGS[mask]": 1, "INPUT__0": 0, "INPUT__1": 1}
    assert found["output"]["RESULT[b][1]"] == 2 == found["output"]["OUTPUT__2"]
    assert names.of_package([json.dumps(call), json.dumps([1, tensor])])["output"] == {"RESULT": 0, "OUTPUT__0": 0}
    odd = {"type": "collections.OrderedDict", "context": "[]", "children_spec": []}
    with pytest.raises(Refused, match="collections.OrderedDict is no dictionary"):
        names.of_package([json.dumps(call), json.dumps([1, odd])])


def test_a_package_for_an_older_pytorch_says_so(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "model.pt2", "w") as archive:
        archive.writestr("data/model_metadata.json", '{"AOTI_DEVICE_KEY": "cpu"}')
    monkeypatch.setattr(torch, "__version__", "2.7.1+cpu")
    with pytest.raises(
        Refused, match=r'model "m": PyTorch 2\.7\.1\+cpu is too old for packages of AOTInductor: install 2\.8 or newer$'
    ):
        package.load(tmp_path / "model.pt2", "m", {}, torch.device("cpu"), None)


@pytest.mark.skipif(COMPILER is None, reason="AOTInductor needs a C++ compiler")
def test_a_package_is_loaded_without_compiling_anything(repository, monkeypatch):
    monkeypatch.setattr(subprocess.Popen, "__init__", lambda *given, **options: pytest.fail(f"it started {given[1]}"))
    sides = {
        "input": [{"name": "INPUT__1"}, {"name": "INPUT__0"}],
        "output": [{"name": "RESULT[1]"}, {"name": "RESULT[0]"}],
    }
    asked = {side: [{**entry, "data_type": "TYPE_FP32", "dims": [3]} for entry in sides[side]] for side in sides}
    made = package.load(repository / "package" / "1" / "model.pt2", "m", asked, torch.device("cpu"), None)
    less, both = made.call([torch.ones(2, 3), torch.full((2, 3), 3.0)])
    assert (less == -5).all() and (both == 4).all()


def test_the_table_of_keys_is_complete_and_nothing_names_a_key_outside_it():
    assert len({key.name for key in keys.KEYS}) == len(keys.KEYS)
    assert {id(key) for value in vars(keys).values() if isinstance(value, keys.Key) for key in [value]} == {
        id(key) for key in keys.KEYS
    }
    source = "".join(path.read_text() for path in Path(keys.__file__).parent.glob("*.py") if path.name != "keys.py")
    assert not [key.name for key in keys.KEYS if f'"{key.name}"' in source]
    assert len(keys.SCRIPT) == 11 and len(keys.PYTHON) == 3


@pytest.mark.parametrize("kind", [*tensors.TYPES.values()], ids=str)
def test_inputs_for_a_gpu_are_gathered_without_the_threads_of_pytorch(kind, monkeypatch):
    """Its `cat` shares a large copy out to threads that wait for those of other instances; who copies is seen without a GPU."""
    plain, whole = torch.empty, torch.arange(24).reshape(3, -1).type(kind)
    monkeypatch.setattr(torch, "empty", lambda *shape, pin_memory, **options: plain(*shape, **options))
    monkeypatch.setattr(torch.Tensor, "to", lambda self, device, non_blocking: self)
    monkeypatch.delattr(torch, "cat")
    made = tensors.joined([whole[:1], whole[1:]], torch.device("cuda"))
    assert made.dtype == kind and torch.equal(made, whole)
