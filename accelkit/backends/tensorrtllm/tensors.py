"""Tensors of TensorRT-LLM's models in Triton: the engine's, the LLM API's, and those of the ensemble around an engine.

Held against the official files by tests/paths/test_path_tensorrt_llm.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from accelkit.backends.key import ERAS
from accelkit.backends.tensorrtllm.keys import NEW, OLD


@dataclass(frozen=True)
class Tensor:
    """A tensor of a config: name, type ("" where the model decides), dims, and how a request and the batcher may give it."""

    name: str
    type: str
    dims: tuple[int, ...]
    optional: bool = False
    scalar: bool = False
    """Whether a row's one value comes to the backend without its dimension."""
    ragged: bool = False
    eras: tuple[str, ...] = ERAS

    def field(self) -> dict[str, object]:
        """Return it as a field of a ModelConfig."""
        given: dict[str, object] = {"name": self.name, "data_type": f"TYPE_{self.type}", "dims": list(self.dims)}
        more = {"optional": self.optional, "allow_ragged_batch": self.ragged}
        return (
            given | {key: True for key, on in more.items() if on} | ({"reshape": {"shape": []}} if self.scalar else {})
        )


def _listed(text: str, eras: tuple[str, ...] = ERAS, **more: bool) -> list[Tensor]:
    """Tensors written as NAME TYPE DIM,DIM in lines; a type ? is the model's."""
    rows = (line.split() for line in text.strip().splitlines())
    return [
        Tensor(name, kind.strip("?"), tuple(map(int, dims.split(","))), eras=eras, **more) for name, kind, dims in rows
    ]


def _scalars(kind: str, names: str, eras: tuple[str, ...] = ERAS, optional: bool = True) -> list[Tensor]:
    return [Tensor(name, kind, (1,), optional, scalar=True, eras=eras) for name in names.split()]


def _table(*parts: Iterable[Tensor]) -> dict[str, Tensor]:
    return {one.name: one for part in parts for one in part}


ENGINE_INPUTS = _table(
    _listed("input_ids INT32 -1", optional=True, ragged=True),
    _scalars("INT32", "input_lengths request_output_len", optional=False),
    _scalars("INT32", "end_id pad_id beam_width num_return_sequences runtime_top_k"),
    _scalars("FP32", "runtime_top_p temperature len_penalty repetition_penalty presence_penalty frequency_penalty"),
    _scalars("BOOL", "return_log_probs exclude_input_in_output stop streaming"),
    _listed("stop_words_list INT32 2,-1\nbad_words_list INT32 2,-1\nembedding_bias FP32 -1", optional=True, ragged=True),
    _scalars("INT32", "min_length", OLD), _scalars("INT32", "min_tokens", NEW),
    _scalars("UINT64", "random_seed", OLD), _scalars("UINT64", "seed", NEW),
    _scalars("BOOL", "return_kv_cache_reuse_stats", OLD),
    _scalars("BOOL", "return_perf_metrics return_num_input_tokens return_num_output_tokens", NEW),
    _scalars("BOOL", "early_stopping return_context_logits return_generation_logits"),
    _scalars("FP32", "runtime_top_p_min runtime_top_p_decay beam_search_diversity_rate draft_acceptance_threshold"),
    _scalars("INT32", "runtime_top_p_reset_ids encoder_output_lengths decoder_input_lengths prompt_vocab_size"),
    _scalars("UINT64", "lora_task_id"),
    _listed("mrope_rotary_cos_sin FP32 -1\nmrope_position_deltas INT64 1", NEW, optional=True),
    _listed(
        "lookahead_window_size INT32 1\nlookahead_ngram_size INT32 1\nlookahead_verification_set_size INT32 1", NEW,
        optional=True, ragged=True,
    ),
    _listed(
        """encoder_input_features ? -1,-1
        draft_input_ids INT32 -1
        decoder_input_ids INT32 -1
        draft_logits ? -1,-1
        prompt_embedding_table ? -1,-1
        prompt_table_extra_ids UINT64 -1
        cross_attention_mask BOOL -1,-1
        lora_weights FP16 -1,-1
        lora_config INT32 -1,3
        context_phase_params UINT8 -1
        skip_cross_attn_blocks BOOL 1
        retention_token_range_starts INT32 -1
        retention_token_range_ends INT32 -1
        retention_token_range_priorities INT32 -1
        retention_token_range_durations_ms INT32 -1
        retention_decode_priority INT32 1
        retention_decode_duration_ms INT32 1
        guided_decoding_guide_type STRING 1
        guided_decoding_guide STRING 1""",
        optional=True, ragged=True,
    ),
)  # fmt: skip
_METRICS = "\n".join(
    f"{name}_ns INT64 1" for name in ("arrival_time", "first_scheduled_time", "first_token_time", "last_token_time")
)
_METRICS += "\nacceptance_rate FP32 1\ntotal_accepted_draft_tokens INT32 1\ntotal_draft_tokens INT32 1"
ENGINE_OUTPUTS = _table(
    _listed("output_ids INT32 -1,-1\nsequence_length INT32 -1\ncum_log_probs FP32 -1\noutput_log_probs FP32 -1,-1"),
    _listed("context_logits ? -1,-1\ngeneration_logits ? -1,-1,-1\nbatch_index INT32 1\nsequence_index INT32 1"),
    _listed("context_phase_params UINT8 -1"),
    _listed("kv_cache_alloc_new_blocks INT32 1\nkv_cache_reused_blocks INT32 1\nkv_cache_alloc_total_blocks INT32 1"),
    _listed(f"{_METRICS}\nnum_input_tokens INT32 1\nnum_output_tokens INT32 1", NEW),
)  # fmt: skip
LLMAPI_INPUTS = _table(
    _listed("text_input STRING -1"),
    _listed("streaming BOOL 1\nsampling_param_best_of INT32 1\nsampling_param_temperature FP32 1", optional=True),
    _listed("sampling_param_top_k INT32 1\nsampling_param_top_p FP32 1", optional=True),
    _listed("sampling_param_frequency_penalty FP32 1\nsampling_param_presence_penalty FP32 1", optional=True),
    _listed("sampling_param_max_tokens INT32 1\nsampling_param_stop STRING -1\nsampling_param_seed UINT64 1", optional=True),
    _listed("sampling_param_exclude_input_from_output BOOL 1\nsampling_param_return_perf_metrics BOOL 1", optional=True),
    _listed("return_finish_reason BOOL 1\nreturn_stop_reason BOOL 1\nreturn_cumulative_logprob BOOL 1\nstop BOOL 1", optional=True),
)  # fmt: skip
SAMPLING = "sampling_param_"
"""What an LLM API's inputs that are parameters of sampling begin with."""
LLMAPI_NEWER = _table(_listed(
    "image_url STRING -1\nsampling_param_logits_post_processor_name STRING 1\nlora_id UINT64 1\nlora_name STRING 1\nlora_path STRING 1\n"
    "lora_ckpt_source STRING 1", optional=True,
))  # fmt: skip
"""Inputs that came after TensorRT-LLM 1.2."""
LLMAPI_OUTPUTS = _table(
    _listed("text_output STRING -1\nfinish_reason STRING -1\nstop_reason STRING -1\ncumulative_logprob FP32 -1"),
    _listed("kv_cache_reused_block INT32 -1\nkv_cache_missed_block INT32 -1\nkv_cache_alloc_new_blocks INT32 -1"),
    _listed(f"kv_cache_alloc_total_blocks INT32 -1\nkv_cache_hit_rate FP32 -1\n{_METRICS}"),
)  # fmt: skip

