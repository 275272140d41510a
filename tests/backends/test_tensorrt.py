"""The stand-in tensorrt on a made-up GPU with the bindings of each TensorRT: results, what is asked of CUDA, refusals."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import fake_cuda
import fake_tensorrt
import numpy as np
import pytest

from accelkit.backends import host
from accelkit.backends.key import ERAS, Refused
from accelkit.backends.tensorrt import keys
from accelkit.engine import api
from tests.gpu import inprocess

DIRECTORY = Path(keys.__file__).parent
PROFILES = [{"x": [[1, 4], [16, 4], [64, 4]]}, {"x": [[1, 4], [64, 4], [64, 4]]}]
CUDA = {"graphs": True, "graph_spec": [{"batch_size": 16}, {"batch_size": 64}]}
PRIORITY = {
    "PRIORITY_MAX": "stream of priority -5",
    "PRIORITY_MIN": "stream of priority 0",
    "PRIORITY_DEFAULT": "stream",
}


class Input:
    """A tensor as the server's stub hands it over."""

    def __init__(self, name: str, array: np.ndarray):
        self.name, self.array = lambda: name, array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class Tensor:
    """An output: the stub takes the capsule's memory over; here it is copied."""

    @staticmethod
    def from_dlpack(name, capsule):
        holder = SimpleNamespace(__dlpack__=lambda **_: capsule, __dlpack_device__=lambda: (1, 0))
        kind = type("Holder", (), {key: staticmethod(value) for key, value in vars(holder).items()})
        return name, np.from_dlpack(kind()).copy()


def request(wanted: tuple[str, ...] = (), **arrays: np.ndarray) -> SimpleNamespace:
    inputs = [Input(name, array) for name, array in arrays.items()]
    return SimpleNamespace(inputs=lambda: inputs, requested_output_names=lambda: list(wanted))


def rows(count: int) -> np.ndarray:
    return np.random.default_rng(count).random((count, 4), dtype=np.float32)


@pytest.fixture
def said():
    """What was logged."""
    return []


@pytest.fixture
def pb(monkeypatch, tmp_path, said):
    """The server's module for a backend."""
    made = ModuleType("triton_python_backend_utils")
    made.Logger = SimpleNamespace(
        **{
            f"log_{kind}": lambda text, kind=kind: said.append((kind, text))
            for kind in ("error", "warn", "info", "verbose")
        }
    )
    made.Tensor, made.TritonError = Tensor, lambda text: text
    made.InferenceResponse = lambda tensors=None, error=None: error if error else dict(tensors)
    made.get_model_dir = lambda: str(tmp_path / "m/1")
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", made)
    return made


@pytest.fixture
def driver():
    return fake_cuda.Driver()


@pytest.fixture(params=fake_tensorrt.VERSIONS)
def trt(request, monkeypatch, driver):
    """TensorRT of each version, on the fake driver's GPU."""
    made = fake_tensorrt.make(request.param, driver)
    monkeypatch.setitem(sys.modules, "tensorrt", made)
    from accelkit.backends.tensorrt import cuda

    monkeypatch.setattr(cuda, "driver", driver)
    monkeypatch.setattr(api, "need_gpu", lambda: None)
    monkeypatch.setattr(host, "command_line", lambda: [])
    monkeypatch.delenv("ACCELKIT_PROFILE_DIR", raising=False)
    api.load.cache_clear()
    yield made
    api.load.cache_clear()


@pytest.fixture
def model(trt, pb, tmp_path):
    """A maker of instances: `change` goes to the config, `facts` to the plan; returns the loaded instance."""
    backend = importlib.reload(importlib.import_module("accelkit.backends.tensorrt.model"))

    def make(facts: dict | None = None, kind: str = "GPU", device: str = "0", file: str = "model.plan", **change):
        place(tmp_path, trt, facts or {}, file)
        instance = backend.TritonPythonModel()
        instance.initialize(
            {"model_config": json.dumps(config(**change)), "model_name": "m", "model_repository": str(tmp_path / "m"),
             "model_version": "1", "model_instance_name": "m_0_0", "model_instance_kind": kind,
             "model_instance_device_id": device}
        )  # fmt: skip
        return instance

    return make


