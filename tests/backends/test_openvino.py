"""The openvino stand-in against what the official backend's source says, case by case, on one real server."""

from __future__ import annotations

import json
import re
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest
import small
from onnx import helper

from accelkit.backends.openvino import compiling
from accelkit.errors import RequestError
from accelkit.serving import Server

openvino_ops = openvino.opset13
FILE = 'default_model_filename: "model.onnx"\n'
BASE = small.config("openvino", more=FILE)
FREE = small.config("openvino", more=FILE, batch=0).replace("[1, 32, 100]", "[-1, 1, 32, 100]")
TINY = small.config("openvino", [10], FILE)
COMPLETE = 'backend: "openvino"\n'


def parameters(**values: str) -> str:
    return "\n".join(f'parameters {{ key: "{k}" value: {{ string_value: "{v}" }} }}' for k, v in values.items())


def ir(layout: bool = False, named: bool = True, dims: list | None = None) -> dict[str, bytes]:
    """Files of an IR whose one output is its input doubled."""
    value = openvino_ops.parameter(dims or [-1, *small.IMAGE], np.float32, "input.1")
    value.output(0).tensor.set_names({"input.1"})
    doubled = openvino_ops.add(value, value)
    if named:
        doubled.output(0).tensor.set_names({"out"})
    made = openvino.Model([openvino_ops.result(doubled)], [value], "small")
    if layout:
        made.inputs[0].node.layout = openvino.Layout("N...")
        made.outputs[0].node.layout = openvino.Layout("N...")
    made_files = files(made)
    if not named:  # OpenVINO gives a name to an output without one when it saves it; older versions did not
        text = re.sub(r' (?:output_)?names="Result_\d+"', "", made_files["model.xml"].decode())
        made_files["model.xml"] = text.encode()
    return made_files


def files(made: openvino.Model) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        openvino.save_model(made, Path(folder, "model.xml"), compress_to_fp16=False)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def constant_ir() -> dict[str, bytes]:
    """Files of an IR that has weights in its .bin."""
    with_weights = openvino.Core().read_model(small.tiny().SerializeToString())
    return files(with_weights)


def fixed(dims: list[int]) -> onnx.ModelProto:
    return small.model(
        [helper.make_node("Identity", ["input.1"], ["out"])],
        [small.tensor("input.1", dims)],
        [small.tensor("out", dims)],
    )


def strange() -> bytes:
    """An ONNX file with an operator of a later opset than OpenVINO reads."""
    node = helper.make_node("OperatorOfTomorrow", ["input.1"], ["out"])
    graph = helper.make_graph([node], "g", [small.tensor("input.1", ["N", 4])], [small.tensor("out", ["N", 4])])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 99)]).SerializeToString()


WEIGHTS = constant_ir()
SHAPES = "the model expects 4 dimensions"
NUMBER = "' to be a non-negative number, got "

