"""The onnxruntime stand-in on a GPU: what a configuration makes it ask of ONNX Runtime, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import gpu_calls
import numpy as np
import onnxruntime
import pytest
import small
from google.protobuf import json_format
from gpu_scenarios import PLAIN, SCENARIOS, accelerated, prepare, top
from onnx import helper

from accelkit import repository
from accelkit.backends.key import ERAS, Refused
from accelkit.backends.onnxruntime import accelerators, capture, gpu, keys, layers, session

TENSORRT_KEYS = {
    # Key: a value that the official backend takes, the option that ONNX Runtime gets, and a value that is refused.
    "max_workspace_size_bytes": ("4294967296", "trt_max_workspace_size", "G"),
    "int8_calibration_table_name": ("table", "trt_int8_calibration_table_name", None),
    "int8_use_native_calibration_table": ("True", "trt_int8_use_native_calibration_table", "maybe"),
    **{f"trt_{name}": ("3", f"trt_{name}", "many") for name in (
        "max_partition_iterations", "min_subgraph_size", "dla_core", "builder_optimization_level", "auxiliary_streams",
        "ep_context_embed_mode")},
    **{f"trt_{name}": ("True", f"trt_{name}", "yes") for name in (
        "dla_enable", "engine_cache_enable", "timing_cache_enable", "force_timing_cache", "dump_subgraphs", "detailed_build_log",
        "build_heuristics_enable", "sparsity_enable", "cuda_graph_enable", "context_memory_sharing_enable",
        "layer_norm_fp32_fallback", "force_sequential_engine_build", "dump_ep_context_model")},
    **{f"trt_{name}": ("text", f"trt_{name}", None) for name in (
        "engine_cache_path", "engine_cache_prefix", "timing_cache_path", "tactic_sources", "extra_plugin_lib_paths",
        "profile_min_shapes", "profile_opt_shapes", "profile_max_shapes", "ep_context_file_path")},
}  # fmt: skip
CUDA = {
    "device_id": "0", "has_user_compute_stream": "0", "cudnn_conv_algo_search": "EXHAUSTIVE",
    "gpu_mem_limit": "18446744073709551615", "arena_extend_strategy": "kNextPowerOfTwo", "do_copy_in_default_stream": "1",
}  # fmt: skip


@pytest.fixture(autouse=True)
def every_provider(monkeypatch):
    """An ONNX Runtime that was built with all providers."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(gpu_calls.EVERY))


def providers(text: str, device: int = 0) -> list:
    """Providers of a GPU instance of a configuration."""
    config = json_format.MessageToDict(repository.parse(text), preserving_proto_field_name=True)
    return accelerators.gpu(config, device)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_configuration_makes_exactly_the_recorded_calls(name, tmp_path):
    calls, _ = gpu_calls.play(prepare(tmp_path / name, name))
    assert json.loads(json.dumps(calls)) == gpu_calls.recorded()[name]


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_request_gets_its_own_answer(name, tmp_path):
    _, answers = gpu_calls.play(prepare(tmp_path / name, name))
    plain = onnxruntime.InferenceSession(small.tiny().SerializeToString(), providers=["CPUExecutionProvider"])
    for group, responses in zip(SCENARIOS[name][1], answers, strict=True):
        for size, response in zip(group, responses, strict=True):
            (output,) = response.outputs
            right = plain.run(["out"], {"input.1": gpu_calls.picture(size)})[0]
            assert response.error is None and output.name() == "out"
            np.testing.assert_allclose(output.array, right, rtol=1e-5)


def test_cuda_is_always_there_on_the_instances_device():
    assert providers(PLAIN, 3) == [("CUDAExecutionProvider", {**CUDA, "device_id": "3"})]
    tensorrt, cuda = providers(accelerated(("cuda", {"use_tf32": "0"}), ("tensorrt", {})), 2)
    assert tensorrt == ("TensorrtExecutionProvider", {"device_id": "2"})
    assert cuda == ("CUDAExecutionProvider", {**CUDA, "device_id": "2", "use_tf32": "0"})


