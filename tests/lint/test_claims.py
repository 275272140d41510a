"""What the rules claim of the server, on the running one: errors do not load, warnings load without the effect."""

from __future__ import annotations

import re
from pathlib import Path

import forests
import pytest
import saved_model_bytes
import small

from accelkit import lint, machine, paths
from accelkit.errors import RequestError
from accelkit.serving import Server

pytest.importorskip("onnxruntime_ep_openvino")
MISSING = paths.get("onnxruntime-openvino").unavailable(machine.probe())
CPU = "instance_group [ { kind: KIND_CPU count: 1 } ]"
OPENVINO = 'default_model_filename: "model.onnx"'


def given(**values: str) -> str:
    """Top-level parameters."""
    return "".join(f'\nparameters {{ key: "{k}" value: {{ string_value: "{v}" }} }}' for k, v in values.items())


def accelerator(side: str, name: str, more: str = "") -> str:
    """An execution accelerator."""
    listed = f'{side}_execution_accelerator: [ {{ name: "{name}" {more} }} ]'
    return f"\noptimization {{ execution_accelerators {{ {listed} }} }}"


def fil(**change: str | None) -> str:
    """A config of the backend fil, which the server's stand-in reads as the current era does."""
    return forests.config("xgboost_json", **change)


def tf(more: str = "", kind: str = "KIND_CPU") -> str:
    """A config of the backend tensorflow."""
    return f'platform: "tensorflow_savedmodel"\n{CPU.replace("KIND_CPU", kind)}\n{more}'


