"""The onnxruntime stand-in against what the official backend was seen to do, case by case, on one real server."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import small
from onnx import helper

from accelkit.errors import RequestError
from accelkit.serving import Server


def parameters(**values: str) -> str:
    """Top-level parameters of a configuration."""
    return "\n".join(f'parameters {{ key: "{k}" value: {{ string_value: "{v}" }} }}' for k, v in values.items())


def accelerator(side: str, name: str, more: str = "") -> str:
    """An execution accelerator of the CPU or the GPU."""
    return (
        f'optimization {{ execution_accelerators {{ {side}_execution_accelerator: [ {{ name: "{name}" {more} }} ] }} }}'
    )


def warmup(batch: int, dims: str = "[1,32,100]", name: str = "input.1", kind: str = "TYPE_FP32") -> str:
    """A warmup sample."""
    entry = f'{{ key: "{name}" value: {{ data_type: {kind} dims: {dims} random_data: true }} }}'
    return f'model_warmup [ {{ name: "w" batch_size: {batch} count: 3 inputs {entry} }} ]'


def level(number: int) -> str:
    """A graph level."""
    return f"optimization {{ graph {{ level: {number} }} }}"


BASE = small.config()
FIXED = small.model(
    [helper.make_node("Identity", ["input.1"], ["out"])],
    [small.tensor("input.1", [1, *small.IMAGE])],
    [small.tensor("out", [1, *small.IMAGE])],
)
BIG = f"'{'9' * 11}' to integral number: intra_op_thread_count does not fit"
NOT_A_CONFIG = r"failed to read text proto from [^\"]*config.pbtxt \("
OTHER = "the model configuration specifies 4 dimensions"

# Name: config.pbtxt, None when it loads or what the refusal says (a regular expression), and the model.
CASES: dict[str, tuple] = {
    **{f"level_{name}": (BASE + level(number), None) for name, number in
       {"0": 0, "minus1": -1, "1": 1, "2": 2, "3": 3, "99": 99, "minus2": -2}.items()},
    "level_absent": (BASE, None),
    "level_string": (BASE + 'optimization { graph { level: "1" } }', NOT_A_CONFIG),
    **{f"accelerator_{index}": (BASE + accelerator("cpu", name), f"unknown Execution Accelerator '{name}' is requested$")
       for index, name in enumerate(("openvinoo", "OpenVINO", ""))},
    "accelerator_completing": (
        'backend: "onnxruntime"' + accelerator("cpu", "openvinoo"),
        "unknown Execution Accelerator 'openvinoo' is requested$",
    ),
    "gpu_accelerator": (BASE + accelerator("gpu", "tensorrt", 'parameters { key: "nope" value: "1" }'), None),
    "gpu_accelerator_bogus": (BASE + accelerator("gpu", "bogus"), None),
    "unknown_key": (BASE + parameters(nope="1", **{"session.intra_op.allow_spinning": "0"}), None),
    "intra_abc": (BASE + parameters(intra_op_thread_count="abc"), "failed to convert 'abc' to integral number$"),
    "inter_abc": (BASE + parameters(inter_op_thread_count="abc"), "failed to convert 'abc' to integral number$"),
    "intra_empty": (BASE + parameters(intra_op_thread_count=""), "failed to convert '' to integral number$"),
    "intra_no_string": (
        BASE + 'parameters { key: "intra_op_thread_count" value: {} }', "failed to convert '' to integral number$"
    ),
    "intra_half": (BASE + parameters(intra_op_thread_count="2.5"), None),
    "intra_letters": (BASE + parameters(intra_op_thread_count="2abc"), None),
    "intra_space": (BASE + parameters(intra_op_thread_count=" 2"), None),
    "intra_zero": (BASE + parameters(intra_op_thread_count="0"), None),
    "intra_negative": (BASE + parameters(intra_op_thread_count="-1"), None),
    "intra_huge": (BASE + parameters(intra_op_thread_count="9" * 11), BIG),
    "inter_huge": (BASE + parameters(inter_op_thread_count="3000000000"), "inter_op_thread_count does not fit"),
    "mode_0": (BASE + parameters(execution_mode="0"), None),
    "mode_1": (BASE + parameters(execution_mode="1"), None),
    "mode_2": (BASE + parameters(execution_mode="2"), "execution_mode are 0 or 1 but got 2"),
    "mode_abc": (BASE + parameters(execution_mode="abc"), "failed to convert 'abc' to integral number$"),
    "memory_off": (BASE + parameters(enable_mem_arena="OFF", enable_mem_pattern="False"), None),
    "memory_on": (BASE + parameters(enable_mem_arena="on", enable_mem_pattern="1"), None),
    "arena_maybe": (BASE + parameters(enable_mem_arena="maybe"), "failed to convert 'maybe' to boolean$"),
    "pattern_maybe": (BASE + parameters(enable_mem_pattern="maybe"), "failed to convert 'maybe' to boolean$"),
    "shrinkage": (BASE + parameters(**{"memory.enable_memory_arena_shrinkage": "cpu:0"}), None),
    "initializers": (BASE + parameters(**{"session.use_device_allocator_for_initializers": "1"}), None),
    "custom_ops": (
        BASE + 'model_operations { op_library_filename: "/nowhere/ops.so" }', "/nowhere/ops.so.*cannot open shared object"
    ),
    "wrong_output": (BASE.replace('"out"', '"nope"'), "unexpected inference output 'nope', allowed outputs are: out$"),
    "nameless_output": (
        BASE.replace('{ name: "out"', "{"), "model output must specify 'name' for nameless_output$"
    ),
    "wrong_input": (BASE.replace('"input.1"', '"inp"'), "unexpected inference input 'inp', allowed inputs are: input.1$"),
    "wrong_dims": (
        BASE.replace("dims: [1, 32, 100]", "dims: [1, 32, 99]", 1),
        r"model 'wrong_dims', tensor 'input.1': the model expects 4 dimensions \(shape \[-1,1,32,100\]\) but the model "
        r"configuration specifies 4 dimensions \(an initial batch dimension because max_batch_size > 0 followed by the "
        r"explicit tensor shape, making complete shape \[-1,1,32,99\]\)$",
    ),
    "wrong_rank": (BASE.replace("dims: [1, 32, 100]", "dims: [32, 100]", 1), r"specifies 3 dimensions .*\[-1,32,100\]"),
    "unbatched_dims": (
        small.config(batch=0), r"the model configuration specifies 3 dimensions \(shape \[1,32,100\]\)$"
    ),
    "free_input_dim": (BASE.replace("dims: [1, 32, 100]", "dims: [1, 32, -1]", 1), OTHER),
    "free_output_dim": (small.config(dims=[1, 32, -1]), OTHER),
    "not_batchable": (BASE, "for the model to support batching the shape should have at least 1 dimension", FIXED),
    "wrong_input_type": (
        BASE.replace("TYPE_FP32", "TYPE_INT32", 1),
        "unable to load model 'wrong_input_type', configuration expects datatype TYPE_INT32 for input 'input.1', model "
        "provides TYPE_FP32$",
    ),
    "wrong_output_type": (
        BASE.replace("TYPE_FP32 dims: [1, 32, 100] } ]\ninst", "TYPE_INT32 dims: [1, 32, 100] } ]\ninst"),
        "configuration expects datatype TYPE_INT32 for output 'out', model provides TYPE_FP32$",
    ),
    "no_such_type": (BASE.replace("TYPE_FP32", "TYPE_FLOAT", 1), NOT_A_CONFIG),
    "unknown_field": (BASE + "nonsense: 1", NOT_A_CONFIG),
    "too_many_inputs": (
        BASE.replace("input [", 'input [ { name: "x" data_type: TYPE_FP32 dims: [1] },'),
        "configuration expects 2 inputs, model provides 1$",
    ),
    "missing_file": (BASE, r"failed to stat file .*/missing_file/1/model.onnx$", None),
    "nothing_at_all": (None, "Could not determine backend for model 'nothing_at_all'", None),
    "corrupt_file": (BASE, "onnx runtime error 7: Load model from .*/model.onnx failed:Protobuf parsing failed", b"no model"),
    "truncated_file": (BASE, "onnx runtime error 7: .*Protobuf parsing failed", small.identity().SerializeToString()[:-20]),
    "kind_gpu": (
        BASE.replace("KIND_CPU", "KIND_GPU"), "instance group .* has kind KIND_GPU but no GPUs are available$"
    ),
    "kind_model": (BASE.replace("KIND_CPU", "KIND_MODEL"), None),
    "unknown_backend": (BASE.replace('"onnxruntime"', '"nosuch"'), "unable to find backend library for backend 'nosuch'"),
    "warmup": (BASE + warmup(4), None),
    "warmup_above_max": (
        BASE + warmup(32), "failed to run warmup sample 'w': batch size 32 for 'warmup_above_max', max allowed is 16$"
    ),
    "warmup_wrong_key": (BASE + warmup(1, name="x"), r"expected 1 inputs but got 0 inputs for model 'warmup_wrong_key'"),
    "warmup_wrong_dims": (BASE + warmup(1, dims="[1,32,99]"), r"unexpected shape for input 'input.1'.*got \[1,1,32,99\]"),
    "warmup_wrong_type": (BASE + warmup(1, kind="TYPE_INT32"), "data-type is 'INT32', but model .* expects 'FP32'"),
    "preferred_above_max": (
        BASE + "dynamic_batching { preferred_batch_size: [32] }",
        "dynamic batching preferred size must be <= max batch size for preferred_above_max$",
    ),
    "unbatched_dynamic": (
        small.config(batch=0).replace("dims: [1, 32", "dims: [-1, 1, 32") + "dynamic_batching { }", None
    ),
    "dynamic": (BASE + "dynamic_batching { max_queue_delay_microseconds: 200000 }", None),
    "other_name": (BASE + 'default_model_filename: "net.onnx"', None, small.identity(), "net.onnx"),
    "directory": (BASE, None, small.identity(), "model.onnx/model.onnx"),
    "complete_empty": ("", None),
    "complete_none": (None, None),
    "complete_platform": ('platform: "onnxruntime_onnx"', None),
    "complete_batch_8": ('backend: "onnxruntime" max_batch_size: 8', None),
    "complete_batch_1": ('backend: "onnxruntime" max_batch_size: 1', None),
    "complete_sequence": ('backend: "onnxruntime" max_batch_size: 8 sequence_batching { }', None),
    "complete_batch_0": ('backend: "onnxruntime" max_batch_size: 0', None),
    "complete_outputs": (BASE.replace(BASE[BASE.index("output"):BASE.index("instance")], ""), None),
    "complete_fixed": ('backend: "onnxruntime"', None, FIXED),
    "complete_fixed_batch": (
        'backend: "onnxruntime" max_batch_size: 8',
        "autofill failed for model 'complete_fixed_batch': model does not support batching while non-zero max_batch_size "
        "is specified$",
        FIXED,
    ),
    "ragged": (
        BASE.replace('"input.1"', '"input.1" allow_ragged_batch: true'), "ragged input 'input.1', which this Python-based"
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """The server, what each case's load said, the directory of profiles, and what repeated loads left in the log."""
    repository, profiles = tmp_path_factory.mktemp("repository"), tmp_path_factory.mktemp("profiles")
    for name, (text, _, *rest) in CASES.items():
        small.add(repository, name, text, rest[0] if rest else small.identity(), *rest[1:])
    with Server(repository, models=[], profile=profiles) as server:
        said = small.load_all(server, CASES)
        yield server, said, profiles


