"""Each rule: a config that it finds, one beside it that it does not, and the eras in which it holds."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
import saved_model_bytes as made

from accelkit import lint, repository
from accelkit.backends.key import ERAS
from accelkit.backends.tensorrtllm import tensors
from accelkit.lint import rules
from accelkit.models.gpt import checkpoint, layout, weights

ROOT = Path(__file__).parents[2]
NEW = ("bridge", "current")


def text(
    backend: str, *parts: str, group: str = "instance_group [ { kind: KIND_CPU count: 1 } ]", **values: str
) -> str:
    """A config.pbtxt of a backend with these parts and top-level parameters."""
    given = [f'parameters {{ key: "{key}" value: {{ string_value: "{value}" }} }}' for key, value in values.items()]
    return "\n".join([f'backend: "{backend}"', group, *parts, *given]) + "\n"


def accelerator(side: str, name: str, **values: str) -> str:
    """An execution accelerator with parameters."""
    given = " ".join(f'parameters {{ key: "{key}" value: "{value}" }}' for key, value in values.items())
    listed = f'{side}_execution_accelerator: [ {{ name: "{name}" {given} }} ]'
    return f"optimization {{ execution_accelerators {{ {listed} }} }}"


def ort(*parts: str, **more: str) -> str:
    """A config of the backend onnxruntime."""
    return text("onnxruntime", *parts, **more)


def on_gpu(name: str, **values: str) -> str:
    """A config of the backend onnxruntime with an accelerator for GPU instances."""
    return ort(accelerator("gpu", name, **values), group="instance_group [ { kind: KIND_GPU } ]")


def gpu_batches(largest: int, **values: str) -> str:
    """A config with the accelerator tensorrt and this max_batch_size."""
    return f"max_batch_size: {largest}\n" + on_gpu("tensorrt", **values)


def profile(largest: int) -> dict[str, str]:
    """The three shapes of a profile for batches up to the largest."""
    sizes = {"min": 1, "opt": 8, "max": largest}
    return {f"trt_profile_{edge}_shapes": f"input.1:{size}x1x32x100,b:{size * 100}x4" for edge, size in sizes.items()}


def plan(
    cuda: str = "", *parts: str, kind: str = "KIND_GPU", profile: str = "0", largest: int = 64, **values: str
) -> str:
    """A config of the backend tensorrt with these settings of CUDA."""
    group = f'instance_group [ {{ kind: {kind} profile: [ "{profile}" ] }} ]'
    return text(
        "tensorrt", f"max_batch_size: {largest} optimization {{ cuda {{ {cuda} }} }}", *parts, group=group, **values
    )


def openvino(*parts: str, **more: str) -> str:
    """A config of the backend openvino that takes whole batches by padding."""
    return text("openvino", "max_batch_size: 8", *parts, **{"ENABLE_BATCH_PADDING": "YES", **more})


def torch(
    inputs: str = "INPUT__0",
    outputs: str = "OUTPUT__0",
    *parts: str,
    platform: str = "pytorch_libtorch",
    file: str = "",
    **values: str,
) -> str:
    """A config of the backend pytorch with these names, separated by spaces."""
    named = [f'input [ {{ name: "{name}" data_type: TYPE_FP32 dims: [ 3 ] }} ]' for name in inputs.split()]
    named += [f'output [ {{ name: "{name}" data_type: TYPE_FP32 dims: [ 3 ] }} ]' for name in outputs.split()]
    named += [f'platform: "{platform}"'] * bool(platform) + [f'default_model_filename: "{file}"'] * bool(file)
    return text("pytorch", *named, *parts, **values)


AOTI = {"platform": "torch_aoti"}


def ft(*parts: str, group: str = "instance_group [ { kind: KIND_CPU count: 1 } ]", **change: str | None) -> str:
    """A config of the backend fastertransformer with the tensors of a GPT; a value None leaves a key out."""
    values = {"tensor_para_size": "2", "pipeline_para_size": "1", "data_type": "fp16", "model_type": "GPT", **change}
    return text(
        "fastertransformer", *(parts or (TENSORS,)), group=group, **{k: v for k, v in values.items() if v is not None}
    )


def vllm(*parts: str, group: str = "instance_group [ { kind: KIND_MODEL count: 1 } ]") -> str:
    """A config of the backend vllm."""
    return text("vllm", *parts, group=group)


def trtllm(*parts: str, **change: str | None) -> str:
    """A config of the backend tensorrtllm that loads in every era; a value None leaves a key out."""
    values = {"gpt_model_type": "inflight_fused_batching", "gpt_model_path": "/engine", "tokenizer_dir": "", "guided_decoding_backend": "",
              "xgrammar_tokenizer_info_path": "", **change}  # fmt: skip
    return text("tensorrtllm", *parts, **{key: value for key, value in values.items() if value is not None})


def llmapi(*parts: str, group: str = "instance_group [ { kind: KIND_CPU count: 1 } ]", **values: str) -> str:
    """A config of an LLM API's model."""
    return text("python", *(parts or (SAMPLED,)), group=group, **values)


def member(which: str, *parts: str, without: str = "", **change: str | None) -> str:
    """A config of one of the models around an engine; `without` leaves a tensor out, a value None a key."""
    sides = {"before": tensors.BEFORE, "after": tensors.AFTER}[which]
    config = repository.new(**{
        side: [one.field() for one in some if one.name != without] for side, some in zip(("input", "output"), sides)
    })  # fmt: skip
    values = {
        "tokenizer_dir": "/t",
        **({"visual_model_path": "", "multimodal_model_path": ""} if which == "before" else {}),
        **change,
    }
    return text(
        "python", repository.text(config), *parts, **{key: value for key, value in values.items() if value is not None}
    )


SAMPLED = """input [ { name: "text_input" data_type: TYPE_STRING dims: [ -1 ] },
{ name: "sampling_param_max_tokens" data_type: TYPE_INT32 dims: [ 1 ] optional: true } ]"""
IDS = """{ name: "input_lengths" data_type: TYPE_INT32 dims: [ 1 ] }, { name: "request_output_len" data_type: TYPE_INT32 dims: [ 1 ] }"""
TWO = "instance_group [ { kind: KIND_CPU count: 2 } ]"


def added(name: str, kind: str) -> str:
    """The inputs that an engine cannot do without, and one more."""
    return f'input [ {IDS}, {{ name: "{name}" data_type: TYPE_{kind} dims: [ 1 ] }} ]'


def fil(without: str = "", **more: str) -> str:
    """A config of the backend fil that loads in every era; a value None leaves a key out."""
    values = {"is_classifier": "true", "output_class": "true", "threshold": "0.5", **more}
    return text("fil", **{key: value for key, value in values.items() if value is not None})


def tf(*parts: str, kind: str = "KIND_GPU", **more: str) -> str:
    """A config of the backend tensorflow for a SavedModel."""
    group = f"instance_group [ {{ kind: {kind} count: 1 }} ]"
    return text("tensorflow", 'platform: "tensorflow_savedmodel"', *parts, group=group, **more)