def place(folder: Path, trt, facts: dict, file: str = "model.plan") -> Path:
    """Write a plan for this TensorRT: x [N, 4] -> y [N, 4] with two profiles."""
    version = folder / "m" / "1"
    version.mkdir(parents=True, exist_ok=True)
    content = {"version": trt.state.version, "profiles": PROFILES, "flags": [], "inputs": {"x": [-1, 4]},
               "outputs": {"y": [-1, 4]}, **facts}  # fmt: skip
    (version / file).write_text(json.dumps(content))
    return version / file


def config(**change) -> dict:
    """A configuration as the server hands it over; None leaves an entry out."""
    entry = {"data_type": "TYPE_FP32", "dims": ["4"]}
    whole = {
        "name": "m", "max_batch_size": 64, "input": [{"name": "x", **entry}], "output": [{"name": "y", **entry}],
        "instance_group": [{"name": "m_0", "kind": "KIND_GPU", "count": 2, "gpus": [0], "profile": ["0", "1"]}],
        "dynamic_batching": {}, "optimization": {"cuda": CUDA}, **change,
    }  # fmt: skip
    return {key: value for key, value in whole.items() if value is not None}


def answers(instance, *counts: int) -> None:
    """Gather requests of these sizes and hold each answer against what the plan computes."""
    given = [rows(count) for count in counts]
    for array, answer in zip(given, instance.execute([request(x=array) for array in given]), strict=True):
        np.testing.assert_array_equal(answer["y"], 2 * array + 1)


def test_every_setting_is_described_and_stands_once():
    assert {id(key) for key in vars(keys).values() if isinstance(key, keys.Key)} == {id(key) for key in keys.KEYS}
    assert len({(key.where, key.name) for key in keys.KEYS}) == len(keys.KEYS)
    assert all(key.effect and key.source and key.eras and set(key.eras) <= set(ERAS) for key in keys.KEYS)


def test_no_setting_is_named_outside_the_table():
    named = re.compile(f"""["'](?:{"|".join(re.escape(key.name) for key in keys.KEYS)})["']""")
    sources = [path for path in DIRECTORY.glob("*.py") if path.name != "keys.py"]
    assert len(sources) > 8 and not {path.name: found for path in sources if (found := named.findall(path.read_text()))}


def test_the_table_and_the_rule_of_graphs_need_no_package_beyond_the_standard_library():
    code = "import sys, accelkit.backends.tensorrt.graphs; print('numpy' in sys.modules or 'tensorrt' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


def test_answers_with_and_without_graphs_and_gathers_requests(model, driver):
    instance = model()
    assert instance.runner.graphs == 4, "two batches, each for two profiles"
    for counts in ((16,), (1,), (64,), (5, 7), (8, 8), (64,), (3,), (16,)):
        answers(instance, *counts)
    assert instance.runner.ran == {"graph": 5, "enqueue": 3}
    assert driver.calls.count("launch") == 5


def test_a_batch_with_a_graph_is_one_launch_and_one_wait_and_takes_no_memory(model, driver):
    instance = model()
    answers(instance, 16)
    held = len(driver.held)
    driver.calls.clear()
    answers(instance, 16)
    copies = ["in 256", "out 256 in stream 1"]
    assert [call for call in driver.calls if call not in copies] == ["launch", "wait"] and len(driver.held) == held
    driver.calls.clear()
    answers(instance, 9)
    assert driver.calls == ["in 144", "out 144 in stream 1", "wait"]


def test_the_nearer_profile_is_taken(model, trt):
    instance = model(optimization=None)
    for count in (1, 16, 39, 41, 64):
        answers(instance, count)
    assert [call[1:] for call in trt.state.calls if call[0] == "enqueue"] == [
        (0, (1, 4)), (0, (16, 4)), (0, (39, 4)), (1, (41, 4)), (1, (64, 4)),
    ]  # fmt: skip


def test_how_near_a_profile_is_counts_sizes_as_the_official_backend_does():
    from accelkit.backends.tensorrt.contexts import Profile

    shapes = {"x": (1, 1, 8)}, {"x": (16, 1, 32)}, {"x": (64, 1, 64)}
    profile = Profile("0", 0, None, *shapes)
    assert profile.distance({"x": (16, 1, 32)}) == 0 + abs(1 - 16) + abs(32 - 1), "each size beside its left neighbour"
    assert profile.distance({"x": (16, 1, 65)}) is None and profile.distance({"x": (16, 32)}) is None