@pytest.mark.parametrize("name", CASES)
def test_loads_or_refuses_as_the_official_backend(loaded, name):
    server, said, _ = loaded
    expected = CASES[name][1]
    if expected is None:
        assert said[name] is None
        assert server.ready(name)
    else:
        assert re.search(expected, said[name] or "it loaded"), said[name]
        assert "\n" not in said[name] and f"model '{name}'" in said[name]
        assert not server.ready(name)


def test_the_server_survives_every_refusal(loaded):
    server, _, _ = loaded
    assert server.infer("level_absent", {"input.1": small.image(3)})["out"].shape == (3, *small.IMAGE)


OPTIONS = {
    "level_absent": {"graph_optimization_level": "ORT_ENABLE_ALL", "execution_mode": "ORT_SEQUENTIAL"},
    "level_0": {"graph_optimization_level": "ORT_ENABLE_ALL"},
    "level_minus1": {"graph_optimization_level": "ORT_ENABLE_BASIC"},
    "level_1": {"graph_optimization_level": "ORT_ENABLE_EXTENDED"},
    "level_2": {"graph_optimization_level": "ORT_DISABLE_ALL"},
    "level_3": {"graph_optimization_level": "ORT_ENABLE_ALL"},
    "level_minus2": {"graph_optimization_level": "ORT_ENABLE_ALL"},
    "intra_half": {"intra_op_num_threads": 2},
    "intra_letters": {"intra_op_num_threads": 2},
    "intra_space": {"intra_op_num_threads": 2},
    "intra_zero": {"intra_op_num_threads": 0},
    "intra_negative": {"intra_op_num_threads": 0},
    "mode_1": {"execution_mode": "ORT_PARALLEL"},
    "memory_off": {"enable_cpu_mem_arena": False, "enable_mem_pattern": False},
    "memory_on": {"enable_cpu_mem_arena": True, "enable_mem_pattern": True},
}