def trt(**values: str) -> str:
    """The accelerator tensorrt of the backend tensorflow, with a warm-up."""
    return accelerator("gpu", "tensorrt", **values) + ' model_warmup { name: "w" batch_size: 1 }'


OLD = ("legacy",)

TENSORS = """
input [ { name: "input_ids" data_type: TYPE_UINT32 dims: [ -1 ] allow_ragged_batch: true },
        { name: "input_lengths" data_type: TYPE_UINT32 dims: [ 1 ] }, { name: "request_output_len" data_type: TYPE_UINT32 dims: [ -1 ] } ]
output [ { name: "output_ids" data_type: TYPE_UINT32 dims: [ -1, -1 ] }, { name: "sequence_length" data_type: TYPE_UINT32 dims: [ -1 ] } ]
"""
HINT = {"PERFORMANCE_HINT": "throughput"}
# Rule: what it finds with a part of the words it says, then what it leaves alone; an entry may name its eras.
CASES: dict[str, tuple[list[tuple], list[str]]] = {
    "unknown-parameter": (
        [(ort(intra_op_threads="2"), '"intra_op_threads" is no key of the backend onnxruntime', ERAS),
         (text("fil", nope="1"), '"nope" is no key of the backend fil', ERAS),
         (openvino(TARGET_DEVICE="AUTO"), '"TARGET_DEVICE", which the backend openvino of this era does not know', ("legacy",))],
        [ort(intra_op_thread_count="2"), ort(TRITON_BATCH_STRATEGY_PATH="/x.so"), text("custom", anything="1")],
    ),
    "misspelt-backend": (
        [(text("onnxruntme"), '"onnxruntme", the nearest name of a backend is "onnxruntime"', ERAS),
         (text("TensorRT"), '"tensorrt"', ERAS), (text("onnxruntime_onnx"), '"onnxruntime"', ERAS)],
        [ort(), text("mine"), text("python"), 'platform: "ensemble"', 'name: "m"'],
    ),
    "foreign-backend": (
        [(text("mine"), 'backend "mine"', ERAS), (text("onnx"), '"onnx", the nearest name is "onnxruntime"', ERAS)],
        [ort(), text("onnxruntme"), text("tensorrtllm"), 'platform: "onnxruntime_onnx"'],
    ),
    "unknown-platform": (
        [('platform: "tensorflow_savedmodl"', 'the nearest name is "tensorflow_savedmodel"', ERAS),
         ('platform: "zzz"', 'platform "zzz"', ERAS),
         (ort('platform: "onnxruntime_onx"'), "with the backend onnxruntime, whose platforms are onnxruntime_onnx", ERAS),
         (torch(platform="torch_aotii"), "pytorch_libtorch, torch_aoti", ERAS)],
        [ort('platform: "onnxruntime_onnx"'), openvino('platform: "openvino"'), text("mine", 'platform: "mine"'), torch(),
         'platform: "ensemble"', 'platform: "tensorflow_graphdef"', text("tensorflow", 'platform: "tensorflow"')],
    ),
    "platform-gone": (
        [('platform: "tensorflow_savedmodel"', '"tensorflow"', NEW), (text("tensorflow"), '"tensorflow"', NEW),
         ('platform: "torch_aoti"', '"torch_aoti"', ("legacy",)),],
        [ort(), 'platform: "onnxruntime_onnx"', text("pytorch")],
    ),
    "graph-level": (
        [(ort("optimization { graph { level: 3 } }"), "level 3", ERAS)],
        [ort(f"optimization {{ graph {{ level: {level} }} }}") for level in (-1, 0, 1, 2)],
    ),
    "two-instances": (
        [(ort(group=""), "no instance_group", ERAS),
         (ort(group="instance_group [ { kind: KIND_CPU } ]"), "without a count", ERAS),
         (text("tensorflow", group=""), "no instance_group", ERAS)],
        [ort(), ort(group="instance_group [ { kind: KIND_GPU } ]"), text("openvino", group="")],
    ),
    "bad-value": (
        [(ort(intra_op_thread_count="two"), 'intra_op_thread_count is "two"', ERAS),
         (ort(enable_mem_arena="maybe"), 'enable_mem_arena is "maybe"', ERAS)],
        [ort(intra_op_thread_count=" 2abc", enable_mem_arena="OFF", enable_mem_pattern="1")],
    ),
    "execution-mode": (
        [(ort(execution_mode="2"), 'execution_mode is "2"', ERAS)], [ort(execution_mode="1"), ort(execution_mode="0")],
    ),
    "unknown-accelerator": (
        [(ort(accelerator("cpu", "OpenVINO")), 'cpu_execution_accelerator "OpenVINO"', ERAS),
         (on_gpu("openvino"), 'gpu_execution_accelerator "openvino"', ERAS)],
        [ort(accelerator("cpu", "openvino")), on_gpu("cuda"), on_gpu("tensorrt"), ort(accelerator("gpu", "warp"))],
    ),
    "gpu-accelerator-on-cpu": ([(ort(accelerator("gpu", "cuda")), '"cuda"', ERAS)], [on_gpu("cuda")]),
    "openvino-parameter": (
        [(ort(accelerator("cpu", "openvino", num_of_threads="2")), 'parameter "num_of_threads"', ERAS)],
        [ort(accelerator("cpu", "openvino"))],
    ),
    "cuda-overwritten": (
        [(on_gpu("cuda", **{key: "1"}), f'"{key}"', ERAS) for key in
         ("cudnn_conv_algo_search", "gpu_mem_limit", "arena_extend_strategy", "do_copy_in_default_stream")],
        [on_gpu("cuda", prefer_nhwc="1"), ort(cudnn_conv_algo_search="1")],
    ),
    "cuda-option": (
        [(on_gpu("cuda", use_tf23="0"), '"use_tf23"', ERAS)],
        [on_gpu("cuda", use_tf32="0", gpu_mem_limit="1"), on_gpu("tensorrt", use_tf23="0"), ort(accelerator("gpu", "cuda", x="1"))],
    ),
    "cuda-graph": (
        [(on_gpu("cuda", enable_cuda_graph="1"), '"enable_cuda_graph" of the accelerator cuda', ERAS),
         (on_gpu("tensorrt", trt_cuda_graph_enable="True"), '"trt_cuda_graph_enable" of the accelerator tensorrt', ERAS)],
        [on_gpu("cuda", enable_cuda_graph="0"), on_gpu("cuda"), on_gpu("cuda", trt_cuda_graph_enable="1")],
    ),
    "cuda-changing-batches": (
        [(ort("dynamic_batching { }", group="instance_group [ { kind: KIND_GPU } ]"), "dynamic_batching beside", ERAS)],
        [ort(group="instance_group [ { kind: KIND_GPU } ]"), ort("dynamic_batching { }"),
         ort("dynamic_batching { }", group="instance_group [ { kind: KIND_GPU } ]", cudnn_conv_algo_search="1")],
    ),
    "cuda-tf32": (
        [(ort(group="instance_group [ { kind: KIND_GPU } ]"), "without use_tf32", ERAS), (on_gpu("cuda"), "KIND_GPU", ERAS)],
        [on_gpu("cuda", use_tf32="0"), on_gpu("cuda", use_tf32="1"), ort(), on_gpu("tensorrt")],
    ),
    "gpu-value": (
        [(on_gpu("tensorrt", precision_mode="fp16"), 'precision_mode is "fp16", there are FP32, FP16, BF16, INT8', ERAS),
         (on_gpu("tensorrt", trt_dla_enable="yes"), "trt_dla_enable: failed to convert 'yes' to boolean", ERAS),
         (on_gpu("tensorrt", trt_dla_core="one"), "trt_dla_core: failed to convert 'one' to integral", ERAS),
         (on_gpu("tensorrt", max_workspace_size_bytes="G"), "max_workspace_size_bytes: failed to convert 'G'", ERAS),
         (on_gpu("cuda", use_ep_level_unified_stream="yes"), 'use_ep_level_unified_stream is "yes"', ERAS),
         (ort(group="instance_group [ { kind: KIND_GPU } ]", cudnn_conv_algo_search="3"), '"3", there are 0 to 2', ERAS),
         (ort(group="instance_group [ { kind: KIND_GPU } ]", arena_extend_strategy="-1"), '"-1", there are 0 to 1', ERAS)],
        [on_gpu("tensorrt", precision_mode="INT8", trt_dla_enable="On", max_workspace_size_bytes="4294967296"),
         on_gpu("cuda", use_tf32="maybe", do_copy_in_default_stream="off"), ort(cudnn_conv_algo_search="3"),
         ort(group="instance_group [ { kind: KIND_GPU } ]", cudnn_conv_algo_search=" 2", arena_extend_strategy="1")],
    ),
    "accelerator-profile": (
        [(gpu_batches(64, trt_engine_cache_enable="0"), "the accelerator tensorrt without trt_profile_min_shapes", ERAS),
         (gpu_batches(64, trt_profile_min_shapes="x:1x4"), "trt_profile_min_shapes without the other", ERAS),
         (gpu_batches(64, **profile(32)), "a profile of input.1 up to batch 32 with max_batch_size 64", ERAS)],
        [gpu_batches(64, **profile(64)), gpu_batches(0), gpu_batches(1), "max_batch_size: 64\n" + on_gpu("cuda")],
    ),
    "accelerator-cache": (
        [(on_gpu("tensorrt", trt_engine_cache_enable="1"), 'trt_engine_cache_path ""', ERAS),
         (on_gpu("tensorrt", trt_timing_cache_enable="true", trt_timing_cache_path="cache"), 'path "cache"', ERAS)],
        [on_gpu("tensorrt", trt_engine_cache_enable="1", trt_engine_cache_path="/models/m/1/cache"), on_gpu("tensorrt")],
    ),
    "tensorrt-parameter": (
        [(on_gpu("tensorrt", trt_engine_cache="1"), '"trt_engine_cache"', ERAS)],
        [on_gpu("tensorrt", trt_engine_cache_enable="1", precision_mode="FP32"), on_gpu("cuda", trt_engine_cache="1")],
    ),
    "precision-mode": (
        [(on_gpu("tensorrt", precision_mode="FP16"), 'precision_mode "FP16"', ("current",))],
        [on_gpu("tensorrt", precision_mode="FP32")],
    ),
    "accelerator-elsewhere": (
        [(openvino(accelerator("cpu", "openvino")), '"openvino"', ERAS)], [openvino(), ort(accelerator("cpu", "openvino"))],
    ),
    "openvino-kind-gpu": (
        [(openvino(group="instance_group [ { kind: KIND_GPU } ]"), "KIND_GPU", ERAS)], [openvino(), on_gpu("cuda")],
    ),
    "openvino-boolean": (
        [(openvino(RESHAPE_IO_LAYERS="true"), 'RESHAPE_IO_LAYERS is "true"', ERAS)],
        [openvino(RESHAPE_IO_LAYERS=word) for word in ("YES", "yes", "NO", "false")],
    ),
    "openvino-padding": (
        [(text("openvino", "max_batch_size: 8"), "max_batch_size 8 without", ERAS),
         (openvino(ENABLE_BATCH_PADDING="true"), "max_batch_size 8 without", ERAS)],
        [openvino(), text("openvino"), text("openvino", "max_batch_size: 1"), ort("max_batch_size: 8")],
    ),
    "openvino-value": (
        [(openvino(**{key: value}), f'{key} is "{value}"', ERAS) for key, value in
         {"NUM_STREAMS": "many", "HINT_BF16": "NO", "PERFORMANCE_HINT": "FAST", "INFERENCE_NUM_THREADS": "-1"}.items()],
        [openvino(NUM_STREAMS="AUTO", HINT_BF16="YES", INFERENCE_NUM_THREADS="4", **HINT)],
    ),
    "openvino-compilation": (
        [(openvino(COMPILATION_NUM_THREADS="2"), "for the CPU", ERAS)],
        [openvino(), openvino(COMPILATION_NUM_THREADS="2", TARGET_DEVICE="NPU")],
    ),
    "openvino-streams": (
        [(openvino(NUM_STREAMS="4"), "NUM_STREAMS 4 with 1 instances", ERAS)],
        [openvino(NUM_STREAMS="2", group=TWO), openvino(NUM_STREAMS="AUTO")],
    ),
    "fil-class": (
        [(fil(is_classifier=None, output_class=None), "no output_class", ("legacy",)),
         (fil(is_classifier=None, output_class=None), "no is_classifier", NEW),
         (fil(output_class=None), "no output_class", ("legacy",)),
         (fil(is_classifier=None, output_class="1"), "no is_classifier", NEW)],
        [fil(), text("onnxruntime")],
    ),
    "fil-threshold": (
        [(fil(threshold=None), "without threshold", ERAS),
         (fil(threshold=None, is_classifier="false"), "without threshold", ERAS),
         (fil(threshold=None, output_class=None), "without threshold", NEW)],
        [fil(), fil(threshold=None, is_classifier="false", output_class="false")],
    ),
    "fil-boolean": (
        [(fil(predict_proba="True"), 'predict_proba is "True"', ERAS), (fil(is_classifier="1"), "is_classifier", NEW),
         (fil(output_class="yes"), "output_class", ("legacy",))],
        [fil(predict_proba="true")],
    ),
    "fil-renamed": (
        [(fil(algo="NAIVE"), '"algo", which is "layout"', NEW), (fil(layout="layered"), 'knows as "algo"', ("legacy",)),
         (fil(storage_type="SPARSE"), "25.09 removed", NEW), (fil(is_classifier=None), '"output_class", which is', NEW)],
        [fil(), fil(algo="NAIVE", layout="layered")],
    ),
    "plan-cpu": ([(plan(kind="KIND_CPU"), "KIND_CPU", ERAS)], [plan()]),
    "plan-profile": ([(plan(profile="big"), 'profile "big", which is no number', ERAS)], [plan(), plan(profile="1")]),
    "plan-allocation": (
        [(plan(execution_context_allocation_strategy="DYNAMIC"), 'execution_context_allocation_strategy "DYNAMIC"', NEW)],
        [plan(), plan(execution_context_allocation_strategy="STATIC")],
    ),
    "plan-graph-spec": (
        [(plan("graphs: true graph_spec { batch_size: 65 }"), "to be >= 1 and <= 64", ERAS),
         (plan("graphs: true graph_spec { batch_size: 4 graph_lower_bound { batch_size: 5 } }"), "to be <= graph spec", ERAS)],
        [plan("graphs: true graph_spec { batch_size: 64 }"), plan("graph_spec { batch_size: 65 }")],
    ),
    "plan-graphs-few": (
        [(plan("graphs: true", "dynamic_batching { }"), "of the batches 1, 64 alone", ERAS)],
        [plan("graphs: true"), plan("graphs: true graph_spec { batch_size: 16 }", "dynamic_batching { }"), plan(),
         plan("graphs: true", "dynamic_batching { preferred_batch_size: [ 16 ] }")],
    ),
    "plan-graphs-unused": (
        [(plan("graph_spec { batch_size: 16 }"), "without graphs: true", ERAS),
         (plan("graphs: true", largest=0), "graphs with max_batch_size 0", ERAS),
         (plan("graphs: true graph_spec { batch_size: 16 graph_lower_bound { batch_size: 9 } }"), "without shapes", ERAS)],
        [plan("graphs: true"), plan("graphs: true graph_spec { batch_size: 16 }")],
    ),
    "torch-names": (
        [(torch("INPUT__0 other"), 'input "other" among inputs named by <name>__<index>', ERAS),
         (torch("x", "OUTPUT__0 y"), 'output "y"', ERAS)],
        [torch("INPUT__0 INPUT__1"), torch("x y", "a b"), torch("ARGS[0] INPUT__1", "RESULT", **AOTI)],
    ),
    "torch-index": (
        [(torch("INPUT__1"), "inputs at the places 1", ERAS), (torch("INPUT__0 INPUT__0"), "at the places 0, 0", ERAS),
         (torch("x", "OUTPUT__2 OUTPUT__2"), "outputs at the places 2, 2", ERAS)],
        [torch("INPUT__1 INPUT__0"), torch("INPUT__0", "OUTPUT__1"), torch("a b")],
    ),
    "torch-parameter": (
        [(torch(NUM_THREADS="1"), '"NUM_THREADS" for TorchScript', ERAS),
         (torch(INFERENCE_MODE="true", **AOTI), '"INFERENCE_MODE" for AOTInductor', ERAS),
         (torch("x", "y", 'runtime: "model.py"', INFERENCE_MODE="true"), '"INFERENCE_MODE" for the Python runtime', ERAS)],
        [torch(INFERENCE_MODE="true"), torch("x", "y", 'runtime: "model.py"', NUM_THREADS="1"), torch(unknown="1")],
    ),
    "torch-platform": (
        [(torch(file="model.pt2"), 'platform "pytorch_libtorch" with the file model.pt2', ERAS),
         (torch(file="model.pt", **AOTI), 'platform "torch_aoti" with the file model.pt', ERAS)],
        [torch(), torch(**AOTI), torch(file="mine.pt2", **AOTI), torch(file="mine.pt"), torch(file="model.pt2", platform="")],
    ),
    "aoti-names": (
        [(torch("x", **AOTI), 'input "x"', ERAS), (torch("ARGS[0]", "logits", **AOTI), 'output "logits"', ERAS)],
        [torch(**AOTI), torch("ARGS[0] KWARGS[mask]", "RESULT[a][0]", **AOTI), torch("INPUT__0", "RESULT", **AOTI), torch("x")],
    ),
    "aoti-platform": (
        [(torch(file="model.pt2", platform=""), '"model.pt2" without a platform', NEW)], [torch(**AOTI), torch(platform="")],
    ),
    "aoti-era": (
        [(torch(file="model.pt2", platform=""), "a package of AOTInductor", ("legacy", "bridge"))], [torch(), torch(platform="")],
    ),
    "tf-platform": (
        [(text("tensorflow", 'platform: "tensorflow"'), 'platform "tensorflow"', OLD)],
        [tf(), text("tensorflow", 'platform: "tensorflow_graphdef"'), text("tensorflow"), ort('platform: "x"')],
    ),
    "tf-value": (
        [(tf(TF_NUM_INTRA_THREADS="-1"), 'TF_NUM_INTRA_THREADS is "-1"', OLD),
         (tf(MAX_SESSION_SHARE_COUNT="0"), 'MAX_SESSION_SHARE_COUNT is "0"', OLD)],
        [tf(TF_NUM_INTRA_THREADS="0", MAX_SESSION_SHARE_COUNT="2"), tf(TF_NUM_INTRA_THREADS="many")],
    ),
    "tf-accelerator": (
        [(tf(accelerator("cpu", "openvino")), 'cpu_execution_accelerator "openvino"', OLD),
         (tf(accelerator("gpu", "tftrt")), 'gpu_execution_accelerator "tftrt"', OLD),
         (tf("optimization { execution_accelerators { gpu_execution_accelerator: [ { name: \"tensorrt\" }, "
             "{ name: \"auto_mixed_precision\" } ] } }"), "auto_mixed_precision beside tensorrt", OLD)],
        [tf(trt()), tf(accelerator("gpu", "gpu_io")), tf(accelerator("gpu", "tftrt"), kind="KIND_CPU")],
    ),
    "tf-tensorrt-parameter": (
        [(tf(trt(is_dynamic_op="1")), 'parameter "is_dynamic_op"', OLD), (tf(trt(precision_mode="INT8")), '"INT8"', OLD),
         (tf(trt(minimum_segment_size="few")), 'minimum_segment_size "few", which is no number', OLD)],
        [tf(trt(precision_mode="FP16", max_cached_engines="9")), tf(accelerator("gpu", "gpu_io", x="1")),
         tf(trt(precision_mode="INT8"), kind="KIND_CPU")],
    ),
    "tf-accelerator-ignored": (
        [(tf(accelerator("gpu", "auto_mixed_precision", level="1")), 'parameter "level"', OLD)],
        [tf(accelerator("gpu", "auto_mixed_precision")), tf(trt(x="1"))],
    ),
    "tf-first-requests": (
        [(tf(accelerator("gpu", "tensorrt")), "tensorrt without model_warmup", OLD)],
        [tf(trt()), tf(), tf(accelerator("gpu", "tensorrt"), kind="KIND_CPU")],
    ),
    "tf-xla-on-cpu": (
        [(tf("optimization { graph { level: 1 } }", kind="KIND_CPU"), "graph level 1", OLD)],
        [tf("optimization { graph { level: 1 } }"), tf("optimization { graph { level: -1 } }", kind="KIND_CPU")],
    ),
    "ft-compiled": ([(ft(), 'backend "fastertransformer"', ERAS)], [fil()]),
    "ft-required": (
        [(ft(tensor_para_size=None), "no tensor_para_size", ERAS), (ft(data_type=None), "no data_type", ERAS)], [ft(), fil()],
    ),
    "ft-value": (
        [(ft(data_type="float16"), 'data_type is "float16"', ERAS), (ft(model_type="gpt"), 'model_type is "gpt"', ERAS),
         (ft(tensor_para_size="0"), 'tensor_para_size is "0"', ERAS), (ft(pipeline_para_size="x"), 'is "x"', ERAS)],
        [ft(), ft(data_type="bf16", model_type="T5"), ft(tensor_para_size=None)],
    ),
    "ft-renamed": (
        [(ft(is_half="1"), '"is_half", whose place data_type took', ERAS),
         (ft(layer_para_size="1"), '"layer_para_size", whose place pipeline_para_size took', ERAS)], [ft()],
    ),
    "ft-instance-group": (
        [(ft(group=""), "0 instance groups", ERAS), (ft(group="instance_group [ { kind: KIND_GPU } ]"), "KIND_GPU", ERAS),
         (ft(group="instance_group [ { kind: KIND_CPU }, { kind: KIND_CPU } ]"), "2 instance groups", ERAS)], [ft()],
    ),
    "ft-tensors": (
        [(ft("max_batch_size: 8"), "no input input_ids", ERAS), (ft("max_batch_size: 8"), "no output sequence_length", ERAS),
         (ft(TENSORS.replace("input_ids", "INPUT_ID")), "input INPUT_ID, which a GPT", ERAS),
         (ft(TENSORS.replace("UINT32", "INT32", 1)), "input input_ids is INT32, and UINT32", ERAS)], [ft()],
    ),
    "ft-ragged": (
        [(ft(TENSORS.replace("allow_ragged_batch: true", "") + "dynamic_batching { }"), "without allow_ragged_batch", ERAS)],
        [ft(), ft(TENSORS + "dynamic_batching { }"), ft(TENSORS.replace("allow_ragged_batch: true", ""))],
    ),
    "vllm-kind": ([], [vllm(), vllm(group="instance_group [ { kind: KIND_GPU } ]")]),
    "vllm-instances": (
        [(vllm(group="instance_group [ { kind: KIND_MODEL count: 2 } ]"), "2 instances", ERAS)],
        [vllm(), vllm(group="instance_group [ { kind: KIND_GPU gpus: [ 0 ] }, { kind: KIND_GPU gpus: [ 1 ] } ]")],
    ),
    "vllm-batch": (
        [(vllm("max_batch_size: 8"), "max_batch_size 8", ERAS), (vllm("dynamic_batching { }"), "dynamic_batching", ERAS)], [vllm()],
    ),
    "vllm-tensors": (
        [(vllm('input [ { name: "prompt" data_type: TYPE_STRING dims: [ 1 ] } ]'), "input prompt, which", ERAS),
         (vllm('input [ { name: "stream" data_type: TYPE_STRING dims: [ 1 ] } ]'), "stream is STRING, and BOOL", ERAS)],
        [vllm(), vllm('input [ { name: "text_input" data_type: TYPE_STRING dims: [ 1 ] } ]')],
    ),
    "vllm-coupled": (
        [(vllm("model_transaction_policy { decoupled: false }"), "decoupled: false", ERAS)],
        [vllm(), vllm("model_transaction_policy { decoupled: true }")],
    ),
    "vllm-model-json": ([], [vllm()]),
    "trtllm-required": (
        [(trtllm(gpt_model_type=None), "no gpt_model_type", ERAS), (trtllm(gpt_model_path=None), "no gpt_model_path", ERAS),
         (trtllm(gpt_model_path="${engine_dir}"), "no gpt_model_path", ERAS), (trtllm(tokenizer_dir=None), "no tokenizer_dir", ERAS),
         (trtllm(guided_decoding_backend=None), "no guided_decoding_backend", ERAS),
         (trtllm(xgrammar_tokenizer_info_path=None), "no xgrammar_tokenizer_info_path", NEW)],
        [trtllm(), trtllm(gpt_model_path=None, encoder_model_path="/encoder")],
    ),
    "trtllm-batching": (
        [(trtllm(gpt_model_type="inflight_fused"), 'gpt_model_type is "inflight_fused"', ERAS),
         (trtllm(gpt_model_type="${batching_strategy}"), "is", ERAS)],
        [trtllm(), trtllm(gpt_model_type="v1"), trtllm(gpt_model_type="inflight_batching"), trtllm(gpt_model_type=None)],
    ),
    "trtllm-value": (
        [(trtllm(batch_scheduler_policy="max_utilisation"), 'batch_scheduler_policy is "max_utilisation"', ERAS),
         (trtllm(decoding_mode="greedy"), "there are top_k, top_p", ERAS), (trtllm(enable_kv_cache_reuse="yes"), 'is "yes"', ERAS),
         (trtllm(max_beam_width="wide"), "which is no number", ERAS), (trtllm(num_nodes="two"), "no number", NEW),
         (trtllm(kv_cache_free_gpu_mem_fraction="most"), "no number", ERAS)],
        [trtllm(batch_scheduler_policy="max_utilization", decoding_mode="top_k", enable_kv_cache_reuse="True", max_beam_width="4"),
         trtllm(kv_cache_free_gpu_mem_fraction=".5", gpt_model_type="other"), trtllm(max_beam_width="${max_beam_width}"),
         trtllm(enable_chunked_context="")],
    ),
    "trtllm-template": (
        [(trtllm(max_beam_width="${max_beam_width}"), 'max_beam_width is still "${max_beam_width}"', ERAS),
         (member("after", tokenizer_dir="${tokenizer_dir}"), "tokenizer_dir is still", ERAS)],
        [trtllm(), trtllm(gpt_model_path="${engine_dir}"), text("python", EXECUTION_ENV_PATH="$$TRITON_MODEL_DIRECTORY/env.tar.gz")],
    ),
    "trtllm-fraction": (
        [(trtllm(kv_cache_free_gpu_mem_fraction="90"), "kv_cache_free_gpu_mem_fraction is 90", ERAS),
         (trtllm(cross_kv_cache_fraction="-1"), "cross_kv_cache_fraction is -1", ERAS),
         (trtllm(kv_cache_free_gpu_mem_fraction="0"), "is 0", ERAS)],
        [trtllm(), trtllm(kv_cache_free_gpu_mem_fraction="1.0"), trtllm(kv_cache_free_gpu_mem_fraction="most")],
    ),
    "trtllm-guided": (
        [(trtllm(guided_decoding_backend="xgrammar"), 'guided_decoding_backend is "xgrammar"', OLD)],
        [trtllm(), trtllm(guided_decoding_backend="${guided_decoding_backend}")],
    ),
    "trtllm-lookahead": (
        [(trtllm(decoding_mode="lookahead"), "without lookahead_window_size", NEW),
         (trtllm(decoding_mode="lookahead", lookahead_window_size="5", lookahead_ngram_size="3"), "lookahead_verification_set_size", NEW)],
        [trtllm(), trtllm(decoding_mode="top_k")],
    ),
    "trtllm-tensors": (
        [(trtllm(added("random_seed", "UINT64")), "random_seed, which this model does not have in this era", NEW),
         (trtllm(added("seed", "UINT64")), "seed, which this model does not have in this era", OLD),
         (trtllm(added("prompt", "STRING")), "prompt, which this model does not have", ERAS),
         (trtllm('input [ { name: "input_ids" data_type: TYPE_INT32 dims: [ -1 ] } ]'), "no input input_lengths", ERAS),
         (trtllm('output [ { name: "output_ids" data_type: TYPE_UINT32 dims: [ -1, -1 ] } ]'), "output_ids is UINT32, and INT32", ERAS)],
        [trtllm(), trtllm(f"input [ {IDS} ]"), trtllm('output [ { name: "context_logits" data_type: TYPE_FP16 dims: [ -1, -1 ] } ]'),
         trtllm(SAMPLED)],
    ),
    "trtllm-form": ([(trtllm(SAMPLED), "the tensors of the LLM API with the backend tensorrtllm", ERAS)], [trtllm(), llmapi()]),
    "trtllm-dropped": ([(trtllm(), 'backend "tensorrtllm"', ("current",))], [llmapi()]),
    "trtllm-engine-batch": ([], [trtllm("max_batch_size: 64")]),
    "trtllm-engine-ranks": ([], [trtllm(gpu_device_ids="0,1")]),
    "trtllm-text-model": (
        [(member("before", tokenizer_dir=None), "no tokenizer_dir", ERAS), (member("after", tokenizer_dir=""), "no tokenizer_dir", ERAS),
         (member("before", visual_model_path=None), "no visual_model_path", OLD),
         (member("before", multimodal_model_path=None), "no multimodal_model_path", NEW),
         (member("before", without="PIXEL_VALUES"), "no output PIXEL_VALUES", ERAS),
         (member("before", without="EMBEDDING_BIAS_WORDS"), "no input EMBEDDING_BIAS_WORDS", ERAS)],
        [member("before"), member("after"), member("before", without="PAD_ID"), text("python")],
    ),
    "trtllm-text-decoupled": (
        [(member("after", "model_transaction_policy { decoupled: true }"), "decoupled: true after the engine", ERAS),
         (member("before", "model_transaction_policy { decoupled: true }"), "decoupled: true before the engine", ERAS)],
        [member("after"), text("python", "model_transaction_policy { decoupled: true }")],
    ),
    "trtllm-ensemble": ([], ['platform: "ensemble" ensemble_scheduling { step [ { model_name: "other" } ] }', trtllm()]),
    "trtllm-streaming": ([], ['platform: "ensemble" ensemble_scheduling { step [ { model_name: "other" } ] }']),
    "llmapi-era": ([(llmapi(), "a model of the LLM API", OLD)], [text("python"), member("after")]),
    "llmapi-tensors": (
        [(llmapi(SAMPLED, 'input [ { name: "max_tokens" data_type: TYPE_INT32 dims: [ 1 ] } ]'), "input max_tokens, which", ERAS),
         (llmapi(SAMPLED.replace("INT32", "UINT32")), "sampling_param_max_tokens is UINT32, and INT32", ERAS),
         (llmapi('input [ { name: "sampling_param_top_k" data_type: TYPE_INT32 dims: [ 1 ] } ]'), "no input text_input", ERAS)],
        [llmapi(), llmapi(SAMPLED, 'input [ { name: "lora_id" data_type: TYPE_UINT64 dims: [ 1 ] } ]'), text("python")],
    ),
    "llmapi-batch": ([(llmapi("max_batch_size: 8", SAMPLED), "max_batch_size 8", ERAS)], [llmapi(), text("python", "max_batch_size: 8")]),
    "llmapi-yaml": ([], [llmapi()]),
    "llmapi-decoupled": ([], [llmapi("model_transaction_policy { decoupled: true }", SAMPLED)]),
    "llmapi-instances": (
        [(llmapi(group=TWO), '2 instances with gpu_device_ids ""', ERAS),
         (llmapi(group=TWO, gpu_device_ids="0,1"), '"0,1"', ERAS)],
        [llmapi(), llmapi(group=TWO, gpu_device_ids="0,1;2,3"),
         text("python", group=TWO)],
    ),
    "llmapi-architecture": ([], [llmapi()]),
    "fil-contradiction": ([(fil(is_classifier="false"), "true", NEW)], [fil(), fil(output_class=None)]),
}  # fmt: skip
FOUND = [(name, *case) for name, (found, _) in CASES.items() for case in found]
LEFT = [(name, config) for name, (_, left) in CASES.items() for config in left]
ON_DISK = {"name", "no-model-file", "not-built", "fil-model-type"}
ON_DISK |= {"tf-saved-model", "tf-signature", "tf-other-signature", "tf-tensors", "tf-calls-only"}
ON_DISK |= {"ft-checkpoint", "ft-epsilon"}
ON_DISK |= {"vllm-kind", "vllm-model-json"}
ON_DISK |= {"trtllm-engine-batch", "trtllm-engine-ranks", "trtllm-ensemble", "trtllm-streaming"}
ON_DISK |= {"llmapi-yaml", "llmapi-decoupled", "llmapi-architecture"}