def test_without_a_list_the_first_profile_takes_all(model, trt):
    instance = model(optimization=None, instance_group=[{"name": "m_0", "kind": "KIND_GPU", "count": 1}])
    answers(instance, 64)
    assert [call[1] for call in trt.state.calls if call[0] == "enqueue"] == [0]


def test_an_instance_reads_the_profiles_of_its_own_group(model):
    groups = [
        {"name": "m", "kind": "KIND_GPU", "profile": ["0"]},
        {"name": "m_0", "kind": "KIND_GPU", "profile": ["1"]},
    ]
    assert [profile.index for profile in model(instance_group=groups).runner.profiles] == [1]


def test_a_batch_outside_every_profile_is_refused_and_the_next_is_answered(model, said):
    narrow = [{"x": [[1, 4], [4, 4], [8, 4]]}, {"x": [[16, 4], [16, 4], [32, 4]]}]
    instance = model({"profiles": narrow}, max_batch_size=32, optimization=None)
    (answer,) = instance.execute([request(x=rows(9))])
    assert answer == (
        "request specifies invalid shape for input 'x' for m_0_0. Error details: model expected the shape of dimension 0 to be "
        "between 1 and 8 but received 9"
    )
    assert any(
        "failed to find any Optimization Profile among [ 0[0] 1[1]]" in text for kind, text in said if kind == "error"
    )
    answers(instance, 8)
    answers(instance, 16)


def test_all_gathered_requests_fail_together(model, trt):
    instance = model(optimization=None)
    trt.state.broken = "enqueue"
    found = instance.execute([request(x=rows(2)), request(x=rows(3))])
    assert found == ["unable to enqueue for inference m_0_0"] * 2
    trt.state.broken = ""
    answers(instance, 2, 3)


def test_only_what_is_asked_for_is_answered(model):
    two = {"outputs": {"y": [-1, 4], "z": [-1, 4]}}
    out = [{"name": name, "data_type": "TYPE_FP32", "dims": ["4"]} for name in "yz"]
    instance = model(two, output=out)
    (answer,) = instance.execute([request(("z",), x=rows(3))])
    assert set(answer) == {"z"} and set(instance.execute([request(x=rows(3))])[0]) == {"y", "z"}


def test_a_model_without_a_batch_takes_whole_tensors(model):
    fixed = {"inputs": {"x": [3, 4]}, "outputs": {"y": [3, 4]}, "profiles": [{"x": [[3, 4]] * 3}]}
    entry = {"data_type": "TYPE_FP32", "dims": ["3", "4"]}
    group = [{"name": "m_0", "kind": "KIND_GPU", "count": 1}]
    change = {"input": [{"name": "x", **entry}], "output": [{"name": "y", **entry}], "instance_group": group}
    instance = model(fixed, max_batch_size=0, dynamic_batching=None, optimization={"cuda": {"graphs": True}}, **change)
    answers(instance, 3)
    assert instance.runner.graphs == 1 and instance.runner.ran == {"graph": 0, "enqueue": 1}, (
        "captured for 0, looked for at 1"
    )


@pytest.mark.parametrize(
    ("change", "batches"),
    [({"dynamic_batching": {"preferred_batch_size": [64]}}, [1, 64]),
     ({"dynamic_batching": {"preferred_batch_size": [8, 32]}}, [1, 8, 32, 64]),
     ({"dynamic_batching": None}, [1, 2, 3, 4, 6, 8, 12, 16, 64]),
     ({"dynamic_batching": None, "max_batch_size": 6}, [1, 2, 3, 4, 6]),
     ({"dynamic_batching": None, "sequence_batching": {"oldest": {"preferred_batch_size": [4]}}}, [1, 4, 64]),
     ({"dynamic_batching": None, "sequence_batching": {"direct": {}}}, [1, 2, 3, 4, 6, 8, 12, 16, 64])],
)  # fmt: skip
def test_which_batches_get_a_graph_when_none_is_named(change, batches):
    from accelkit.backends.tensorrt import graphs

    found = graphs.specs(config(**{**change, "optimization": {"cuda": {"graphs": True}}}))
    assert [spec.batch for spec in found] == batches
    assert graphs.specs(config(**{**change, "optimization": {}})) == []


