"""Parameters and tensors of TensorRT-LLM in Triton: of the backend tensorrtllm, which runs an engine, and of the LLM API's model.

There is no stand-in: path, linter and tests read this table. The eras are those of the images named trtllm in
versions.toml; what changed between them changed in April and May 2025.
"""

from __future__ import annotations

from accelkit.backends.key import ERAS, Key

BACKEND = "tensorrtllm"
OLD, NEW = ERAS[:1], ERAS[1:]
_CC = "tensorrtllm_backend r25.02 and r25.05 inflight_batcher_llm/src/model_instance_state.cc"
_MODELS = "tensorrtllm_backend r25.02 and r25.05 all_models/inflight_batcher_llm/preprocessing/1/model.py"
_STATE = "tensorrtllm_backend r25.02 and r25.05 inflight_batcher_llm/src/model_state.cc"


def _key(name: str, kind: str, default: str, effect: str, eras: tuple[str, ...] = ERAS, source: str = _CC) -> Key:
    return Key(name, kind, default, eras, effect, source)


BATCHING = _key(
    "gpt_model_type",
    "string",
    "",
    "V1: batches that begin and end together; inflight_fused_batching: rows join and leave",
)
MODEL_PATH = _key("gpt_model_path", "string", "", "directory of the engine, with its config.json")
ENCODER_PATH = _key("encoder_model_path", "string", "", "directory of the encoder's engine, for models that have one")
TOKENIZER = _key(
    "tokenizer_dir", "string", "", "must be there and may be empty: the backend asks for it and does not use it"
)
GUIDED = _key(
    "guided_decoding_backend",
    "string",
    "",
    "must be there and may be empty; xgrammar guides the output, but not in the legacy era",
)
GRAMMAR = _key(
    "xgrammar_tokenizer_info_path",
    "string",
    "",
    "must be there and may be empty; what xgrammar reads of the tokenizer",
    NEW,
)
POLICY = _key(
    "batch_scheduler_policy",
    "string",
    "guaranteed_no_evict",
    "or max_utilization, which may pause a request that has begun",
)
DECODING = _key(
    "decoding_mode", "string", "", "how ids are chosen; unset: top_k_top_p, or beam_search with max_beam_width above 1"
)
FRACTION = _key(
    "kv_cache_free_gpu_mem_fraction",
    "float",
    "0.9",
    "share of the memory that the weights leave free which the cache takes",
)
CROSS_FRACTION = _key(
    "cross_kv_cache_fraction", "float", "0.5", "share of the cache for cross attention, with an encoder alone"
)
DEVICES = _key(
    "gpu_device_ids",
    "string",
    "",
    "GPUs of an instance, parted by commas; instances by semicolons; unset: all visible",
    source=_STATE,
)
LOOKAHEAD = tuple(
    _key(f"lookahead_{name}", "int", "", "size for decoding_mode lookahead, which cannot do without all three", NEW)
    for name in ("window_size", "ngram_size", "verification_set_size")
)
OTHERS = (
    _key("max_beam_width", "int", "1", "widest beam that a request may ask for; the engine must be built for it"),
    _key("max_tokens_in_paged_kv_cache", "int", "", "tokens in the cache at most"),
    _key("max_attention_window_size", "string", "", "tokens that one looks back on, or one number for each layer"),
    _key("sink_token_length", "int", "", "tokens at the beginning that stay in the window"),
    _key("kv_cache_host_memory_bytes", "int", "0", "host memory that takes blocks of the cache"),
    _key("kv_cache_onboard_blocks", "bool", "true", "whether such blocks go back to the GPU"),
    _key("enable_kv_cache_reuse", "bool", "true", "whether requests with one beginning share its blocks"),
    _key("enable_chunked_context", "bool", "false", "whether long prompts are read in parts; the engine must be built for it"),
    _key("exclude_input_in_output", "bool", "false", "whether output_ids begins behind the prompt"),
    _key("normalize_log_probs", "bool", "true", "whether output_log_probs is normalised"),
    _key("cancellation_check_period_ms", "int", "100", "how often cancelled requests are looked for"),
    _key("stats_check_period_ms", "int", "100", "how often metrics are reported"),
    _key("recv_poll_period_ms", "int", "0", "how long the orchestrator sleeps between looks"),
    _key("iter_stats_max_iterations", "int", "", "iterations whose statistics are kept"),
    _key("request_stats_max_iterations", "int", "", "iterations whose statistics by request are kept"),
    _key("num_nodes", "int", "1", "machines that the engine is spread over", NEW),
    _key("participant_ids", "string", "", "MPI ranks of an instance, written as gpu_device_ids", source=_STATE),
    _key("executor_worker_path", "string", "", "program of the orchestrator's workers", source=_STATE),
    _key("enable_trt_overlap", "bool", "false", "ignored in the legacy era; an experiment with CUDA graphs later"),
    _key("lora_cache_optimal_adapter_size", "int", "8", "adapter size that a page of the LoRA cache is made for"),
    _key("lora_cache_max_adapter_size", "int", "64", "largest adapter size"),
    _key("lora_cache_gpu_memory_fraction", "float", "0.05", "share of what the cache leaves free, for LoRA"),
    _key("lora_cache_host_memory_bytes", "int", "", "host memory for LoRA, 1 GB"),
    _key("lora_prefetch_dir", "string", "", "directory of adapters that are loaded at the start", NEW),
    _key("medusa_choices", "string", "", "tree for decoding_mode medusa"),
    _key("eagle_choices", "string", "", "tree for decoding_mode eagle"),
    _key("gpu_weights_percent", "float", "1.0", "share of the weights that stays on the GPU, from 0 to 1"),
    _key("multi_block_mode", "bool", "true", "several blocks of threads for one row's attention"),
    _key("enable_context_fmha_fp32_acc", "bool", "false", "attention over prompts adds up in FP32"),
    _key("cuda_graph_mode", "bool", "false", "CUDA graphs while ids are written"),
    _key("cuda_graph_cache_size", "int", "0", "graphs that are kept"),
    _key("speculative_decoding_fast_logits", "bool", "false", "logits go straight from the draft's process to the target's"),
    _key("FORCE_CPU_ONLY_INPUT_TENSORS", "string", "yes", "Triton's Python backend reads it", source="python_backend README.md"),
)  # fmt: skip
KEYS: tuple[Key, ...] = (
    BATCHING, MODEL_PATH, ENCODER_PATH, TOKENIZER, GUIDED, GRAMMAR, POLICY, DECODING, FRACTION, CROSS_FRACTION, DEVICES,
    *LOOKAHEAD, *OTHERS,
)  # fmt: skip
PICTURES = tuple(
    Key(
        name,
        "string",
        "",
        eras,
        "must be there and may be empty: where the model of preprocessing finds an encoder of pictures",
        _MODELS,
    )
    for name, eras in (("visual_model_path", OLD), ("multimodal_model_path", NEW))
)
"""Parameters of preprocessing, which looks up the one of its version and ends where it is missing."""
ASKED = (TOKENIZER, GUIDED, GRAMMAR)
"""What the backend asks for whether it needs it or not: where one is missing the model does not load."""
BEFORE = {"add_special_tokens": "true", **{key.name: "" for key in PICTURES}}
AFTER = {"skip_special_tokens": "true"}
"""What the path tells the models before and after the engine, beside tokenizer_dir."""
INFLIGHT = "inflight_fused_batching"
VALUES = {
    BATCHING: ("V1", "v1", "inflight_batching", INFLIGHT),
    POLICY: ("guaranteed_no_evict", "max_utilization"),
    DECODING: ("top_k", "top_p", "top_k_top_p", "beam_search", "medusa", "redrafter", "lookahead", "eagle"),
}
WRITTEN = {key.name: key.default for key in (POLICY, FRACTION, *ASKED)} | {BATCHING.name: INFLIGHT}
"""What the path tells the engine's backend, beside where the engine is."""
BUILT = "build_config"
"""What an engine's config.json says of how it was built."""
BOOLEANS = ("True", "true", "TRUE", "1", "False", "false", "FALSE", "0")
DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
YAML, TRITON, BATCH, DECOUPLED = "model.yaml", "triton_config", "max_batch_size", "decoupled"
"""The file of an LLM API's model, and what it says to Triton; every other key is an argument of tensorrt_llm.LLM."""
CACHE, SHARE = "kv_cache_config", "free_gpu_memory_fraction"
ENGINES = ("pytorch", "_autodeploy")
"""What model.yaml's `backend` may be; the second is a prototype that takes what Hugging Face's AutoModelForCausalLM takes."""
UNKNOWN = ("GPT2LMHeadModel",)
"""Architectures of the kit's models that the first has no network for. Source: tensorrt_llm/_torch/models/_arch_index.py."""
NO_NETWORK = (
    f"The backend {ENGINES[0]} has no network for {UNKNOWN[0]}: name another checkpoint, or take the legacy form."
)
ELSEWHERE = {
    "tensor_para_size": "tensor_parallel_size", "pipeline_para_size": "pipeline_parallel_size", "tp_size": "tensor_parallel_size",
    "pp_size": "pipeline_parallel_size", "max_model_len": "max_seq_len", "max_num_seqs": "max_batch_size", "data_type": "dtype",
    "gpu_memory_utilization": f"{CACHE}.{SHARE}", "kv_cache_free_gpu_mem_fraction": f"{CACHE}.{SHARE}", "engine_dir": "model",
    "gpt_model_path": "model", "enable_chunked_context": "enable_chunked_prefill", "enable_kv_cache_reuse": f"{CACHE}.enable_block_reuse",
    "pytorch_backend_config": "by its own keys, such as cuda_graph_config",
}  # fmt: skip
"""Names of FasterTransformer, vLLM, engines and older versions, and what the LLM API calls it."""
