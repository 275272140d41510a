"""Every setting that the official fastertransformer backend reads for a GPT, and what older configs had.

No server of NVIDIA's images ever had the backend: the eras are those of a server that it was compiled for by hand.
"""

from __future__ import annotations

from accelkit.backends.key import ERAS, Key

_SOURCE = "fastertransformer_backend src/libfastertransformer.cc"
_OLD = "fastertransformer_backend all_models/gpt/fastertransformer/config.pbtxt of v1.0 and v1.1"

TENSOR_PARA = Key(
    "tensor_para_size", "int", "", ERAS,
    "ranks that every layer is cut over; the checkpoint must be cut for as many, and it must divide the heads", _SOURCE,
)  # fmt: skip
PIPELINE_PARA = Key(
    "pipeline_para_size", "int", "", ERAS, "stages of whole layers, one after the other; it must divide the layers", _SOURCE
)  # fmt: skip
DATA_TYPE = Key(
    "data_type", "string", "", ERAS, "fp32, fp16 or bf16: what is computed in, whatever the files are stored in", _SOURCE
)  # fmt: skip
MODEL_TYPE = Key(
    "model_type", "string", "GPT", ERAS,
    "GPT, GPT-J, GPT-NeoX, T5, T5-Encoder, bert or Llama; the stand-in has GPT", _SOURCE,
)  # fmt: skip
CHECKPOINT = Key(
    "model_checkpoint_path", "string", "", ERAS,
    "directory of the checkpoint; unset means default_model_filename or N-gpu for N ranks in the version's directory", _SOURCE,
)  # fmt: skip
INT8_MODE = Key(
    "int8_mode", "int", "0", ERAS, "1 and 2 compute with INT8 weights on a GPU; the stand-in has 0 alone", _SOURCE
)  # fmt: skip
CUSTOM_ALL_REDUCE = Key(
    "enable_custom_all_reduce", "int", "0", ERAS,
    "1 takes an all-reduce of its own between exactly 8 GPUs; elsewhere, and in the stand-in, it changes nothing", _SOURCE,
)  # fmt: skip
IS_HALF = Key("is_half", "int", "", (), "of v1.0 and v1.1: data_type took its place, and it is ignored", _OLD)
LAYER_PARA = Key(
    "layer_para_size", "int", "", (), "of v1.0: pipeline_para_size took its place, and it is ignored", _OLD
)

KEYS: tuple[Key, ...] = (
    TENSOR_PARA, PIPELINE_PARA, DATA_TYPE, MODEL_TYPE, CHECKPOINT, INT8_MODE, CUSTOM_ALL_REDUCE, IS_HALF, LAYER_PARA,
)  # fmt: skip
REQUIRED = (TENSOR_PARA, PIPELINE_PARA, DATA_TYPE)
RENAMED = {IS_HALF: DATA_TYPE, LAYER_PARA: PIPELINE_PARA}
DATA_TYPES = ("fp32", "fp16", "bf16")
MODEL_TYPES = ("GPT", "GPT-J", "GPT-NeoX", "T5", "T5-Encoder", "bert", "Llama")
INPUTS = {
    "input_ids": "UINT32", "input_lengths": "UINT32", "request_output_len": "UINT32", "runtime_top_k": "UINT32",
    "runtime_top_p": "FP32", "beam_search_diversity_rate": "FP32", "temperature": "FP32", "len_penalty": "FP32",
    "repetition_penalty": "FP32", "random_seed": "UINT64", "is_return_log_probs": "BOOL",
    "is_return_context_embeddings": "BOOL", "beam_width": "UINT32", "start_id": "UINT32", "end_id": "UINT32",
    "stop_words_list": "INT32", "bad_words_list": "INT32", "prompt_learning_task_name_ids": "UINT32",
    "request_prompt_embedding": "FP16", "request_prompt_lengths": "UINT32", "request_prompt_type": "UINT32",
    "top_p_decay": "FP32", "top_p_min": "FP32", "top_p_reset_ids": "UINT32",
}  # fmt: skip
OUTPUTS = {
    "output_ids": "UINT32", "sequence_length": "UINT32", "response_input_lengths": "INT32", "cum_log_probs": "FP32",
    "output_log_probs": "FP32", "context_embeddings": "FP32",
}  # fmt: skip
NEEDED = {"input": ("input_ids", "input_lengths", "request_output_len"), "output": ("output_ids", "sequence_length")}
"""The tensors of a GPT with their types, and those that every config has (docs/gpt_guide.md)."""