def test_a_graph_takes_smaller_batches_only_with_a_lower_bound_and_shapes(model):
    shapes = {"input": {"x": {"dim": ["4"]}}}
    bound = {"batch_size": 16, **shapes, "graph_lower_bound": {"batch_size": 9, **shapes}}
    instance = model(optimization={"cuda": {"graphs": True, "graph_spec": [bound]}})
    for count in (16, 9, 12, 8):
        answers(instance, count)
    answers(instance, 5, 5)
    assert instance.runner.ran == {"graph": 4, "enqueue": 1}
    bare = {"batch_size": 16, "graph_lower_bound": {"batch_size": 9}}
    instance = model(optimization={"cuda": {"graphs": True, "graph_spec": [bare]}})
    answers(instance, 12)
    answers(instance, 16)
    assert instance.runner.ran == {"graph": 1, "enqueue": 1}


def test_a_graph_that_a_profile_does_not_cover_is_logged_and_the_rest_serves(model, said):
    narrow = [{"x": [[1, 4], [4, 4], [8, 4]]}, {"x": [[1, 4], [64, 4], [64, 4]]}]
    instance = model({"profiles": narrow})
    assert instance.runner.graphs == 2
    logged = [text for kind, text in said if kind == "error"]
    assert logged[0] == (
        "Failed to set cuda graph shape for m_0_0: trt failed to set input shape to [16,4] for input x for m_0_0"
    )
    answers(instance, 16)
    unknown = {"batch_size": 4, "input": {"nope": {"dim": ["4"]}}}
    instance = model(optimization={"cuda": {"graphs": True, "graph_spec": [unknown]}})
    assert instance.runner.graphs == 0 and "unknown input 'x'" in said[-2][1]


@pytest.mark.parametrize(
    ("spec", "reason"),
    [({"batch_size": 65}, "graph spec expects 'batch_size' to be >= 1 and <= 64"),
     ({"batch_size": 0}, "to be >= 1 and <= 64"),
     ({"batch_size": 4, "graph_lower_bound": {"batch_size": 5}}, "graph lower bound spec expects 'batch_size' to be <= graph spec"),
     ({"batch_size": 4, "input": {"x": {"dim": ["4"]}}, "graph_lower_bound": {"batch_size": 2}}, "expects shape for input 'x'"),
     ({"batch_size": 4, "input": {"x": {"dim": ["4"]}}, "graph_lower_bound": {"batch_size": 2, "input": {"x": {"dim": ["5"]}}}},
      "expects input 'x' to have dimension <= 4"),
     ({"batch_size": 4, "input": {"x": {"dim": ["-1"]}}}, "expects input 'x' to have dimension >= 0")],
)  # fmt: skip
def test_a_graph_spec_that_the_official_backend_refuses(model, spec, reason):
    with pytest.raises(Refused, match=re.escape(reason)):
        model(optimization={"cuda": {"graphs": True, "graph_spec": [spec]}})


@pytest.mark.parametrize("priority", PRIORITY)
def test_the_priority_is_that_of_the_stream(model, driver, priority):
    model(optimization={"priority": priority})
    assert driver.calls[0] == PRIORITY[priority]


@pytest.mark.parametrize(("busy", "flags"), [(True, 2), (False, 3)])
def test_waiting_spins_only_where_it_is_wanted(model, driver, busy, flags):
    model(optimization={"cuda": {"busy_wait_events": busy}})
    assert [call for call in driver.calls if "event" in call] == [f"event of flags {flags}"] * 2


def test_memory_is_page_locked_unless_it_is_switched_off(model, driver):
    model()
    assert driver.calls.count("pinned") == 2
    for side in ("input", "output"):
        driver.calls.clear()
        instance = model(optimization={"cuda": CUDA, f"{side}_pinned_memory": {"enable": False}})
        assert driver.calls.count("pinned") == 1
        driver.calls.clear()
        answers(instance, 16)
        out = f"out 256 in stream {int(instance.runner.stream)}"
        assert driver.calls == ["in 256", "launch", out, "wait"], "the graph holds no copies"