def by_rule(config: str, name: str, directory: Path | None = None) -> list[lint.Finding]:
    """What one rule finds."""
    return [found for found in lint.check(repository.parse(config), directory=directory) if found.rule == name]


@pytest.mark.parametrize(("name", "config", "said", "eras"), FOUND)
def test_a_rule_finds_what_it_is_about(name, config, said, eras):
    found = [finding for finding in by_rule(config, name) if said in finding.what]
    assert [finding.eras for finding in found] == [eras], by_rule(config, name)
    rule = next(rule for rule in rules.RULES if rule.name == name)
    line = found[0].line()
    assert (found[0].severity, found[0].why, found[0].fix) == (rule.severity, rule.why, rule.fix) and "\n" not in line
    assert (f"era {eras[0]}" in line) == (eras != ERAS)


@pytest.mark.parametrize(("name", "config"), LEFT)
def test_a_rule_leaves_the_rest_alone(name, config):
    assert by_rule(config, name) == []


def test_every_rule_is_tested_and_described():
    assert {rule.name for rule in rules.RULES} == {*CASES, *ON_DISK}
    for rule in rules.RULES:
        assert rule.severity in lint.SEVERITIES and set(rule.eras) <= set(ERAS), rule.name
        assert all((rule.finds, rule.why, rule.fix, rule.source)), rule.name
    defined = {name: value for module in (rules, *rules.MODULES) for name, value in vars(module).items()}
    finders = {name for name, value in defined.items() if name.startswith("_") and getattr(value, "__code__", None)}
    helpers = {
        "_table",
        "_class_key",
        "_sides",
        "_type",
        "_built",
        "_text_model",
        "_members",
        "_llmapi",
        "_yamls",
        "_triton",
    }
    assert finders - helpers == {"_" + rule.name.replace("-", "_") for rule in rules.RULES}


