"""The tensorflow stand-in against what the official backend's source says, case by case, on one real server."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import small

from accelkit.errors import RequestError, ServerError
from accelkit.serving import Server

pytest.importorskip("tensorflow", reason="TensorFlow is not installed: pip install 'accelkit[tensorflow]'")

import saved_models as made  # noqa: E402

SAVED, GRAPH = 'platform: "tensorflow_savedmodel"\n', 'platform: "tensorflow_graphdef"\n'
CPU = "instance_group [ { kind: KIND_CPU count: 1 } ]\n"
DIMS = "[ 4 ]"
NO_KERAS = {"TF_USE_LEGACY_KERAS": "1"}  # the backend needs none, and every instance would import it with TensorFlow


def config(platform: str = SAVED, batch: int = 8, io: bool = True, more: str = "", group: str = CPU) -> str:
    """A config of the model that doubles."""
    tensors = f"""input [ {{ name: "x" data_type: TYPE_FP32 dims: {DIMS} }} ]
output [ {{ name: "y" data_type: TYPE_FP32 dims: {DIMS} }} ]
"""
    return f"{platform}{group}max_batch_size: {batch}\n{tensors if io else ''}{more}"


def parameters(**values: str) -> str:
    return "\n".join(
        f'parameters {{ key: "{key}" value: {{ string_value: "{value}" }} }}' for key, value in values.items()
    )


def accelerator(side: str, *names: str, **values: str) -> str:
    given = " ".join(f'parameters {{ key: "{key}" value: "{value}" }}' for key, value in values.items())
    listed = ", ".join(f'{{ name: "{name}" {given} }}' for name in names)
    return f"\noptimization {{ execution_accelerators {{ {side}_execution_accelerator: [ {listed} ] }} }}\n"


def double(folder: Path) -> None:
    made.doubled(folder / "model.savedmodel")


def empty(folder: Path) -> None:
    (folder / "model.savedmodel").mkdir()


def damaged(folder: Path) -> None:
    double(folder)
    file = folder / "model.savedmodel/saved_model.pb"
    file.write_bytes(file.read_bytes()[:-9])


def with_init(folder: Path) -> None:
    made.frozen(folder / "model.graphdef", variable=True)
    (folder / "init.json").write_text(json.dumps({"init_ops": ["init"]}))


KIND_MODEL = CPU.replace("KIND_CPU", "KIND_MODEL")
UNFILLED = "unable to auto-complete model configuration for '{}', failed to load model: "
# Name: config.pbtxt (None: none), what makes the files, None when it loads or what the refusal says (a regular expression).
CASES: dict[str, tuple] = {
    "plain": (config(), double, None),
    "bare": (None, double, None),
    "by_backend": (config('backend: "tensorflow"\n'), double, None),
    "names_only": (
        SAVED + CPU + 'max_batch_size: 8 input [ { name: "x" } ] output [ { name: "y" } ]', double, None
    ),
    "free": (config(batch=0).replace(DIMS, "[ -1, 4 ]"), double, None),
    "fixed": (config(io=False, batch=0), lambda folder: made.doubled(folder / "model.savedmodel", shape=[3, 4]), None),
    "fixed_batch": (
        config(io=False), lambda folder: made.doubled(folder / "model.savedmodel", shape=[3, 4]),
        "configuration specified max-batch 8 but model signature does not support batching",
    ),
    "two": (SAVED + CPU + "max_batch_size: 8", lambda folder: made.two(folder / "model.savedmodel"), None),
    "total": (
        SAVED + CPU + 'output [ { name: "y" data_type: TYPE_FP32 dims: [ 1 ] } ]',
        lambda folder: made.total(folder / "model.savedmodel"), None,
    ),
    "scalar_alone": (
        SAVED + CPU, lambda folder: made.total(folder / "model.savedmodel"),
        "Unable to autofill for 'scalar_alone': the rank of model tensor 'y' is 0 and dimensions are not defined",
    ),
    "brittle": (config(), lambda folder: made.brittle(folder / "model.savedmodel"), None),
    # files
    "absent": (config(), lambda folder: None, r"unable to find '\S+/absent/1/model.savedmodel' for model instance 'absent_0_0'"),
    "empty": (config(), empty, UNFILLED.format("empty") + "Could not find SavedModel .pb or .pbtxt at supplied export directory"),
    "damaged": (config(), damaged, UNFILLED.format("damaged") + "Can't parse .*damaged"),
    "renamed": (
        config(more='default_model_filename: "my.dir"'), lambda folder: made.doubled(folder / "my.dir"), None
    ),
    "bfloat16": (
        SAVED + CPU, lambda folder: made.half(folder / "model.savedmodel"),
        UNFILLED.format("bfloat16") + "unable to process input 'x' for 'bfloat16', unsupported datatype",
    ),
    # signatures and tags
    "unsigned": (
        config(), lambda folder: made.doubled(folder / "model.savedmodel", []),
        UNFILLED.format("unsigned") + "unable to load model 'unsigned', expected 'serving_default' signature",
    ),
    "other_signature": (config(), lambda folder: made.doubled(folder / "model.savedmodel", ["mine"]), None),
    "named_signature": (
        config(more=parameters(TF_SIGNATURE_DEF="mine")),
        lambda folder: made.doubled(folder / "model.savedmodel", ["other", "mine"]), None,
    ),
    "wrong_signature": (config(more=parameters(TF_SIGNATURE_DEF="nope")), double, "expected 'nope' signature"),
    "tag": (
        config(more=parameters(TF_GRAPH_TAG="mine")), lambda folder: made.tagged(folder / "model.savedmodel", "mine"), None
    ),
    "wrong_tag": (config(more=parameters(TF_GRAPH_TAG="nope")), double, "meta graph def matching supplied tags: { nope }"),
    # what the configuration says of tensors
    "tensor_name": (
        config().replace('"x"', '"serving_default_x:0"'), double,
        "unexpected inference input 'serving_default_x:0', allowed inputs are: x",
    ),
    "output_name": (config().replace('"y"', '"z"'), double, "unexpected inference output 'z', allowed outputs are: y"),
    "kind": (
        config().replace('"x" data_type: TYPE_FP32', '"x" data_type: TYPE_INT32'), double,
        "configuration expects datatype TYPE_INT32 for input 'x', model provides TYPE_FP32",
    ),
    "bf16_kind": (config().replace("TYPE_FP32", "TYPE_BF16"), double, "unsupported datatype 'TYPE_BF16' for tensor 'x'"),
    "dims": (
        config().replace(DIMS, "[ 5 ]"), double,
        r"the model expects 2 dimensions \(shape \[-1,4\]\) but the model configuration specifies 2 dimensions \(an initial batch",
    ),
    "contradicting": (
        config(batch=0).replace(f'"y" data_type: TYPE_FP32 dims: {DIMS}', '"y" data_type: TYPE_FP32 dims: [ -1, 4 ]'), double,
        "model tensor configurations are contradicting each other",
    ),
    # parameters
    "threads": (config(more=parameters(TF_NUM_INTRA_THREADS="1", TF_NUM_INTER_THREADS="1")), double, None),
    "own_threads": (config(more=parameters(TF_USE_PER_SESSION_THREADS="On", TF_NUM_INTRA_THREADS="1")), double, None),
    "threads_below": (
        config(more=parameters(TF_NUM_INTRA_THREADS="-1")), double,
        "parameter 'TF_NUM_INTRA_THREADS' must be non-negative number for TensorFlow model 'threads_below'",
    ),
    "threads_words": (config(more=parameters(TF_NUM_INTER_THREADS="two")), double, "failed to convert 'two' to integral number"),
    "readme_yes": (config(more=parameters(TF_USE_PER_SESSION_THREADS="yes")), double, "failed to convert 'yes' to boolean"),
    "shared_0": (
        config(more=parameters(MAX_SESSION_SHARE_COUNT="0")), double,
        "parameter 'MAX_SESSION_SHARE_COUNT' must be positive number for TensorFlow model 'shared_0'",
    ),
    "unknown": (config(more=parameters(TF_NOPE="1")), double, None),
    "level": (config(more="optimization { graph { level: 2 } }"), double, None),
    "library": (
        config(more='model_operations { op_library_filename: "/nowhere/ops.so" }'), double, "/nowhere/ops.so"
    ),
    # accelerators
    "cpu_accelerator": (
        config(more=accelerator("cpu", "openvino")), double, "CPU Execution Accelerator is not supported in TensorFlow backend"
    ),
    "ignored": (config(more=accelerator("gpu", "nonsense", x="1")), double, None),
    "nonsense": (
        config(more=accelerator("gpu", "nonsense"), group=KIND_MODEL), double, "unknown Execution Accelerator 'nonsense' is requested"
    ),
    "int8": (
        config(more=accelerator("gpu", "tensorrt", precision_mode="INT8"), group=KIND_MODEL), double,
        "unsupported precision mode 'INT8' is requested",
    ),
    "dynamic_op": (
        config(more=accelerator("gpu", "tensorrt", is_dynamic_op="1"), group=KIND_MODEL), double,
        "unknown parameter 'is_dynamic_op' is provided for TensorRT Execution Accelerator",
    ),
    "segment": (
        config(more=accelerator("gpu", "tensorrt", minimum_segment_size="few"), group=KIND_MODEL), double,
        "failed to convert 'few' to long long integral number",
    ),
    "both": (
        config(more=accelerator("gpu", "tensorrt", "auto_mixed_precision"), group=KIND_MODEL), double,
        "Auto mixed precision can not be set with TFTRT optimization",
    ),
    "no_tensorrt": (
        config(more=accelerator("gpu", "tensorrt", precision_mode="FP16", max_cached_engines="9"), group=KIND_MODEL), double,
        "TensorRT Execution Accelerator: TensorFlow .* (without TensorRT|no TensorRT in it|finds no libnvinfer)",
    ),
    "mixed": (config(more=accelerator("gpu", "auto_mixed_precision", "gpu_io"), group=KIND_MODEL), double, None),
    # platforms
    "no_platform": (
        config('backend: "tensorflow"\n', more='default_model_filename: "my.dir"'), lambda folder: made.doubled(folder / "my.dir"),
        "unexpected 'platform' and 'backend' pair",
    ),
    "graph": (config(GRAPH), lambda folder: made.frozen(folder / "model.graphdef"), None),
    "graph_input": (
        config(GRAPH).replace('"x"', '"z"'), lambda folder: made.frozen(folder / "model.graphdef"),
        "unexpected inference input 'z', allowed inputs are: x",
    ),
    "graph_output": (
        config(GRAPH).replace('"y"', '"z"'), lambda folder: made.frozen(folder / "model.graphdef"),
        "unexpected inference output 'z', allowed outputs are: ",
    ),
    "initialized": (config(GRAPH, more=parameters(TF_INIT_OPS_FILE="init.json")), with_init, None),
    "uninitialized": (config(GRAPH), with_init, None),
    "no_init_file": (config(GRAPH, more=parameters(TF_INIT_OPS_FILE="nope.json")), with_init, "failed to open text file for read"),
    "batch_input": (
        config(more='batch_input [ { kind: BATCH_ELEMENT_COUNT target_name: "n" data_type: TYPE_FP32 source_input: "x" } ]'),
        double, "batch_input, which this Python-based stand-in",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """The server, its reports, and what each load said, None when it succeeded."""
    repository, reports = tmp_path_factory.mktemp("repository"), tmp_path_factory.mktemp("reports")
    for name, (text, make, _) in CASES.items():
        version = repository / name / "1"
        version.mkdir(parents=True)
        make(version)
        if text is not None:
            (repository / name / "config.pbtxt").write_text(text)
    with Server(repository, models=[], profile=reports, verbose=1, env=NO_KERAS) as server:
        said = small.load_all(server, CASES)
        yield server, reports, said


@pytest.mark.parametrize("name", CASES)
def test_it_loads_or_says_why_not(loaded, name):
    server, _, said = loaded
    expected = CASES[name][2]
    if expected is None:
        assert said[name] is None and server.ready(name)
    else:
        assert re.search(expected, said[name] or "it loaded"), said[name]
        assert "\n" not in (said[name] or "").strip() and "Traceback" not in (said[name] or "")


def rows(count: int = 3) -> np.ndarray:
    return np.arange(count * 4, dtype=np.float32).reshape(count, 4)


@pytest.mark.parametrize(
    "name",
    "plain bare by_backend names_only free renamed other_signature named_signature threads own_threads unknown level ignored "
    "mixed graph initialized".split(),
)
def test_what_loads_answers(loaded, name):
    server, *_ = loaded
    assert np.array_equal(server.infer(name, {"x": rows()})["y"], 2 * rows())


def test_a_graph_with_another_tag_is_the_one_that_is_served(loaded):
    assert np.array_equal(loaded[0].infer("tag", {"x": rows()})["y"], rows())


def test_several_tensors_of_several_types(loaded):
    server, *_ = loaded
    b = np.array([[1, 2, 3, 4]], np.int32)
    assert server.infer("two", {"a": rows(1), "b": b})["sum"].tolist() == (2 * rows(1) + b).tolist()
    assert server.infer("two", {"a": rows(1), "b": b}, ["a_too"])["a_too"].tolist() == rows(1).tolist()


def test_a_scalar_leaves_as_one_value(loaded):
    assert loaded[0].infer("total", {"x": rows(1)[0]})["y"].tolist() == [12.0]


def test_a_failing_execution_is_the_requests_error_and_the_model_goes_on(loaded):
    server, *_ = loaded
    for _ in range(2):
        with pytest.raises(RequestError, match="indices.* = 9 is not in"):
            server.infer("brittle", {"x": rows(1)})
    with pytest.raises(RequestError, match="uninitialized value weight"):
        server.infer("uninitialized", {"x": rows()})
    assert np.array_equal(server.infer("plain", {"x": rows()})["y"], 2 * rows())


def test_auto_complete_reads_the_signature(loaded):
    server, *_ = loaded
    bare = server.config("bare")
    assert (bare["backend"], bare["platform"]) == ("tensorflow", "tensorflow_savedmodel")
    assert bare["max_batch_size"] == 4 and "dynamic_batching" in bare
    assert [(io["name"], io["data_type"], [*map(int, io["dims"])]) for io in bare["input"]] == [("x", "TYPE_FP32", [4])]
    assert [group["count"] for group in bare["instance_group"]] == [2], "which the linter warns of"
    fixed = server.config("fixed")
    assert (fixed["max_batch_size"], "dynamic_batching" in fixed) == (0, False)
    assert [int(dim) for dim in fixed["output"][0]["dims"]] == [3, 4]
    assert server.config("free")["max_batch_size"] == 0
    two = server.config("two")
    assert [io["name"] for io in two["input"]] == ["a", "b"] and two["input"][1]["data_type"] == "TYPE_INT32"


def test_gathered_requests_run_as_one_batch(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    version = tmp_path / "gather" / "1"
    version.mkdir(parents=True)
    double(version)
    (tmp_path / "gather/config.pbtxt").write_text(
        config(more="dynamic_batching { max_queue_delay_microseconds: 300000 preferred_batch_size: [ 8 ] }")
    )
    with Server(tmp_path, env=NO_KERAS) as server, ThreadPoolExecutor(4) as pool:
        sent = [rows(2) + 100 * number for number in range(4)]
        got = list(pool.map(lambda x: server.infer("gather", {"x": x})["y"], sent))
        assert all(np.array_equal(after, 2 * before) for before, after in zip(sent, got, strict=True))
        assert small.counted(server, "gather", 8)["execution_count"] < 4


def test_settings_of_the_command_line(tmp_path):
    version = tmp_path / "m" / "1"
    version.mkdir(parents=True)
    double(version)
    given = "--backend-config=tensorflow,"
    with Server(
        tmp_path, options=[given + "default-max-batch-size=32", given + "allow-soft-placement=false"]
    ) as server:
        assert server.config("m")["max_batch_size"] == 32
    with pytest.raises(ServerError, match="failed to convert 'much' to double number"):
        Server(tmp_path, options=[given + "gpu-memory-fraction=much"]).start()
    with pytest.raises(ServerError, match="failed to convert 'perhaps' to boolean"):
        Server(tmp_path, options=[given + "allow-soft-placement=perhaps"]).start()