def test_outputs_leave_in_a_stream_of_their_own_from_two_sets_of_buffers(model, driver):
    instance = model(optimization={"cuda": {**CUDA, "output_copy_stream": True}})
    assert instance.runner.graphs == 8
    for count in (16, 16, 3, 3, 64, 16):
        driver.calls.clear()
        answers(instance, count)
        assert driver.calls[-3:] == ["follow", f"out {count * 16} in stream {int(instance.runner._out_stream)}", "wait"]
    assert int(instance.runner._out_stream) != int(instance.runner.stream)


def test_a_strategy_of_allocation_reaches_tensorrt_that_has_it(model, trt):
    strategy = {keys.ALLOCATION.name: {"string_value": "ON_PROFILE_CHANGE"}}
    if trt.__version__.startswith("8."):
        with pytest.raises(Refused, match="ON_PROFILE_CHANGE needs TensorRT 10, this is 8.6.0"):
            model(parameters=strategy)
    else:
        model(parameters=strategy)
        assert ("context", "ON_PROFILE_CHANGE") in trt.state.calls
    with pytest.raises(
        Refused, match="Invalid value for .*: 'DYNAMIC' .* Supported values are 'STATIC' and 'ON_PROFILE_CHANGE'"
    ):
        model(parameters={keys.ALLOCATION.name: {"string_value": "DYNAMIC"}})


def test_the_file_is_the_default_or_the_named_or_that_of_the_compute_capability(model):
    answers(model(), 2)
    answers(model(file="other.plan", default_model_filename="other.plan"), 2)
    answers(
        model(file="h.plan", default_model_filename="nope.plan", cc_model_filenames={"9.0": "h.plan", "8.0": "a.plan"}),
        2,
    )
    with pytest.raises(Refused, match="unable to find '.*/nope.plan' for model instance 'm_0_0'"):
        model(default_model_filename="nope.plan")


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"kind": "CPU"}, "unable to load model 'm', TensorRT backend supports only GPU device"),
     ({"device": "1"}, "unable to set CUDA device to GPU 1 : invalid device ordinal"),
     ({"facts": {"version": "5"}}, "unable to create TensorRT engine: The engine plan file is not compatible with this version"),
     ({"max_batch_size": 65}, "max-batch 65 but TensorRT engine only supports max-batch 64"),
     ({"instance_group": [{"name": "m_0", "kind": "KIND_GPU", "profile": ["2"]}]}, "specified invalid profile 2 ."),
     ({"instance_group": [{"name": "m_0", "kind": "KIND_GPU", "profile": ["big"]}]}, "unable to parse 'big'"),
     ({"input": [{"name": "a", "data_type": "TYPE_FP32", "dims": ["4"]}]}, "unexpected inference input 'a', allowed inputs are: x"),
     ({"output": [{"name": "x", "data_type": "TYPE_FP32", "dims": ["4"]}]}, "unexpected inference output 'x', allowed outputs are: y"),
     ({"input": [{"name": "x", "data_type": "TYPE_FP16", "dims": ["4"]}]},
      "unexpected datatype TYPE_FP32 for inference input 'x', expecting TYPE_FP16 for m_0_0"),
     ({"input": [{"name": "x", "data_type": "TYPE_FP32", "dims": ["5"]}]},
      "model 'm', tensor 'x': the model expects 2 dimensions (shape [-1,4]) but the model configuration specifies 2 dimensions (an "
      "initial batch dimension because max_batch_size > 0 followed by the explicit tensor shape, making complete shape [-1,5])"),
     ({"input": [{"name": n, "data_type": "TYPE_FP32", "dims": ["4"]} for n in "xw"]}, "configuration expects 2 inputs, model provides"),
     ({"input": [{"name": "x", "data_type": "TYPE_FP32", "dims": ["4"], "is_shape_tensor": True}]}, "incorrectly marked as a shape"),
     ({"facts": {"shape_tensors": ["x"]}}, "has the shape tensor 'x', which this Python-based stand-in"),
     ({"batch_input": [{"kind": "BATCH_ELEMENT_COUNT"}]}, "has batch_input, which this Python-based stand-in"),
     ({"sequence_batching": {"state": [{"input_name": "s"}]}}, "has sequence controls or state, which"),
     ({"parameters": {"enable_multi_device": {"string_value": "true"}}}, "has enable_multi_device, which"),
     ({"model_warmup": [{"name": "w", "batch_size": 65}]}, "failed to run warmup sample 'w': batch size 65")],
)  # fmt: skip
def test_refusals(model, change, reason):
    with pytest.raises(Refused, match=re.escape(reason)):
        model(**change)