def test_every_key_that_a_rule_names_is_in_a_backends_table():
    names = (
        "onnxruntime",
        "openvino",
        "fil",
        "tensorrt",
        "pytorch",
        "tensorflow",
        "fastertransformer",
        "vllm",
        "tensorrtllm",
    )
    tables = [importlib.import_module(f"accelkit.backends.{name}.keys") for name in names]
    known = (
        {key.name for table in tables for key in table.KEYS} | {*tables[0].TENSORRT, *tables[0].CUDA} | set(rules.CORE)
    )
    source = "".join(Path(module.__file__).read_text() for module in (rules, *rules.MODULES))
    named = set(re.findall(r'"([A-Z]+(?:_[A-Z0-9]+)+|[a-z]+(?:_[a-z]+)+)"', source))
    others = {
        "KIND_CPU",
        "KIND_GPU",
        "instance_group",
        "max_batch_size",
        "torch_aoti",
        "dynamic_batching",
        "graph_lower_bound",
        "pytorch_libtorch",
        "default_model_filename",
        "model_transaction_policy",
    }
    assert len(named) > 10 and named - others <= known


def model(folder: Path, name: str, config: str, *files: str) -> Path:
    """A model's directory with these files in version 1."""
    (folder / name).mkdir(parents=True)
    (folder / name / "config.pbtxt").write_text(config)
    for file in files:
        target = folder / name / "1" / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch() if file != "." else target.mkdir(exist_ok=True)
    return folder / name