@pytest.mark.parametrize("key", keys.OVERWRITTEN)
def test_four_keys_of_the_accelerator_have_no_effect(key):
    given = {"cudnn_conv_algo_search": "HEURISTIC", "do_copy_in_default_stream": "0"}.get(key, "1")
    assert providers(accelerated(("cuda", {key: given})))[0][1] == CUDA


def test_the_four_keys_count_at_the_top():
    more = top(
        cudnn_conv_algo_search="2", gpu_mem_limit="5", arena_extend_strategy="1", do_copy_in_default_stream="off"
    )
    options = providers(accelerated(("cuda", {"prefer_nhwc": "1", "cudnn_conv_algo_search": "HEURISTIC"}), more=more))[
        0
    ][1]
    assert options == {
        **CUDA, "prefer_nhwc": "1", "cudnn_conv_algo_search": "DEFAULT", "gpu_mem_limit": "5",
        "arena_extend_strategy": "kSameAsRequested", "do_copy_in_default_stream": "off",
    }  # fmt: skip


def test_what_the_backend_sets_itself_wins_and_empty_values_are_left_out():
    given = {"device_id": "7", "user_compute_stream": "1", "has_user_compute_stream": "1", "sdpa_kernel": ""}
    assert providers(accelerated(("cuda", given)))[0][1] == CUDA


@pytest.mark.parametrize("key", TENSORRT_KEYS)
def test_every_parameter_of_tensorrt_becomes_its_option(key):
    value, option, bad = TENSORRT_KEYS[key]
    assert providers(accelerated(("tensorrt", {key: value})))[0][1] == {option: value, "device_id": "0"}
    assert providers(accelerated(("tensorrt", {key: bad or ""})) if not bad else PLAIN)
    if bad:
        with pytest.raises(Refused, match=f"^failed to convert '{bad}' to (boolean|.*integral number)$"):
            providers(accelerated(("tensorrt", {key: bad})))


def test_a_boolean_of_tensorrt_becomes_what_the_python_api_takes():
    for written, option in (("1", "True"), ("on", "True"), ("0", "False"), ("false", "False")):
        given = {"trt_engine_cache_enable": written}
        assert providers(accelerated(("tensorrt", given)))[0][1]["trt_engine_cache_enable"] == option


def test_the_table_of_tensorrts_parameters_is_complete():
    assert set(TENSORRT_KEYS) | {"precision_mode"} == set(keys.TENSORRT)
    for key in (*keys.TENSORRT.values(), *keys.CUDA.values()):
        assert key.type in ("int", "bool", "string", "size") and key.effect and key.source and key.eras == ERAS
        assert key.where in ("accelerator tensorrt", "accelerator cuda")


@pytest.mark.parametrize(
    ("mode", "option"),
    [("FP32", {}), *((name, {f"trt_{name.lower()}_enable": "True"}) for name in ("FP16", "BF16", "INT8"))],
)
def test_precision_modes(mode, option):
    assert providers(accelerated(("tensorrt", {"precision_mode": mode})))[0][1] == {**option, "device_id": "0"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (accelerated(("tensorrt", {"trt_engine_cache": "1"})),
         "unknown parameter 'trt_engine_cache' is provided for TensorRT Execution Accelerator"),
        (accelerated(("tensorrt", {"device_id": "1"})), "unknown parameter 'device_id' is provided for TensorRT"),
        (accelerated(("tensorrt", {"precision_mode": "fp16"})), "unsupported precision mode 'fp16' is requested"),
        (accelerated(("cuda", {"do_copy_in_default_stream": "yes"})), "failed to convert 'yes' to boolean"),
        (accelerated(("cuda", {"use_ep_level_unified_stream": "2"})), "failed to convert '2' to boolean"),
        (accelerated(("openvino", {})), "unknown Execution Accelerator 'openvino' is requested"),
        (accelerated(("Cuda", {})), "unknown Execution Accelerator 'Cuda' is requested"),
        (PLAIN + top(cudnn_conv_algo_search="3"), "unsupported cudnn_conv_algo_search value '3' is requested"),
        (PLAIN + top(cudnn_conv_algo_search="HEURISTIC"), "failed to convert 'HEURISTIC' to integral number"),
        (PLAIN + top(arena_extend_strategy="2"), "unsupported arena_extend_strategy value '2' is requested"),
    ],
)  # fmt: skip
def test_what_the_official_backend_refuses_is_refused_in_its_words(text, said):
    with pytest.raises(Refused) as refused:
        providers(text)
    assert str(refused.value).startswith(said)