@pytest.fixture(scope="module")
def unloaded(loaded):
    """The profiles of these models after a request and their end, in which they are written."""
    server, _, profiles = loaded

    def end(name: str) -> None:
        server.infer(name, {"input.1": small.image()})
        server.unload(name)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(end, OPTIONS))
    return profiles


@pytest.mark.parametrize("name", OPTIONS)
def test_the_session_runs_with_what_the_configuration_says(unloaded, name):
    facts = json.loads(next((unloaded / name).glob("*.session")).read_text())
    assert OPTIONS[name].items() <= facts["options"].items()
    assert (facts["model"], facts["version"], facts["providers"]) == (name, "1", ["CPUExecutionProvider"])
    events = json.loads(next((unloaded / name).glob("*.json")).read_text())
    assert any(event.get("args", {}).get("provider") == "CPUExecutionProvider" for event in events)


@pytest.mark.parametrize("name", ["complete_empty", "complete_none", "complete_platform", "complete_batch_0"])
def test_completes_a_configuration_that_says_nothing(loaded, name):
    config = loaded[0].config(name)
    assert (config["platform"], config["backend"], config["max_batch_size"]) == ("onnxruntime_onnx", "onnxruntime", 4)
    assert [(io["name"], io["data_type"], io["dims"]) for io in config["input"]] == [
        ("input.1", "TYPE_FP32", small.IMAGE)
    ]
    assert [(io["name"], io["data_type"], io["dims"]) for io in config["output"]] == [("out", "TYPE_FP32", small.IMAGE)]
    assert config["dynamic_batching"]["preferred_batch_size"] == [4]
    assert config["dynamic_batching"]["max_queue_delay_microseconds"] == 0
    assert [(group["kind"], group["count"]) for group in config["instance_group"]] == [("KIND_CPU", 2)]
    assert config["default_model_filename"] == "model.onnx"
    assert "autofilled max_batch_size to 4 for model" in loaded[0].log_tail(100_000)