def on_disk(directory: Path) -> dict[str, str]:
    """Severity of what the rules find in a model's directory, by rule."""
    return {found.rule: found.severity for found in lint.file(directory / "config.pbtxt")}


def test_what_lies_beside_the_config(tmp_path):
    assert on_disk(model(tmp_path, "good", 'name: "good"\n' + ort(), "model.onnx")) == {}
    assert on_disk(model(tmp_path, "renamed", 'name: "other"\n' + ort(), "model.onnx")) == {"name": "error"}
    assert on_disk(model(tmp_path, "unbuilt", ort())) == {"not-built": "info"}
    assert on_disk(model(tmp_path, "empty", ort(), "net.onnx")) == {"no-model-file": "error"}
    assert on_disk(model(tmp_path, "named", 'default_model_filename: "net.onnx"\n' + ort(), "net.onnx")) == {}
    assert on_disk(model(tmp_path, "ir", openvino(), "model.xml")) == {}
    assert on_disk(model(tmp_path, "planned", plan(), "model.plan")) == {}
    assert on_disk(model(tmp_path, "planless", plan(), "plan.trt")) == {"no-model-file": "error"}
    assert on_disk(model(tmp_path, "other", text("custom"), "anything")) == {"foreign-backend": "warning"}


def test_what_model_json_says_is_held_against_the_config(tmp_path):
    def made(name: str, config: str, content: str) -> dict[str, str]:
        directory = model(tmp_path, name, config, "model.json")
        (directory / "1/model.json").write_text(content)
        return on_disk(directory)

    two = '{"model": "m", "tensor_parallel_size": 2}'
    assert made("good", vllm(), two) == {}
    assert made("one", vllm(group="instance_group [ { kind: KIND_GPU } ]"), '{"model": "m"}') == {}
    assert made("gpu", vllm(group="instance_group [ { kind: KIND_GPU } ]"), two) == {"vllm-kind": "error"}
    for name, content in (
        ("none", "{"),
        ("nameless", '{"dtype": "half"}'),
        ("old", '{"model": "m", "tensor_para_size": 2}'),
    ):
        assert made(name, vllm(), content) == {"vllm-model-json": "error"}
    assert on_disk(model(tmp_path, "empty", vllm(), "other")) == {"vllm-model-json": "error"}