def test_tensorrt_is_unknown_to_an_onnx_runtime_without_it(monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(gpu_calls.EVERY[1:]))
    with pytest.raises(Refused, match="^unknown Execution Accelerator 'tensorrt' is requested$"):
        providers(accelerated(("tensorrt", {})))


def opened(directory: Path, text: str, made=None) -> onnxruntime.InferenceSession:
    """A session for a GPU instance."""
    (directory / "1").mkdir(parents=True)
    (directory / "1" / "model.onnx").write_bytes((made or small.tiny()).SerializeToString())
    config = json_format.MessageToDict(repository.parse(text), preserving_proto_field_name=True)
    return session.open_session(session.Place("m", str(directory), "1", "m_0", "GPU"), config, [])


def test_an_onnx_runtime_without_cuda_refuses_gpu_instances(tmp_path, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(Refused, match="KIND_GPU needs an ONNX Runtime with the CUDA provider: install onnxruntime-gpu"):
        opened(tmp_path, PLAIN)


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_provider_that_does_not_come_up_fails_the_load_instead_of_falling_back(tmp_path):
    """This ONNX Runtime has no CUDA: its Python API would go on with the CPU."""
    with pytest.raises(
        Refused, match="^onnx runtime error 1: Failed to load library libonnxruntime_providers_cuda.so with"
    ):
        opened(tmp_path, PLAIN)


def test_a_cuda_graph_needs_fixed_shapes(tmp_path):
    free = small.model(
        [helper.make_node("Identity", ["input.1"], ["out"])],
        [small.tensor("input.1", ["N", 1, 32, "W"])], [small.tensor("out", ["N", 1, 32, "W"])],
    )  # fmt: skip
    plain = onnxruntime.InferenceSession(free.SerializeToString(), providers=["CPUExecutionProvider"])
    config = {"max_batch_size": 4, "output": [{"name": "out"}]}
    with pytest.raises(Refused, match="model 'm', a CUDA graph needs shapes that are fixed but for the batch"):
        capture.Replayer(config, plain, gpu_calls.Server, session.Place("m", "", "1"))


def test_tensorrt_captures_one_batch_size(tmp_path):
    plain = onnxruntime.InferenceSession(small.tiny().SerializeToString(), providers=["CPUExecutionProvider"])
    watched = gpu_calls.Watched(plain, [], False)
    watched.get_providers = lambda: list(gpu_calls.EVERY)
    config = {"max_batch_size": 4, "output": [{"name": "out"}]}
    with pytest.raises(Refused, match="captures one CUDA graph .* write max_batch_size 1"):
        capture.Replayer(config, watched, gpu_calls.Server, session.Place("m", "", "1"))


def test_a_request_at_fault_fails_alone(tmp_path, monkeypatch):
    group = [4, 2, 2]
    monkeypatch.setitem(SCENARIOS, "graph", (SCENARIOS["graph"][0], [group]))
    pictures = {size: gpu_calls.picture(size) for size in group}
    pictures[4] = np.zeros((4, 1, 32, 99), np.float32)
    monkeypatch.setattr(gpu_calls, "picture", pictures.__getitem__)
    _, [answers] = gpu_calls.play(prepare(tmp_path / "graph", "graph"))
    assert [answer.error is None for answer in answers] == [False, True, True]
    assert "onnx runtime error 2" in answers[0].error and answers[1].outputs[0].array.shape == (2, 10)


def test_the_verbose_log_says_what_cuda_was_given():
    options = {"TensorrtExecutionProvider": {}, "CUDAExecutionProvider": {"device_id": "1", "use_tf32": "0"}}
    assert gpu.described("m", 1, options) == [
        "TensorRT Execution Accelerator is set for 'm' on device 1",
        "CUDA Execution Accelerator is set for 'm' on device 1 with options: device_id=1;use_tf32=0",
    ]
    assert gpu.described("m", 0, {"CPUExecutionProvider": {}}) == []


LOG = """\
2026-01-01 00:00:00 [W:onnxruntime:, tensorrt.h:86 log] Engine Layer Information:
Layer(Reformat): Reformatting CopyNode for Input 0, Tactic: 0x00000000000003e8, input.1[Float(16,1,32,100)] -> r[Half(16,1,32,100)]
Layer(CaskConvolution): Conv_0 + Relu_1, Tactic: 0x9f3a, Reformatted Input (Half[16,1:4,32,100]) -> Relu_1_out (Half[16,32:8,32,100])
Layer(Constant): weights, Tactic: 0,  -> weights[Float(1,256)]
[W] Layer(Myelin): {ForeignNode[/Transpose.../MatMul]}, Tactic: 0x0000000000000000, a[Half(16,1)], b[Float(1)] -> logits[Float(16,26,37)]
nothing of Layer(this)
"""


def test_layers_are_read_from_the_log_of_a_build():
    found = [(layer["kind"], layer["name"], layer["type"]) for layer in layers.read(LOG.splitlines())]
    assert found == [
        ("Reformat", "Reformatting CopyNode for Input 0", "Float"),
        ("CaskConvolution", "Conv_0 + Relu_1", "Half"),
        ("Constant", "weights", "Float"),
        ("Myelin", "{ForeignNode[/Transpose.../MatMul]}", "Half"),
    ]


def test_the_report_of_a_build_is_kept_beside_a_cached_engine(tmp_path, capfd):
    import os

    options, model = {"trt_engine_cache_path": str(tmp_path)}, tmp_path / "model.onnx"
    with layers.reported(options, tmp_path / "cold.tensorrt", model):
        os.write(2, LOG.encode())
        (tmp_path / "one.engine").write_bytes(b"engine")
    with layers.reported(options, tmp_path / "warm.tensorrt", model):
        os.write(2, b"loaded\n")
    cold, warm = (json.loads((tmp_path / f"{start}.tensorrt").read_text()) for start in ("cold", "warm"))
    assert cold == warm and len(cold["layers"]) == 4
    assert cold["engines"] == {"one.engine": 6} and cold["model"] == str(model)
    own = layers.detailed({}, tmp_path / "none.tensorrt")
    assert own["trt_engine_cache_enable"] == own["trt_detailed_build_log"] == "True"
    assert set(layers.detailed(options, tmp_path / "x")) == {"trt_engine_cache_path", "trt_detailed_build_log"}
    with layers.reported(own, tmp_path / "none.tensorrt", model):
        pass
    none = json.loads((tmp_path / "none.tensorrt").read_text())
    assert none == {"layers": [], "engines": {}, "model": str(model)}
    with pytest.raises(RuntimeError), layers.reported(own, tmp_path / "failed.tensorrt", model):
        os.write(2, b"noise\n[E] Error Code 4: no such operator\n")
        raise RuntimeError
    assert not (tmp_path / "failed.tensorrt").exists() and not list(tmp_path.glob(".*"))
    assert capfd.readouterr().err == "[E] Error Code 4: no such operator\n"
    os.write(2, b"back")
    assert capfd.readouterr().err == "back"
