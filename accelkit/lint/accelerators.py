"""Rules about instances of the backend onnxruntime on a GPU: the accelerators cuda and tensorrt, and the keys around them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from accelkit.backends.key import Refused
from accelkit.lint.subject import Subject

Found = Iterator[tuple[str, str]]
CHOICES = {"cudnn_conv_algo_search": 3, "arena_extend_strategy": 2}
PRECISIONS = ("FP32", "FP16", "BF16", "INT8")
ON = ("1", "true", "on")
PROFILE = ("trt_profile_min_shapes", "trt_profile_opt_shapes", "trt_profile_max_shapes")
CACHES = {"trt_engine_cache_enable": "trt_engine_cache_path", "trt_timing_cache_enable": "trt_timing_cache_path"}
GRAPHS = (("cuda", "enable_cuda_graph"), ("tensorrt", "trt_cuda_graph_enable"))


def parameters(it: Subject, accelerator: str) -> Found:
    """Names and values that an accelerator is given for instances that look at it."""
    for name, given in it.accelerators("gpu") if not it.on_cpu else ():
        yield from sorted(given.items()) if name == accelerator else ()


def _cuda_overwritten(it: Subject) -> Found:
    for key, _ in parameters(it, "cuda"):
        if key in it.table.OVERWRITTEN:
            yield key, f'"{key}" among the parameters of the accelerator cuda'


def _cuda_option(it: Subject) -> Found:
    for key, _ in parameters(it, "cuda"):
        if key not in it.table.CUDA:
            yield key, f'"{key}" among the parameters of the accelerator cuda, no option that the kit knows'


def _cuda_graph(it: Subject) -> Found:
    for accelerator, key in GRAPHS:
        if dict(parameters(it, accelerator)).get(key, "").lower() in ON:
            yield key, f'"{key}" of the accelerator {accelerator}'


def on_cuda(it: Subject) -> bool:
    """Whether instances run on the CUDA provider, and not for the most part on TensorRT before it."""
    listed = it.config.optimization.execution_accelerators.gpu_execution_accelerator
    on_gpu = any(group.Kind.Name(group.kind) == "KIND_GPU" for group in it.config.instance_group)
    return on_gpu and not any(entry.name == "tensorrt" for entry in listed)


def _cuda_tf32(it: Subject) -> Found:
    if on_cuda(it) and "use_tf32" not in dict(parameters(it, "cuda")):
        yield "KIND_GPU", "instances of KIND_GPU without use_tf32"


def _cuda_changing_batches(it: Subject) -> Found:
    if (
        on_cuda(it)
        and it.config.HasField("dynamic_batching")
        and it.parameters.get("cudnn_conv_algo_search", "0").strip() != "1"
    ):
        yield "dynamic_batching", "dynamic_batching beside instances of KIND_GPU"


def _gpu_value(it: Subject) -> Found:
    for name, count in CHOICES.items() if not it.on_cpu else ():
        text = it.parameters.get(name, "0").strip()
        if re.match(r"[+-]?\d", text, re.ASCII) and not re.match(f"[+]?0*[0-{count - 1}](?!\\d)", text):
            yield name, f'{name} is "{text}", there are 0 to {count - 1}'
    for key, value in parameters(it, "cuda"):
        if key in it.table.CHECKED and value.lower() not in (*ON, "0", "false", "off"):
            yield key, f'{key} is "{value}", which is neither true, on, 1 nor false, off, 0'
    for key, value in parameters(it, "tensorrt"):
        if key == "precision_mode" and value not in PRECISIONS:
            yield key, f'precision_mode is "{value}", there are {", ".join(PRECISIONS)}'
        elif key in it.table.TENSORRT:
            try:
                it.table.TENSORRT[key].check({key: value})
            except Refused as refused:
                yield key, f"{key}: {refused}"


def _tensorrt_parameter(it: Subject) -> Found:
    for key, _ in parameters(it, "tensorrt"):
        if key not in it.table.TENSORRT:
            yield key, f'"{key}" is no parameter of the accelerator tensorrt'


def _precision_mode(it: Subject) -> Found:
    for key, value in parameters(it, "tensorrt"):
        if key == "precision_mode" and value in PRECISIONS[1:]:
            yield key, f'precision_mode "{value}" of the accelerator tensorrt'


def _accelerator_profile(it: Subject) -> Found:
    given = dict(parameters(it, "tensorrt"))
    named = [key for key in PROFILE if given.get(key)]
    if not named:
        if it.config.max_batch_size > 1 and any(
            name == "tensorrt" for name, _ in it.accelerators("gpu") if not it.on_cpu
        ):
            yield "tensorrt", "the accelerator tensorrt without trt_profile_min_shapes, _opt_shapes and _max_shapes"
    elif len(named) < len(PROFILE):
        yield named[0], f"{', '.join(named)} without the other trt_profile shapes"
    else:
        largest = it.config.max_batch_size
        for name, first in re.findall(r"([^,]+):(\d+)x", given["trt_profile_max_shapes"]):
            if int(first) < largest:
                yield "trt_profile_max_shapes", f"a profile of {name} up to batch {first} with max_batch_size {largest}"


def _accelerator_cache(it: Subject) -> Found:
    given = dict(parameters(it, "tensorrt"))
    for switch, path in CACHES.items():
        if given.get(switch, "").lower() in ON and not given.get(path, "").startswith("/"):
            yield switch, f'{switch} with {path} "{given.get(path, "")}"'