def test_a_damaged_plan_is_refused_with_tensorrts_reason(model, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "place", lambda *arguments: None)
    (tmp_path / "m/1").mkdir(parents=True)
    (tmp_path / "m/1/model.plan").write_bytes(b"\x00" * 64)
    with pytest.raises(Refused, match="unable to create TensorRT engine: Serialization assertion stdVersionRead"):
        model()


def test_no_memory_on_the_gpu(model, trt, driver):
    driver.room = 2000
    with pytest.raises(Refused, match="unable to allocate memory for (in|out)put '[xy]' for m_0_0: out of memory"):
        model()
    trt.state.room = False
    with pytest.raises(Refused, match=r"unable to create TensorRT context: .*Cuda Runtime \(out of memory\)"):
        model()


def test_without_the_bindings_of_cuda_it_says_what_to_install(model, monkeypatch):
    from accelkit.backends.tensorrt import cuda

    monkeypatch.setattr(cuda, "driver", None)
    with pytest.raises(Refused, match="needs the package cuda-bindings in its interpreter"):
        model()


def test_plans_with_host_code_need_the_servers_permission(model, trt, monkeypatch):
    allowed = []
    real = trt.Runtime.deserialize_cuda_engine
    monkeypatch.setattr(
        trt.Runtime,
        "deserialize_cuda_engine",
        lambda self, data: (allowed.append(self.engine_host_code_allowed), real(self, data))[1],
    )
    model()
    monkeypatch.setattr(host, "command_line", lambda: ["--backend-config=tensorrt,version-compatible=true"])
    model()
    assert allowed == [False, True]


def test_a_library_of_plugins_that_does_not_load_is_logged(model, said, monkeypatch):
    monkeypatch.setattr(host, "command_line", lambda: ["--backend-config=tensorrt,plugins=/no/such.so;/nor/this.so"])
    answers(model(), 3)
    assert [
        text for kind, text in said if "unable to load shared library" in text and "/no" in text and kind == "error"
    ][1:]


def completed(trt, pb, tmp_path, facts: dict | None = None, **change) -> dict:
    """What auto-complete makes of a configuration."""
    backend = importlib.reload(importlib.import_module("accelkit.backends.tensorrt.model"))
    place(tmp_path, trt, facts or {})
    given = config(**change)
    backend.TritonPythonModel.auto_complete_config(SimpleNamespace(as_dict=lambda: given))
    return given


def test_auto_complete_fills_in_batch_inputs_and_outputs(trt, pb, tmp_path):
    found = completed(trt, pb, tmp_path, max_batch_size=0, input=None, output=None, dynamic_batching=None)
    assert found["max_batch_size"] == 64 and found["dynamic_batching"] == {}
    assert (
        found["input"] == [{"name": "x", "data_type": "TYPE_FP32", "dims": [4]}] and found["output"][0]["name"] == "y"
    )
    partly = completed(trt, pb, tmp_path, input=[{"name": "x"}], max_batch_size=8, dynamic_batching=None)
    unshaped = completed(trt, pb, tmp_path, input=[{"name": "x", "data_type": "TYPE_FP32", "dims": []}])
    assert unshaped["input"][0]["dims"] == [4], "also where all else is there"
    assert partly["input"] == [{"name": "x", "data_type": "TYPE_FP32", "dims": [4]}] and partly["max_batch_size"] == 8
    small = [{"x": [[1, 4], [4, 4], [8, 4]]}, PROFILES[1]]
    group = [{"name": "m_0", "kind": "KIND_GPU", "gpus": [0], "count": 1}]
    assert (
        completed(trt, pb, tmp_path, {"profiles": small}, max_batch_size=0, instance_group=group)["max_batch_size"] == 8
    )