# Name: config.pbtxt, None when it loads or what the refusal says (a regular expression), and the files.
CASES: dict[str, tuple] = {
    "onnx": (BASE, None),
    "free": (FREE, None),
    "free_two": (FREE.replace("count: 1", "count: 2"), None),
    "ir": (small.config("openvino"), None, ir()),
    "weights": (small.config("openvino", [10]), None, WEIGHTS),
    "no_bin": (small.config("openvino", [10]), "openvino error in reading model : Empty weights data in bin file or bin file "
               "cannot be found!$", {"model.xml": WEIGHTS["model.xml"]}),
    "short_bin": (small.config("openvino", [10]), "reading model : Incorrect weights in bin file!$",
                  {**WEIGHTS, "model.bin": WEIGHTS["model.bin"][:100]}),
    "cut_xml": (small.config("openvino", [10]), "openvino error in reading model : Error parsing ",
                {**WEIGHTS, "model.xml": WEIGHTS["model.xml"][:900]}),
    "no_file": (small.config("openvino"), r"unable to find '\S+/no_file/1/model.xml' for model 'no_file'$", {"other": b""}),
    "cut_onnx": (BASE, "openvino error in reading model : ", {"model.onnx": small.tiny().SerializeToString()[:500]}),
    "tomorrow": (BASE, "No conversion rule found for operations: OperatorOfTomorrow-99", {"model.onnx": strange()}),
    "empty_saved_model": (BASE.replace("model.onnx", "model.saved_model"), "reading model : .*saved_model",
                          {"model.saved_model/nothing": b""}),
    "unnamed": (small.config("openvino"), "Attempt to get a name for a Tensor without names$", ir(named=False)),
    "kind_gpu": (BASE.replace("KIND_CPU", "KIND_GPU"), "KIND_GPU|invalid or unsupported gpu|supports only Kind CPU and AUTO"),
    "kind_model": (BASE.replace("KIND_CPU", "KIND_MODEL"), "Triton OpenVINO backend supports only Kind CPU and AUTO$"),
    "kind_auto": (BASE.replace("kind: KIND_CPU", "kind: KIND_AUTO"), None),
    # every key
    "hint_latency": (BASE + parameters(PERFORMANCE_HINT="latency"), None),
    "hint_throughput": (BASE + parameters(PERFORMANCE_HINT="THROUGHPUT"), None),
    "hint_cumulative": (BASE + parameters(PERFORMANCE_HINT="Cumulative_Throughput"), None),
    "hint_wrong": (BASE + parameters(PERFORMANCE_HINT="FAST"),
                   "expected the parameter 'PERFORMANCE_HINT' to be LATENCY/THROUGHPUT/CUMULATIVE_THROUGHPUT, got fast$"),
    "hint_empty": (BASE + parameters(PERFORMANCE_HINT=""), None),
    "streams_auto": (BASE + parameters(NUM_STREAMS="Auto"), None),
    "streams_numa": (BASE + parameters(NUM_STREAMS="NUMA"), None),
    "streams_2": (BASE + parameters(NUM_STREAMS="2", INFERENCE_NUM_THREADS="2"), None),
    "streams_wrong": (BASE + parameters(NUM_STREAMS="-1"),
                      "expected the parameter 'NUM_STREAMS' to be either AUTO/NUMA/<int_value>, got -1$"),
    "threads_1": (BASE + parameters(INFERENCE_NUM_THREADS="1"), None),
    "threads_wrong": (BASE + parameters(INFERENCE_NUM_THREADS="2.5"), f"'INFERENCE_NUM_THREADS{NUMBER}2.5$"),
    "threads_negative": (BASE + parameters(INFERENCE_NUM_THREADS="-1"), f"'INFERENCE_NUM_THREADS{NUMBER}-1$"),
    "threads_huge": (BASE + parameters(INFERENCE_NUM_THREADS="9" * 11), "ModelInstanceState::Create exception$"),
    "compile_2": (BASE + parameters(COMPILATION_NUM_THREADS="2"),
                  "openvino error in configuring openvino core : .*Unsupported property COMPILATION_NUM_THREADS by CPU"),
    "compile_wrong": (BASE + parameters(COMPILATION_NUM_THREADS="two"), f"'COMPILATION_NUM_THREADS{NUMBER}two$"),
    "bf16": (TINY + parameters(HINT_BF16="yes"), None, small.tiny()),
    "bf16_no": (BASE + parameters(HINT_BF16="NO"), "expected the parameter 'HINT_BF16' to be YES, got no$"),
    "extension": (BASE + parameters(CPU_EXTENSION_PATH="/nowhere/ops.so"),
                  "openvino error in +loading custom CPU extensions : .*/nowhere/ops.so"),
    "skip": (BASE + parameters(SKIP_OV_DYNAMIC_BATCHSIZE="YES"), None),
    "padding": (BASE + parameters(ENABLE_BATCH_PADDING="Yes"), None),
    "padding_true": (BASE + parameters(ENABLE_BATCH_PADDING="true"), None),
    "padding_dynamic": (BASE + "dynamic_batching { max_queue_delay_microseconds: 300000 }"
                        + parameters(ENABLE_BATCH_PADDING="YES"), None),
    "gather": (BASE + "dynamic_batching { max_queue_delay_microseconds: 300000 }", None),
    "reshape": (FREE + parameters(RESHAPE_IO_LAYERS="YES"), None, fixed([1, *small.IMAGE])),
    "reshape_true": (FREE + parameters(RESHAPE_IO_LAYERS="true"), SHAPES, fixed([1, *small.IMAGE])),
    "reshape_rank": (FREE.replace("[-1, 1, 32, 100]", "[-1, 1, 32, 100, 1]") + parameters(RESHAPE_IO_LAYERS="YES"),
                     "openvino error in setting shape for input.1 : the model has 4 dimensions, the configuration 5"),
    "device_cpu": (BASE + parameters(TARGET_DEVICE="cpu"), None),
    "device_auto": (BASE + parameters(TARGET_DEVICE="AUTO:CPU"), None),
    "device_nope": (BASE + parameters(TARGET_DEVICE="nope"), 'openvino error in .*Device with "NOPE" name is not registered'),
    "unknown_key": (BASE + parameters(nope="1"), None),
    # tensors
    "type_half": (FREE.replace("TYPE_FP32", "TYPE_FP16"), None),
    "type_double": (BASE.replace("TYPE_FP32", "TYPE_FP64", 1), "unsupported datatype TYPE_FP64 for input 'input.1' for model"),
    "wrong_input": (BASE.replace("input.1", "inp"), "unexpected inference input 'inp', allowed inputs are: input.1$"),
    "wrong_output": (BASE.replace('"out"', '"nope"'), "unexpected inference output 'nope', allowed outputs are: out$"),
    "two_inputs": (BASE.replace('input [ ', 'input [ { name: "b" data_type: TYPE_FP32 dims: [1] }, ', 1),
                   "unable to load model 'two_inputs', configuration expects 2 inputs, model provides 1$"),
    "wrong_dims": (BASE.replace("[1, 32, 100]", "[1, 32, 99]", 1), SHAPES + r" \(shape \[-1,1,32,100\]\) but the model "
                   r"configuration specifies 4 dimensions \(an initial batch dimension because max_batch_size > 0 followed "
                   r"by the explicit tensor shape, making complete shape \[16,1,32,99\]\)$"),
    "wrong_rank": (BASE.replace("[1, 32, 100]", "[32, 100]", 1), r"specifies 3 dimensions .*\[16,32,100\]\)$"),
    "wrong_free": (FREE.replace("[-1, 1, 32, 100]", "[-1, 1, 32, -1]"), r"4 dimensions \(shape \[-1,1,32,-1\]\)$"),
    "static_batch": (BASE, None, fixed([16, *small.IMAGE])),
    "scalar": (small.config("openvino", batch=0, more=FILE).replace("[1, 32, 100]", "[1]"),
               r"the model expects 0 dimensions \(shape \[\]\)", fixed([])),
    "range": (small.config("openvino", batch=0).replace("[1, 32, 100]", "[-1, 1, 32, 100]"), SHAPES,
              ir(dims=[(1, 8), *small.IMAGE])),
    "batch_input": (BASE + 'batch_input [ { kind: BATCH_ELEMENT_COUNT target_name: "b" data_type: TYPE_FP32 '
                    'source_input: "input.1" } ]', "batch_input, which this Python-based stand-in"),
    # auto-complete
    "complete_fixed": (COMPLETE + FILE, None, fixed([2, *small.IMAGE])),
    "complete_free": (COMPLETE + FILE, r"shape \[-1,1,32,100\]\) but .* \(shape \[-1,-1,-1,-1\]\)$"),
    "complete_layout": (COMPLETE, None, ir(layout=True, dims=[1, *small.IMAGE])),
    "complete_layout_8": (COMPLETE + "max_batch_size: 8", None, ir(layout=True, dims=[1, *small.IMAGE])),
    "complete_no_layout": (COMPLETE + "max_batch_size: 2", None, ir(dims=[1, *small.IMAGE])),
}  # fmt: skip


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """The server, what each case's load said, and the directory of profiles."""
    repository, profiles = tmp_path_factory.mktemp("repository"), tmp_path_factory.mktemp("profiles")
    for name, (text, _, *rest) in CASES.items():
        made = rest[0] if rest else small.identity()
        small.add(repository, name, text, None)
        for file, content in (made if isinstance(made, dict) else {"model.onnx": made.SerializeToString()}).items():
            (repository / name / "1" / file).parent.mkdir(parents=True, exist_ok=True)
            (repository / name / "1" / file).write_bytes(content)
    with Server(repository, models=[], profile=profiles) as server:
        said = small.load_all(server, CASES)
        yield server, said, profiles