def test_an_engine_is_held_against_the_config(tmp_path):
    engine = tmp_path / "engine"
    engine.mkdir()
    (engine / "config.json").write_text('{"build_config": {"max_batch_size": 8}}')
    for rank in (0, 1):
        (engine / f"rank{rank}.engine").touch()

    def found(*parts: str, **values: str) -> dict[str, str]:
        config = repository.parse(trtllm(*parts, gpt_model_path=str(engine), **values))
        return {one.rule: one.severity for one in lint.check(config, eras=NEW[:1])}

    assert found("max_batch_size: 8", gpu_device_ids="0,1;2,3") == {}
    assert found("max_batch_size: 16") == {"trtllm-engine-batch": "warning"}
    assert found("max_batch_size: 8", gpu_device_ids="0,1;2") == {"trtllm-engine-ranks": "error"}
    (engine / "config.json").write_text("{")
    assert found("max_batch_size: 16", gpu_device_ids="0") == {}


def test_streaming_needs_an_engine_that_is_decoupled(tmp_path):
    step = 'model_name: "engine" input_map { key: "streaming" value: "stream" } input_map { key: "input_lengths" value: "n" }'
    (tmp_path / "all").mkdir()
    ensemble = model(
        tmp_path, "all/ensemble", f'platform: "ensemble" ensemble_scheduling {{ step [ {{ {step} }} ] }}', "."
    )
    stream = '{ name: "streaming" data_type: TYPE_BOOL dims: [ 1 ] optional: true }'
    ids = IDS.partition(", {")[0]
    inputs = f"input [ {ids}, {stream} ]"
    for policy, said in (("", {"trtllm-streaming": "info"}), ("model_transaction_policy { decoupled: true }", {})):
        (tmp_path / "all/engine").mkdir(exist_ok=True)
        (tmp_path / "all/engine/config.pbtxt").write_text(trtllm(inputs, policy))
        assert on_disk(ensemble) == said


