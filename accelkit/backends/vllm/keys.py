"""Every setting that the official vllm backend reads, its files and its tensors."""

from __future__ import annotations

from accelkit.backends.key import ERAS, Key

_SOURCE = "vllm_backend src/model.py"

METRICS = Key(
    "REPORT_CUSTOM_METRICS", "string", "false", ERAS,
    "true, and nothing else, reports the engine's own metrics through Triton; not in the stand-in", _SOURCE,
)  # fmt: skip
HEALTH = Key(
    "ENABLE_VLLM_HEALTH_CHECK", "string", "false", ERAS,
    "true, and nothing else, asks the engine before every request and unloads the model when it is dead", _SOURCE,
)  # fmt: skip

KEYS: tuple[Key, ...] = (METRICS, HEALTH)
ON = "true"
ARGUMENTS, LORA = "model.json", "multi_lora.json"
"""Files of a version: the arguments of the engine (AsyncEngineArgs), and the adapters where it has any."""
TENSOR_PARA, PIPELINE_PARA, ADAPTERS = "tensor_parallel_size", "pipeline_parallel_size", "enable_lora"
"""The arguments that the backend itself looks at."""
ELSEWHERE = {
    "tensor_para_size": "tensor_parallel_size", "pipeline_para_size": "pipeline_parallel_size", "tp_size": "tensor_parallel_size",
    "pp_size": "pipeline_parallel_size", "max_seq_len": "max_model_len", "max_batch_size": "max_num_seqs",
    "kv_cache_free_gpu_mem_fraction": "gpu_memory_utilization", "data_type": "dtype", "disable_log_requests": "enable_log_requests",
}  # fmt: skip
"""Names of FasterTransformer, TensorRT-LLM and older versions, and what the engine calls it."""
TEXT, STREAM, SAMPLING, WITHOUT_PROMPT = "text_input", "stream", "sampling_parameters", "exclude_input_in_output"
RETURNS = {
    "return_finish_reason": "finish_reason", "return_cumulative_logprob": "cumulative_logprob",
    "return_logprobs": "logprobs", "return_num_input_tokens": "num_input_tokens",
    "return_num_output_tokens": "num_output_tokens",
}  # fmt: skip
"""What a request asks for, and the output that brings it."""
ABSENT = ("image", "embedding_request")
"""Inputs that the stand-in does not have."""
INPUTS: dict[str, tuple[str, int]] = {
    TEXT: ("STRING", 1), "image": ("STRING", -1), STREAM: ("BOOL", 1), SAMPLING: ("STRING", 1),
    WITHOUT_PROMPT: ("BOOL", 1), **dict.fromkeys(RETURNS, ("BOOL", 1)), "embedding_request": ("STRING", 1),
}  # fmt: skip
OUTPUTS: dict[str, tuple[str, int]] = {
    "text_output": ("STRING", -1), "finish_reason": ("STRING", -1), "cumulative_logprob": ("FP32", -1),
    "logprobs": ("STRING", -1), "num_input_tokens": ("UINT32", 1), "num_output_tokens": ("UINT32", -1),
}  # fmt: skip
"""Type and length of every tensor; all inputs but the first are optional."""


def on(key: Key, parameters: dict[str, str]) -> bool:
    """Whether a parameter is on, as the backend reads it."""
    return parameters.get(key.name, key.default).lower() == ON