@pytest.mark.parametrize("name", CASES)
def test_loads_or_refuses_as_the_official_backend(loaded, name):
    server, said, _ = loaded
    expected = CASES[name][1]
    if expected is None:
        assert said[name] is None and server.ready(name)
    else:
        assert re.search(expected, said[name] or "it loaded"), said[name]
        assert "\n" not in said[name] and f"model '{name}'" in said[name] and not server.ready(name)


@pytest.mark.parametrize(("name", "factor"), [("onnx", 1), ("ir", 2), ("padding", 1), ("static_batch", 1), ("skip", 1)])
def test_answers_a_full_batch(loaded, name, factor):
    image = small.image(16)
    assert np.array_equal(loaded[0].infer(name, {"input.1": image})["out"], factor * image)


def test_a_batch_that_is_not_the_largest_is_an_error_or_is_padded(loaded):
    server, image = loaded[0], small.image(3)
    for name in ("onnx", "padding_true"):
        with pytest.raises(
            RequestError, match=r"expected requests with batch size '16', got '3'... .*'ENABLE_BATCH_PADDING'"
        ):
            server.infer(name, {"input.1": image})
    assert np.array_equal(server.infer("padding", {"input.1": image})["out"], image)
    assert np.array_equal(server.infer("padding", {"input.1": small.image(16)})["out"], small.image(16))