SAVED = "model.savedmodel/saved_model.pb"
PLAIN, IR = small.config(), small.config("openvino") + OPENVINO
PADDED = given(ENABLE_BATCH_PADDING="YES")
JSON = forests.xgboost().content
# Model: the rule, its config, the file and its content, and what the refusal says; None for what loads.
CLAIMS: dict[str, tuple] = {
    "unknown_key": ("unknown-parameter", PLAIN + given(nope="1"), "model.onnx", None),
    "plan_cpu": ("plan-cpu", small.config("tensorrt"), "model.plan", "TensorRT backend supports only GPU device"),
    "misnamed": ("name", 'name: "other"' + PLAIN, "model.onnx", "unexpected directory name 'misnamed' for model 'other'"),
    "misspelt": ("misspelt-backend", 'backend: "onnxruntme"', "model.onnx", "unable to find backend library for backend 'onnxruntme'"),
    "as_platform": ("misspelt-backend", 'backend: "onnxruntime_onnx"', "model.onnx", "unable to find backend library"),
    "no_platform": ("unknown-platform", 'platform: "onnxruntime_onx"', "model.onnx", "unexpected platform type 'onnxruntime_onx'"),
    "pair": ("unknown-platform", PLAIN + 'platform: "tensorrt_plan"', "model.onnx", "unexpected 'platform' and 'backend' pair"),
    "free_platform": ("openvino-padding", IR + 'platform: "anything"', "model.onnx", None),
    "aoti": ("platform-gone", 'platform: "torch_aoti"', "model.pt2", "unexpected platform type 'torch_aoti'|Could not determ"),
    "fileless": ("no-model-file", PLAIN, "net.onnx", "failed to stat file .*/fileless/1/model.onnx"),
    "level_3": ("graph-level", PLAIN + "optimization { graph { level: 3 } }", "model.onnx", None),
    "no_group": ("two-instances", PLAIN.replace(CPU, ""), "model.onnx", None),
    "no_count": ("two-instances", PLAIN.replace(" count: 1", ""), "model.onnx", None),
    "threads_two": ("bad-value", PLAIN + given(intra_op_thread_count="two"), "model.onnx", "failed to convert 'two'"),
    "arena_maybe": ("bad-value", PLAIN + given(enable_mem_arena="maybe"), "model.onnx", "failed to convert 'maybe'"),
    "mode_2": ("execution-mode", PLAIN + given(execution_mode="2"), "model.onnx", "are 0 or 1 but got 2"),
    "accelerator": ("unknown-accelerator", PLAIN + accelerator("cpu", "OpenVINO"), "model.onnx", "unknown Execution Acc"),
    "gpu_on_cpu": ("gpu-accelerator-on-cpu", PLAIN + accelerator("gpu", "cuda"), "model.onnx", None),
    "ignored": (
        "openvino-parameter", PLAIN + accelerator("cpu", "openvino", 'parameters { key: "x" value: "y" }'), "model.onnx", None
    ),
    "elsewhere": ("accelerator-elsewhere", IR + PADDED + accelerator("cpu", "nonsense"), "model.onnx", None),
    "ov_gpu": ("openvino-kind-gpu", (IR + PADDED).replace("KIND_CPU", "KIND_GPU"), "model.onnx", "GPU"),
    "ov_true": ("openvino-boolean", IR + given(ENABLE_BATCH_PADDING="true"), "model.onnx", None),
    "ov_unpadded": ("openvino-padding", IR, "model.onnx", None),
    "ov_hint": ("openvino-value", IR + PADDED + given(PERFORMANCE_HINT="FAST"), "model.onnx", "'PERFORMANCE_HINT' to be"),
    "ov_bf16": ("openvino-value", IR + PADDED + given(HINT_BF16="NO"), "model.onnx", "'HINT_BF16' to be YES, got no"),
    "ov_streams": ("openvino-value", IR + PADDED + given(NUM_STREAMS="many"), "model.onnx", "'NUM_STREAMS' to be either"),
    "ov_compile": (
        "openvino-compilation", IR + PADDED + given(COMPILATION_NUM_THREADS="1"), "model.onnx", "Unsupported property COMPILATION_NUM"
    ),
    "ov_idle": ("openvino-streams", IR + PADDED + given(NUM_STREAMS="2"), "model.onnx", None),
    "classless": (
        "fil-class", fil(is_classifier=None, output_class=None), "xgboost.json", "Required parameter is_classifier not found"
    ),
    "no_threshold": ("fil-threshold", fil(threshold=None), "xgboost.json", "Required parameter threshold not found"),
    "True": ("fil-boolean", fil(predict_proba="True"), "xgboost.json", "Expected 'true' or 'false' for parameter"),
    "algo": ("fil-renamed", fil(algo="NAIVE"), "xgboost.json", None),
    "old_wins": ("fil-contradiction", fil(is_classifier="false", output_class="true"), "xgboost.json", None),
    "ubj_default": ("fil-model-type", forests.config(None), "xgboost.json", "xgboost.model"),
    "tf_platform": ("tf-platform", 'backend: "tensorflow" platform: "tensorflow"', SAVED, "'platform' and 'backend' pair|platform"),
    "tf_threads": ("tf-value", tf(given(TF_NUM_INTRA_THREADS="-1")), SAVED, "must be non-negative number"),
    "tf_cpu": ("tf-accelerator", tf(accelerator("cpu", "openvino")), SAVED, "CPU Execution Accelerator is not supported"),
    "tf_dynamic": (
        "tf-tensorrt-parameter", tf(accelerator("gpu", "tensorrt", 'parameters { key: "is_dynamic_op" value: "1" }'), "KIND_MODEL"),
        SAVED, "unknown parameter 'is_dynamic_op'",
    ),
    "tf_empty": ("tf-saved-model", tf(), "model.savedmodel/saved_model.bin", "Could not find SavedModel .pb or .pbtxt"),
    "tf_unsigned": ("tf-signature", tf(given(TF_SIGNATURE_DEF="mine")), SAVED, "expected 'mine' signature"),
    "tf_tensor": (
        "tf-tensors", tf('input [ { name: "serving_default_x:0" data_type: TYPE_FP32 dims: [ -1, 4 ] } ]'), SAVED,
        "unexpected inference input 'serving_default_x:0', allowed inputs are: x",
    ),
}  # fmt: skip
# Rules about what this server cannot show: a GPU, TensorRT, or the absence of anything to load.
UNSEEN = {
    "cuda-overwritten",
    "cuda-option",
    "cuda-graph",
    "cuda-changing-batches",
    "cuda-tf32",
    "gpu-value",
    "tensorrt-parameter",
    "precision-mode",
}
UNSEEN |= {"accelerator-profile", "accelerator-cache", "not-built", "foreign-backend"}
# Those of PyTorch's files are held in tests/backends/test_pytorch.py, but for those about servers of other eras.
UNSEEN |= {"torch-names", "torch-index", "torch-parameter", "torch-platform", "aoti-names", "aoti-platform", "aoti-era"}
# Of the backend tensorflow, what loads needs TensorFlow: tests/backends/test_tensorflow.py loads it.
UNSEEN |= {"tf-accelerator-ignored", "tf-first-requests", "tf-xla-on-cpu", "tf-other-signature"}
UNSEEN |= {"tf-calls-only"}  # needs TensorFlow's TensorRT on a GPU: the record of lesson 09
# Held against the stand-in in tests/backends/test_fastertransformer.py, where there are checkpoints.
UNSEEN |= {"ft-compiled", "ft-required", "ft-value", "ft-renamed", "ft-instance-group", "ft-tensors", "ft-ragged"}
UNSEEN |= {"ft-checkpoint", "ft-epsilon"}
# Held against the stand-in in tests/backends/test_vllm.py, where there is a made-up engine.
UNSEEN |= {"vllm-kind", "vllm-instances", "vllm-batch", "vllm-tensors", "vllm-coupled", "vllm-model-json"}
# Nothing of TensorRT-LLM is here to hold them against: tests/lint/test_rules.py holds them against what its files say.
UNSEEN |= {rule.name for rule in lint.RULES if rule.name.startswith(("llmapi-", "trtllm-"))}
UNSEEN |= {"plan-profile", "plan-allocation", "plan-graph-spec", "plan-graphs-few", "plan-graphs-unused"}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """The server, its repository, and what each load said, None when it succeeded."""
    repository = tmp_path_factory.mktemp("repository")
    for name, (_, text, file, _) in CLAIMS.items():
        content = JSON if file.startswith("xgboost") else small.identity()
        content = saved_model_bytes.plain() if file == SAVED else content
        small.add(repository, name, text, content, file)
    with Server(repository, models=[]) as server:
        said = small.load_all(server, CLAIMS)
        yield server, repository, said