# The ensemble of an engine: what its two models of Triton's Python backend, which the image brings, take and give.
PRE_INPUTS = _table(
    _listed("QUERY STRING 1\nREQUEST_OUTPUT_LEN INT32 1"),
    _listed("BAD_WORDS_DICT STRING -1\nSTOP_WORDS_DICT STRING -1", optional=True),
    _listed("EMBEDDING_BIAS_WORDS STRING -1\nEMBEDDING_BIAS_WEIGHTS FP32 -1", optional=True),
    _listed("END_ID INT32 1\nPAD_ID INT32 1", optional=True),
)  # fmt: skip
PRE_OUTPUTS = _table(
    _listed("INPUT_ID INT32 -1\nREQUEST_INPUT_LEN INT32 1\nREQUEST_OUTPUT_LEN INT32 -1"),
    _listed("BAD_WORDS_IDS INT32 2,-1\nSTOP_WORDS_IDS INT32 2,-1\nEMBEDDING_BIAS FP32 -1\nOUT_END_ID INT32 1\nOUT_PAD_ID INT32 1"),
    _listed("DECODER_INPUT_ID INT32 -1\nREQUEST_DECODER_INPUT_LEN INT32 1\nOUT_PROMPT_TABLE_EXTRA_IDS UINT64 -1"),
    _listed("PIXEL_VALUES FP16 -1,-1,-1,-1\nIMAGE_SIZES INT64 2"),
)  # fmt: skip
LOOKED_UP = {
    "input": ("EMBEDDING_BIAS_WORDS", "EMBEDDING_BIAS_WEIGHTS"),
    "output": tuple(name for name in PRE_OUTPUTS if name not in ("REQUEST_OUTPUT_LEN", "EMBEDDING_BIAS")),
}
"""What preprocessing/1/model.py looks up the types of: it ends where one is missing, whether anything asks for it or not."""
MARKS = {"before": "QUERY", "after": "TOKENS_BATCH"}
"""The input by which the models before and after an engine are known."""
POST_INPUTS = _table(_listed("TOKENS_BATCH INT32 -1,-1\nSEQUENCE_LENGTH INT32 -1"))
POST_OUTPUTS = _table(_listed("OUTPUT STRING -1"))
ENSEMBLE_INPUTS = _table(
    _listed("text_input STRING 1\nmax_tokens INT32 1"),
    _listed("bad_words STRING -1\nstop_words STRING -1\nend_id INT32 1\npad_id INT32 1", optional=True),
    _listed("top_k INT32 1\ntop_p FP32 1\ntemperature FP32 1\nlength_penalty FP32 1\nrepetition_penalty FP32 1", optional=True),
    _listed("presence_penalty FP32 1\nfrequency_penalty FP32 1\nbeam_width INT32 1\nnum_return_sequences INT32 1", optional=True),
    _listed("exclude_input_in_output BOOL 1\nreturn_log_probs BOOL 1\nstream BOOL 1", optional=True),
    _listed("embedding_bias_words STRING -1\nembedding_bias_weights FP32 -1", optional=True),
)  # fmt: skip
ENSEMBLE_OUTPUTS = _table(_listed("text_output STRING -1\ncum_log_probs FP32 -1\noutput_log_probs FP32 -1,-1"))
STEPS: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "preprocessing": (
        {"QUERY": "text_input", "REQUEST_OUTPUT_LEN": "max_tokens", "BAD_WORDS_DICT": "bad_words", "STOP_WORDS_DICT": "stop_words",
         "EMBEDDING_BIAS_WORDS": "embedding_bias_words", "EMBEDDING_BIAS_WEIGHTS": "embedding_bias_weights",
         "END_ID": "end_id", "PAD_ID": "pad_id"},
        {"INPUT_ID": "_INPUT_ID", "REQUEST_INPUT_LEN": "_REQUEST_INPUT_LEN", "REQUEST_OUTPUT_LEN": "_REQUEST_OUTPUT_LEN",
         "STOP_WORDS_IDS": "_STOP_WORDS_IDS", "BAD_WORDS_IDS": "_BAD_WORDS_IDS", "EMBEDDING_BIAS": "_EMBEDDING_BIAS",
         "OUT_END_ID": "_PREPROCESSOR_END_ID", "OUT_PAD_ID": "_PREPROCESSOR_PAD_ID"},
    ),
    "engine": (
        {"input_ids": "_INPUT_ID", "input_lengths": "_REQUEST_INPUT_LEN", "request_output_len": "_REQUEST_OUTPUT_LEN",
         "stop_words_list": "_STOP_WORDS_IDS", "bad_words_list": "_BAD_WORDS_IDS", "embedding_bias": "_EMBEDDING_BIAS",
         "end_id": "_PREPROCESSOR_END_ID", "pad_id": "_PREPROCESSOR_PAD_ID", "runtime_top_k": "top_k", "runtime_top_p": "top_p",
         "len_penalty": "length_penalty", "streaming": "stream",
         **{name: name for name in ("temperature", "repetition_penalty", "presence_penalty", "frequency_penalty", "beam_width",
                                    "num_return_sequences", "exclude_input_in_output", "return_log_probs")}},
        {"output_ids": "_TOKENS_BATCH", "sequence_length": "_SEQUENCE_LENGTH",
         "cum_log_probs": "cum_log_probs", "output_log_probs": "output_log_probs"},
    ),
    "postprocessing": ({"TOKENS_BATCH": "_TOKENS_BATCH", "SEQUENCE_LENGTH": "_SEQUENCE_LENGTH"}, {"OUTPUT": "text_output"}),
}  # fmt: skip
"""For each model of the ensemble, in their order, what its inputs and outputs are called in it."""
STREAM = "stream"
Sides = tuple[list[Tensor], list[Tensor]]
"""Inputs and outputs of a model."""
LLMAPI: Sides = (list(LLMAPI_INPUTS.values()), list(LLMAPI_OUTPUTS.values()))
BEFORE: Sides = (list(PRE_INPUTS.values()), list(PRE_OUTPUTS.values()))
AFTER: Sides = (list(POST_INPUTS.values()), list(POST_OUTPUTS.values()))


def ensemble(streaming: bool) -> Sides:
    """The ensemble's tensors; `stream` is one of them when the engine may send parts."""
    inputs = [one for one in ENSEMBLE_INPUTS.values() if streaming or one.name != STREAM]
    return inputs, list(ENSEMBLE_OUTPUTS.values())


def engine(streaming: bool) -> Sides:
    """The engine's tensors that the ensemble uses, and the input that ends a request."""
    into, out = STEPS["engine"]
    inputs = [ENGINE_INPUTS[name] for name, inner in into.items() if streaming or inner != STREAM]
    return [*inputs, ENGINE_INPUTS["stop"]], [ENGINE_OUTPUTS[name] for name in out]


def wired(name: str, streaming: bool) -> list[dict[str, object]]:
    """The ensemble's steps: models named NAME_STEP, the newest version of each, and what their tensors are called in it."""
    return [
        {
            "model_name": f"{name}_{step}",
            "model_version": -1,
            "input_map": {key: inner for key, inner in into.items() if streaming or inner != STREAM},
            "output_map": out,
        }
        for step, (into, out) in STEPS.items()
    ]