@pytest.mark.parametrize("name", ["free", "free_two", "reshape"])
def test_a_free_batch_takes_any_size_as_it_comes(loaded, name):
    images = [small.image(size) for size in (1, 7, 16, 2, 40, 1)]
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda image: loaded[0].infer(name, {"input.1": image})["out"], images))
    assert all(np.array_equal(answer, image) for answer, image in zip(answers, images, strict=True))


def test_gathered_requests_run_as_one_padded_batch_and_come_apart_again(loaded):
    server, images = loaded[0], [small.image(size) for size in (1, 2, 3, 1, 2, 3)]
    before = server.statistics("padding_dynamic")
    with ThreadPoolExecutor(len(images)) as pool:
        answers = list(pool.map(lambda image: server.infer("padding_dynamic", {"input.1": image})["out"], images))
    assert all(np.array_equal(answer, image) for answer, image in zip(answers, images, strict=True))
    after = small.counted(server, "padding_dynamic", before["inference_count"] + sum(map(len, images)))
    assert after["execution_count"] - before["execution_count"] < len(images)


def test_gathered_requests_without_padding_fail_together_even_when_they_fill_the_batch(loaded):
    def ask(_):
        with pytest.raises(RequestError, match="expected requests with batch size '16', got '8'"):
            loaded[0].infer("gather", {"input.1": small.image(8)})

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(ask, range(2)))


def test_the_model_takes_the_element_type_of_its_configuration(loaded):
    image = small.image(2).astype(np.float16)
    answer = loaded[0].infer("type_half", {"input.1": image})["out"]
    assert answer.dtype == np.float16 and np.array_equal(answer, image)


REQUESTS = {
    "shape": ({"input.1": small.image()[:, :, :, :99]}, r"Expected \[-1,1,32,100\], got \[1,1,32,99\]"),
    "type": ({"input.1": small.image().astype("i4")}, "data-type is 'INT32', but model 'free' expects 'FP32'"),
    "input": ({"nope": small.image()}, "unexpected inference input 'nope' for model 'free'"),
}


@pytest.mark.parametrize("case", REQUESTS)
def test_refuses_a_wrong_request_in_one_line(loaded, case):
    inputs, text = REQUESTS[case]
    with pytest.raises(RequestError, match=text) as refused:
        loaded[0].infer("free", inputs)
    assert "\n" not in str(refused.value)
    loaded[0].infer("free", {"input.1": small.image()})


def test_completes_a_configuration_from_a_file_with_or_without_a_layout(loaded):
    server = loaded[0]
    config = server.config("complete_fixed")
    assert (config["max_batch_size"], "dynamic_batching" in config) == (0, False)
    assert [(io["name"], io["data_type"], io["dims"]) for side in ("input", "output") for io in config[side]] == [
        ("input.1", "TYPE_FP32", [2, *small.IMAGE]), ("out", "TYPE_FP32", [2, *small.IMAGE])
    ]  # fmt: skip
    config = server.config("complete_layout")
    assert (config["max_batch_size"], config["input"][0]["dims"]) == (4, small.IMAGE)
    assert config["dynamic_batching"]["preferred_batch_size"] == [4]
    assert server.config("complete_layout_8")["dynamic_batching"]["preferred_batch_size"] == [8]
    assert "dynamic_batching" not in server.config("complete_no_layout")
    log = server.log_tail(100_000)
    assert "autofilled max_batch_size to 4 for model 'complete_layout'" in log
    assert "model layout for model complete_no_layout does not support batching" in log
    assert "'onnx': inputs and outputs already specified" in log