def test_auto_complete_sees_from_the_dims_that_there_is_no_batch(trt, pb, tmp_path, said):
    entry = {"data_type": "TYPE_FP32", "dims": ["-1", "4"]}
    change = {"input": [{"name": "x", **entry}], "output": [{"name": "y", **entry}], "max_batch_size": 0}
    assert completed(trt, pb, tmp_path, dynamic_batching=None, **change)["max_batch_size"] == 0
    assert ("warn", "The specified dimensions in model config for m hints that batching is unavailable") in said


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"max_batch_size": 65, "dynamic_batching": None}, "max-batch 65 but TensorRT engine only supports max-batch 64"),
     ({"facts": {"version": "5"}, "input": None}, "unable to load plan file to auto complete config: .*/m/1/model.plan"),
     ({"input": [{"name": "q", "dims": ["4"]}], "output": None}, "unexpected inference input 'q', allowed inputs are: x"),
     ({"output": [{"name": "y", "dims": ["4", "4"]}], "dynamic_batching": None}, "contradicting each other"),
     ({"input": None, "instance_group": [{"name": "m_0", "kind": "KIND_GPU", "profile": ["7"]}]}, "specified invalid profile 7")],
)  # fmt: skip
def test_auto_complete_refuses(trt, pb, tmp_path, change, reason):
    with pytest.raises(Refused, match=reason):
        completed(trt, pb, tmp_path, **change)


def test_auto_complete_leaves_other_kinds_and_whole_configs_alone(trt, pb, tmp_path):
    cpu = [{"name": "m_0", "kind": "KIND_CPU"}]
    assert completed(trt, pb, tmp_path, input=None, instance_group=cpu) == config(input=None, instance_group=cpu)
    assert completed(trt, pb, tmp_path) == config()


def test_what_ran_is_reported_at_the_end(model, tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELKIT_PROFILE_DIR", str(tmp_path / "profile"))
    instance = model()
    for count in (16, 16, 5):
        answers(instance, count)
    instance.finalize()
    from accelkit.measure import evidence

    found = evidence.READERS["tensorrt"](tmp_path / "profile")
    assert found.observed == "fp16" and found.nodes == {"TensorRT fp16 CaskConvolution": 1, "TensorRT fp32 Reformat": 1}
    assert "executions 2 by graph, 1 by enqueue" in found.how and "profile 0[0]" in found.how
    report = json.loads(next((tmp_path / "profile").rglob("*.tensorrt")).read_text())
    assert report["shapes"] == {"x": [5, 4]} and report["microseconds"] == {"conv1": 500.0, "reformat": 500.0}


def test_what_fails_at_the_end_is_in_the_report(model, tmp_path, monkeypatch):
    from accelkit.backends.tensorrt import report
    from accelkit.engine import describing
    from accelkit.errors import MeasureError
    from accelkit.measure import evidence

    def broken(*arguments):
        raise ValueError("the inspector's text is no JSON")

    monkeypatch.setenv("ACCELKIT_PROFILE_DIR", str(tmp_path / "timed"))
    monkeypatch.setattr(report, "_times", broken)
    instance = model()
    answers(instance, 16)
    instance.finalize()
    assert evidence.READERS["tensorrt"](tmp_path / "timed").nodes["TensorRT fp16 CaskConvolution"] == 1
    monkeypatch.setenv("ACCELKIT_PROFILE_DIR", str(tmp_path / "untimed"))
    monkeypatch.setattr(describing, "layers", broken)
    instance = model()
    answers(instance, 16)
    instance.finalize()
    with pytest.raises(MeasureError, match=r"proves what ran \(ValueError: the inspector's text is no JSON\)"):
        evidence.READERS["tensorrt"](tmp_path / "untimed")


def test_an_instance_is_measured_without_a_server(trt, monkeypatch, tmp_path):
    """tests/gpu/inprocess.py, which measures what serving costs."""
    for name in ("capsule", "command_line"):  # what it replaces stays replaced for this test alone
        monkeypatch.setattr(host, name, getattr(host, name))
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", None)
    monkeypatch.delitem(sys.modules, "accelkit.backends.tensorrt.model", raising=False)
    place(tmp_path, trt, {})
    infer = inprocess.instance({"backend": "tensorrt", "repository": str(tmp_path), "model": "m", "config": config()})
    for count in (16, 3):
        np.testing.assert_array_equal(infer({"x": rows(count)})["y"], 2 * rows(count) + 1)
    with pytest.raises(SystemExit, match="65"):
        infer({"x": rows(65)})
    monkeypatch.delitem(sys.modules, "accelkit.backends.tensorrt.model")