def test_completes_around_what_is_there(loaded):
    server = loaded[0]
    assert server.config("complete_batch_8")["dynamic_batching"]["preferred_batch_size"] == [8]
    assert "dynamic_batching" not in server.config("complete_batch_1")
    assert "dynamic_batching" not in server.config("complete_sequence")
    assert "dynamic_batching" not in server.config("level_99")
    assert server.config("complete_outputs")["output"][0]["name"] == "out"
    assert "dynamic_batching" in server.config("complete_outputs")
    fixed = server.config("complete_fixed")
    assert fixed["max_batch_size"] == 0 and fixed["input"][0]["dims"] == [1, *small.IMAGE]
    assert "dynamic_batching" not in fixed
    assert server.config("other_name")["default_model_filename"] == "net.onnx"
    assert "'level_99': inputs and outputs already specified" in server.log_tail(100_000)


def test_warmup_runs_before_the_model_is_ready_and_counts(loaded):
    statistics = loaded[0].statistics("warmup")
    assert (statistics["inference_count"], statistics["execution_count"]) == (12, 3)


def test_gathered_requests_run_as_one_batch_and_come_apart_again(loaded):
    server = loaded[0]
    images = [small.image(size) for size in (1, 2, 3, 1, 2, 3)]
    before = server.statistics("dynamic")
    with ThreadPoolExecutor(len(images)) as pool:
        answers = list(pool.map(lambda image: server.infer("dynamic", {"input.1": image})["out"], images))
    assert all(np.array_equal(answer, image) for answer, image in zip(answers, images, strict=True))
    after = small.counted(server, "dynamic", before["inference_count"] + sum(map(len, images)))
    assert after["execution_count"] - before["execution_count"] < len(images)


REQUESTS = {
    "shape": ({"input.1": small.image()[:, :, :, :99]}, None, r"Expected \[-1,1,32,100\], got \[1,1,32,99\]"),
    "type": (
        {"input.1": small.image().astype("i4")},
        None,
        "data-type is 'INT32', but model 'level_99' expects 'FP32'",
    ),
    "input": ({"nope": small.image()}, None, "unexpected inference input 'nope' for model 'level_99'"),
    "output": ({"input.1": small.image()}, ["zzz"], "unexpected inference output 'zzz' for model 'level_99'"),
    "batch": ({"input.1": small.image(17)}, None, "inference request batch-size must be <= 16 for 'level_99'"),
    "extra": ({"input.1": small.image(), "x2": small.image()}, None, "expected 1 inputs but got 2 inputs"),
}


@pytest.mark.parametrize("case", REQUESTS)
def test_refuses_a_wrong_request_in_one_line(loaded, case):
    inputs, outputs, text = REQUESTS[case]
    with pytest.raises(RequestError, match=text) as refused:
        loaded[0].infer("level_99", inputs, outputs)
    assert "\n" not in str(refused.value) and "request id" not in str(refused.value)
    loaded[0].infer("level_99", {"input.1": small.image()})