SETTINGS = {
    "onnx": {"NUM_STREAMS": "1", "PERFORMANCE_HINT": "LATENCY"},
    "hint_throughput": {"PERFORMANCE_HINT": "THROUGHPUT"},
    "hint_cumulative": {"PERFORMANCE_HINT": "CUMULATIVE_THROUGHPUT"},
    "streams_2": {"NUM_STREAMS": "2", "INFERENCE_NUM_THREADS": "2"},
    "threads_1": {"NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": "1"},
}


@pytest.fixture(scope="module")
def unloaded(loaded):
    """The profiles of these models after a request and their end, in which they are written."""
    server, _, profiles = loaded

    def end(name: str) -> None:
        server.infer(name, {"input.1": small.image(16)})
        server.unload(name)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(end, SETTINGS))
    return profiles


@pytest.mark.parametrize("name", SETTINGS)
def test_the_model_is_compiled_with_what_the_configuration_says(unloaded, name):
    facts = json.loads(next((unloaded / name).glob("*.openvino")).read_text())
    assert SETTINGS[name].items() <= facts["settings"].items()


def test_bfloat16_is_asked_for_and_taken_where_the_cpu_has_it(loaded, unloaded):
    hint = {"INFERENCE_PRECISION_HINT": "bf16"}
    here = openvino.Core().compile_model(openvino.Core().read_model(small.tiny().SerializeToString()), "CPU", hint)
    loaded[0].infer("bf16", {"input.1": small.image(16)})
    loaded[0].unload("bf16")
    facts = json.loads(next((unloaded / "bf16").glob("*.openvino")).read_text())
    assert facts["settings"]["INFERENCE_PRECISION_HINT"] == here.get_property("INFERENCE_PRECISION_HINT").to_string()
    asked = compiling.settings({"parameters": {"HINT_BF16": {"string_value": "YES"}}})
    assert asked == {"INFERENCE_PRECISION_HINT": openvino.Type.bf16}


SHARED = {  # instances, streams in the configuration, streams of an instance, its part of the threads
    "two_on_one": (2, "1", "1", 2),
    "two_on_two": (2, "2", "1", 2),
    "four_on_two": (4, "2", "1", 4),
    "one_on_two": (1, "2", "2", 1),
}


def test_instances_part_streams_and_threads_as_those_of_one_compiled_model_do(tmp_path):
    """Several instances take one stream each with its part of the threads; beyond the streams they part the threads."""
    for name, (count, streams, *_) in SHARED.items():
        text = TINY.replace("count: 1", f"count: {count}") + parameters(INFERENCE_NUM_THREADS="2", NUM_STREAMS=streams)
        small.add(tmp_path / "repository", name, text, small.tiny())
    with Server(tmp_path / "repository", profile=tmp_path / "profiles") as server, ThreadPoolExecutor(4) as pool:
        for name in SHARED:
            answers = list(
                pool.map(lambda _, name=name: server.infer(name, {"input.1": small.image(16)})["out"], range(8))
            )
            assert all(np.allclose(answer, answers[0]) for answer in answers)
    model = openvino.Core().read_model(small.tiny().SerializeToString())
    asked = {"INFERENCE_NUM_THREADS": 2, "NUM_STREAMS": 2}
    threads = openvino.Core().compile_model(model, "CPU", asked).get_property("INFERENCE_NUM_THREADS")
    for name, (count, _, streams, parts) in SHARED.items():
        made = [json.loads(path.read_text())["settings"] for path in (tmp_path / "profiles" / name).glob("*.openvino")]
        expected = {"NUM_STREAMS": streams, "INFERENCE_NUM_THREADS": str(max(1, threads // parts))}
        assert len(made) == count and all(expected.items() <= one.items() for one in made), made