def test_what_model_yaml_says_is_held_against_the_config(tmp_path):
    pytest.importorskip("yaml")
    told = "triton_config:\n  max_batch_size: 0\n  decoupled: false\n"

    def made(name: str, content: str, *parts: str) -> dict[str, str]:
        directory = model(tmp_path, name, llmapi(*parts, SAMPLED) if parts else llmapi(), "model.yaml")
        (directory / "1/model.yaml").write_text(content)
        return {found.rule: found.severity for found in lint.file(directory / "config.pbtxt", NEW)}

    assert made("good", f"model: m\n{told}") == {}
    assert made("same", f"model: m\n{told}", "model_transaction_policy { decoupled: false }") == {}
    assert made("other", f"model: m\n{told}", "model_transaction_policy { decoupled: true }") == {
        "llmapi-decoupled": "error"
    }
    assert made("batch", f"model: m\n{told.replace('0', '8')}") == {"llmapi-batch": "error"}
    for number, content in enumerate((
        "model: [", "- model", f"dtype: float16\n{told}", "model: m\n", "model: m\ntriton_config:\n  decoupled: false\n",
        f"model: m\nmax_model_len: 4096\n{told}", f"model: m\nbackend: tensorrt\n{told}",
        f"model: m\nkv_cache_config:\n  free_gpu_memory_fraction: 90\n{told}",
    )):  # fmt: skip
        assert made(f"bad{number}", content) == {"llmapi-yaml": "error"}, content
    gpt2 = tmp_path / "gpt2"
    gpt2.mkdir()
    (gpt2 / "config.json").write_text('{"architectures": ["GPT2LMHeadModel"]}')
    assert made("gpt", f"model: {gpt2}\n{told}") == {"llmapi-architecture": "error"}
    assert made("deployed", f"model: {gpt2}\nbackend: _autodeploy\n{told}") == {}
    (gpt2 / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    assert made("llama", f"model: {gpt2}\n{told}") == {}
    assert on_disk(model(tmp_path, "empty", llmapi(), "other"))["llmapi-yaml"] == "error"
    assert on_disk(model(tmp_path, "engined", trtllm(), "model.yaml"))["trtllm-form"] == "error"


def test_a_checkpoint_is_held_against_the_config(tmp_path):
    sizes = layout.Sizes(2, 4, 32, 64, 32, 512, 511)
    state = weights.seeded(sizes)

    def made(name: str, config: str, ranks: int, change: tuple[str, str] = ("", "")) -> dict[str, str]:
        directory = checkpoint.write(state, sizes, model(tmp_path, name, config, ".") / "1", ranks)
        ini = directory / "config.ini"
        ini.write_text(ini.read_text().replace(*change))
        return {rule: severity for rule, severity in on_disk(tmp_path / name).items() if rule != "ft-compiled"}

    assert made("good", ft(), 2) == {}
    assert made("cut", ft(), 4) == {"ft-checkpoint": "error"}
    assert made("other", ft(), 2, ("para_size = 2", "para_size = 4")) == {"ft-checkpoint": "error"}
    assert made("stages", ft(pipeline_para_size="4"), 2) == {"ft-checkpoint": "error"}
    assert made("damaged", ft(), 2, ("head_num = 4", "")) == {"ft-checkpoint": "error"}
    assert made("epsilon", ft(), 2, ("layernorm_eps = 1e-05\n", "")) == {"ft-epsilon": "warning"}
    assert made("elsewhere", ft(model_checkpoint_path="/models/gpt"), 4) == {}


def test_a_backend_that_lies_with_its_model_is_not_foreign(tmp_path):
    folder = model(tmp_path, "own", text("mine"), "libtriton_mine.so")
    assert on_disk(folder) == {}
    (folder / "1/libtriton_mine.so").rename(folder / "1/libtriton_other.so")
    assert on_disk(folder) == {"foreign-backend": "warning"}


def test_the_form_of_a_forest_is_held_against_its_model_type(tmp_path):
    assert on_disk(model(tmp_path, "default", fil(), "xgboost.ubj")) == {"fil-model-type": "error"}
    assert on_disk(model(tmp_path, "wrong", fil(model_type="lightgbm"), "xgboost.json")) == {"fil-model-type": "error"}
    assert on_disk(model(tmp_path, "right", fil(model_type="xgboost_ubj"), "xgboost.ubj")) == {}
    assert on_disk(model(tmp_path, "absent", fil(), "notes.txt")) == {"no-model-file": "error"}


SIDES = (
    'input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] } ] output [ { name: "y" data_type: TYPE_FP32 dims: [ 4 ] } ]'
)


def test_what_a_saved_model_is(tmp_path):
    def given(name: str, data: bytes, *parts: str, **values: str) -> list[tuple[str, str, str]]:
        folder = model(tmp_path, name, tf(*parts, kind="KIND_CPU", **values), "model.savedmodel/saved_model.pb")
        (folder / "1/model.savedmodel/saved_model.pb").write_bytes(data)
        return [(found.rule, found.severity, found.what) for found in lint.file(folder / "config.pbtxt", OLD)]

    assert given("good", made.plain(), SIDES) == []
    assert given("bare", made.plain()) == []
    (found,) = given("damaged", made.plain()[:-5])
    assert found[:2] == ("tf-saved-model", "error") and found[2].endswith("saved_model.pb is damaged")
    (found,) = given("unsigned", made.saved_model({"__saved_model_init_op": b""}))
    assert found == ("tf-signature", "error", 'model.savedmodel without the signature "serving_default", it has none')
    (found,) = given("other", made.plain("serve", "mine"))
    assert found[:2] == ("tf-other-signature", "warning") and "one of mine is served" in found[2]
    assert given("named", made.plain("serve", "mine"), TF_SIGNATURE_DEF="mine") == []
    (found,) = given("misnamed", made.plain(), TF_SIGNATURE_DEF="mine")
    assert found[:2] == ("tf-signature", "error") and '"mine", it has serving_default' in found[2]
    (found,) = given("tag", made.plain("train"))
    assert found[:2] == ("tf-signature", "error") and 'without the tag "serve", it has train' in found[2]
    (found,) = given("tensor", made.plain(), SIDES.replace('"x"', '"serving_default_x:0"'))
    assert found[:2] == ("tf-tensors", "error") and 'input "serving_default_x:0", the signature' in found[2]
    empty = model(tmp_path, "empty", tf(kind="KIND_CPU"), "model.savedmodel/assets")
    assert on_disk(empty)["tf-saved-model"] == "error"
    nothing = model(tmp_path, "nothing", text("tensorflow"), "model.pb")
    assert on_disk(nothing)["tf-platform"] == "error"


CALLING = [made.node("x", "Placeholder"), made.node("v", "VarHandleOp"), made.node("f", "StatefulPartitionedCall")]
CONV, TAKEN = [made.node("c", "Conv2D")], [made.node("e", "TRTEngineOp", "segment", "FP16")]


@pytest.mark.parametrize(
    ("nodes", "functions", "config", "wanted"),
    [
        (CALLING, {"f": CONV}, tf(trt()), ["tf-calls-only"]),
        (CALLING, {"f": CONV}, tf(accelerator("gpu", "tensorrt")), ["tf-calls-only"]),
        (CALLING, {"f": CONV}, tf(trt(), kind="KIND_CPU"), ["gpu-accelerator-on-cpu"]),
        (CALLING, {"f": CONV}, tf(), []),
        (CALLING, {"f": TAKEN, "segment": CONV}, tf(trt()), []),
        ([*CALLING, *CONV], {"f": CONV}, tf(accelerator("gpu", "tensorrt")), ["tf-first-requests"]),
        (CALLING[:1], {}, tf(trt()), []),
    ],
)
def test_the_accelerator_finds_no_segment_in_functions(nodes, functions, config, wanted, tmp_path):
    one = made.signature({"x": ("x:0", made.FLOAT, [-1, 4])}, {"y": ("y:0", made.FLOAT, [-1, 4])})
    folder = model(tmp_path, "keras", config, "model.savedmodel/saved_model.pb")
    data = made.saved_model({"serving_default": one}, nodes, functions)
    (folder / "1/model.savedmodel/saved_model.pb").write_bytes(data)
    found = lint.file(folder / "config.pbtxt", OLD)
    assert [(one.rule, one.severity) for one in found] == [(rule, "warning") for rule in wanted]


def test_every_committed_config_is_free_of_findings():
    files = lint.configs([ROOT / "model_repository"])
    assert len(files) > 1
    for file in files:
        assert "era" in file.read_text().partition("name:")[0], f"{file} names no era"
        assert [found.line() for found in lint.file(file) if found.severity != "info"] == []