def found(repository: Path, name: str) -> lint.Finding:
    """What the claimed rule finds in a model's config."""
    findings = lint.file(repository / name / "config.pbtxt")
    return next(finding for finding in findings if finding.rule == CLAIMS[name][0])


@pytest.mark.parametrize("name", CLAIMS)
def test_an_error_does_not_load_and_a_warning_does(loaded, name):
    server, repository, said = loaded
    expected = CLAIMS[name][3]
    assert found(repository, name).severity == ("warning" if expected is None else "error")
    if name == "ignored" and MISSING:
        pytest.skip(MISSING)
    if expected is None:
        assert said[name] is None and server.ready(name)
    else:
        assert re.search(expected, said[name] or "it loaded"), said[name]


def test_every_rule_is_held_against_the_server():
    assert {rule for rule, *_ in CLAIMS.values()} | UNSEEN == {rule.name for rule in lint.RULES}


def test_without_a_count_there_are_two_instances(loaded):
    server, *_ = loaded
    for name in ("no_group", "no_count"):
        assert [group["count"] for group in server.config(name)["instance_group"]] == [2], name
    assert [group["count"] for group in server.config("unknown_key")["instance_group"]] == [1]


def test_true_is_not_yes_and_smaller_batches_are_refused_without_padding(loaded):
    server, *_ = loaded
    for name in ("ov_true", "ov_unpadded"):
        with pytest.raises(RequestError, match="expected requests with batch size '16', got '3'"):
            server.infer(name, {"input.1": small.image(3)})
        assert server.infer(name, {"input.1": small.image(16)})["out"].shape == (16, *small.IMAGE)
    assert server.infer("elsewhere", {"input.1": small.image(3)})["out"].shape == (3, *small.IMAGE)


def test_a_renamed_key_is_warned_of_in_the_log(loaded):
    server, *_ = loaded
    assert "The `algo` parameter has been removed in 25.09 release. Use `layout` instead." in server.log_tail(1_000_000)
