"""Every setting that the official onnxruntime backend reads, for instances on the CPU and on the GPU."""

from __future__ import annotations

from accelkit.backends.key import ERAS, Key

_SOURCE = "onnxruntime_backend src/onnxruntime.cc"
_LOADER = "onnxruntime_backend src/onnxruntime_loader.cc"
_ACCELERATORS = "optimization.execution_accelerators"

GRAPH_LEVEL = Key(
    "level", "int", "0", ERAS, "graph optimization: 0 all, -1 basic, 1 extended, 2 none; any other value means all", _SOURCE,
    "optimization.graph",
)  # fmt: skip
INTRA_OP_THREADS = Key(
    "intra_op_thread_count", "int", "0", ERAS,
    "threads inside one operator; 0 or less leaves ONNX Runtime's choice, a thread for each physical core", _SOURCE,
)  # fmt: skip
INTER_OP_THREADS = Key(
    "inter_op_thread_count", "int", "0", ERAS,
    "threads for operators that may run side by side; used by the parallel execution mode only", _SOURCE,
)  # fmt: skip
EXECUTION_MODE = Key("execution_mode", "int", "0", ERAS, "0 runs operators one by one, 1 in parallel branches", _SOURCE)
MEM_ARENA = Key(
    "enable_mem_arena", "bool", "1", ERAS, "keep freed CPU memory in an arena for the next request", _SOURCE
)
MEM_PATTERN = Key(
    "enable_mem_pattern", "bool", "1", ERAS, "plan the memory of a request from an earlier one of equal shape", _SOURCE
)
ARENA_SHRINKAGE = Key(
    "memory.enable_memory_arena_shrinkage", "string", "", ERAS,
    "arenas that give memory back after each request, such as cpu:0", _SOURCE,
)  # fmt: skip
INITIALIZER_ALLOCATOR = Key(
    "session.use_device_allocator_for_initializers", "string", "0", ERAS,
    "1 takes the weights' memory from the device, not from the arena", _SOURCE,
)  # fmt: skip
CPU_ACCELERATORS = Key(
    "cpu_execution_accelerator", "string", "", ERAS, "execution providers before the CPU one; only openvino is known",
    _SOURCE, _ACCELERATORS,
)  # fmt: skip
GPU_ACCELERATORS = Key(
    "gpu_execution_accelerator", "string", "", ERAS, "execution providers of GPU instances; CPU instances ignore them",
    _SOURCE, _ACCELERATORS,
)  # fmt: skip
CUSTOM_OPS = Key(
    "op_library_filename", "string", "", ERAS, "libraries with custom operators, loaded in this order", _SOURCE,
    "model_operations",
)  # fmt: skip
GLOBAL_THREADPOOL = Key(
    "enable-global-threadpool", "bool", "0", ERAS,
    "one thread pool for all sessions of a process; in the stand-in every instance is a process", _LOADER, "command line",
)  # fmt: skip
GLOBAL_INTRA_OP_THREADS = Key(
    "intra_op_thread_count", "int", "0", ERAS, "threads of the global pool inside one operator", _LOADER, "command line"
)
GLOBAL_INTER_OP_THREADS = Key(
    "inter_op_thread_count", "int", "0", ERAS, "threads of the global pool across operators", _LOADER, "command line"
)
DEFAULT_MAX_BATCH = Key(
    "default-max-batch-size", "int", "4", ERAS, "max_batch_size that auto-complete writes when there is none", _SOURCE,
    "command line",
)  # fmt: skip
CUDNN_SEARCH = Key("cudnn_conv_algo_search", "int", "0", ERAS, "GPU: 0 EXHAUSTIVE, 1 HEURISTIC, 2 DEFAULT", _SOURCE)
GPU_MEMORY = Key("gpu_mem_limit", "int", "", ERAS, "GPU: bytes that the CUDA arena may take", _SOURCE)
ARENA_STRATEGY = Key(
    "arena_extend_strategy", "int", "0", ERAS, "GPU: the CUDA arena grows by 0 the next power of two, 1 what is asked for", _SOURCE
)  # fmt: skip
COPY_IN_DEFAULT_STREAM = Key(
    "do_copy_in_default_stream", "bool", "1", ERAS, "GPU: copies run in the stream of the kernels", _SOURCE
)

KEYS: tuple[Key, ...] = (
    GRAPH_LEVEL, INTRA_OP_THREADS, INTER_OP_THREADS, EXECUTION_MODE, MEM_ARENA, MEM_PATTERN, ARENA_SHRINKAGE,
    INITIALIZER_ALLOCATOR, CPU_ACCELERATORS, GPU_ACCELERATORS, CUSTOM_OPS, GLOBAL_THREADPOOL, GLOBAL_INTRA_OP_THREADS,
    GLOBAL_INTER_OP_THREADS, DEFAULT_MAX_BATCH, CUDNN_SEARCH, GPU_MEMORY, ARENA_STRATEGY, COPY_IN_DEFAULT_STREAM,
)  # fmt: skip
OVERWRITTEN = tuple(key.name for key in (CUDNN_SEARCH, GPU_MEMORY, ARENA_STRATEGY, COPY_IN_DEFAULT_STREAM))
"""Keys that have no effect among the parameters of the accelerator cuda: the top-level ones, or their defaults, win."""


def _accelerator(accelerator: str, rows: dict[str, tuple[str, str, str]]) -> dict[str, Key]:
    """Keys by name from rows of type, default in ONNX Runtime, and effect."""
    return {
        name: Key(name, *row[:2], ERAS, row[2], _SOURCE, f"accelerator {accelerator}") for name, row in rows.items()
    }


TENSORRT = _accelerator("tensorrt", {
    "precision_mode": ("string", "FP32", "FP32, FP16, BF16 (servers from 26.02) or INT8; TensorRT 11 ignores it"),
    "max_workspace_size_bytes": ("size", "0", "memory for the builder's tactics; 0 is all of the device"),
    "trt_max_partition_iterations": ("int", "1000", "rounds in which the graph is cut into what TensorRT can take"),
    "trt_min_subgraph_size": ("int", "1", "smaller parts stay with CUDA"),
    "int8_calibration_table_name": ("string", "", "file with the ranges of INT8 without Q/DQ nodes"),
    "int8_use_native_calibration_table": ("bool", "0", "the table is TensorRT's own, not ONNX Runtime's"),
    "trt_dla_enable": ("bool", "0", "run on a DLA core"),
    "trt_dla_core": ("int", "0", "which DLA core"),
    "trt_engine_cache_enable": ("bool", "0", "keep built engines in a directory and take them from there"),
    "trt_engine_cache_path": ("string", "", "that directory; none means the server's working directory"),
    "trt_engine_cache_prefix": ("string", "", "how the files of cached engines begin"),
    "trt_timing_cache_enable": ("bool", "0", "keep measured tactics: the next build of an engine is shorter"),
    "trt_timing_cache_path": ("string", "", "directory of the timing cache"),
    "trt_force_timing_cache": ("bool", "0", "take a timing cache of another GPU of the same compute capability"),
    "trt_dump_subgraphs": ("bool", "0", "write the parts that TensorRT takes as ONNX files"),
    "trt_detailed_build_log": ("bool", "0", "log every step of a build"),
    "trt_build_heuristics_enable": ("bool", "0", "choose tactics by rule, not by measuring"),
    "trt_sparsity_enable": ("bool", "0", "use sparse weights"),
    "trt_builder_optimization_level": ("int", "3", "0 to 5: longer builds, better engines"),
    "trt_auxiliary_streams": ("int", "-1", "streams beside the main one; -1 leaves TensorRT's choice"),
    "trt_tactic_sources": ("string", "", "libraries of tactics to add or leave out, such as -CUDNN,+CUBLAS"),
    "trt_extra_plugin_lib_paths": ("string", "", "libraries with plugins"),
    "trt_profile_min_shapes": ("string", "", "smallest shapes of the engine's profile, such as x:1x1x32x100"),
    "trt_profile_opt_shapes": ("string", "", "shapes that the engine is tuned for"),
    "trt_profile_max_shapes": ("string", "", "largest shapes of the engine's profile"),
    "trt_cuda_graph_enable": ("bool", "0", "launch the engine as one CUDA graph"),
    "trt_context_memory_sharing_enable": ("bool", "0", "the engines of a model share their working memory"),
    "trt_layer_norm_fp32_fallback": ("bool", "0", "layer normalization stays in FP32"),
    "trt_force_sequential_engine_build": ("bool", "0", "build the engines of several GPUs one after the other"),
    "trt_dump_ep_context_model": ("bool", "0", "write an ONNX file that holds or names the built engine"),
    "trt_ep_context_file_path": ("string", "", "where that file goes"),
    "trt_ep_context_embed_mode": ("int", "0", "1 puts the engine into the file, 0 beside it"),
})  # fmt: skip
"""Parameters of the accelerator tensorrt; the official backend refuses every other."""
RENAMED = {
    "max_workspace_size_bytes": "trt_max_workspace_size",
    "int8_calibration_table_name": "trt_int8_calibration_table_name",
    "int8_use_native_calibration_table": "trt_int8_use_native_calibration_table",
}
"""Parameters of the accelerator tensorrt that ONNX Runtime knows under another name."""
PRECISION_MODE, TENSORRT_GRAPH = TENSORRT["precision_mode"].name, TENSORRT["trt_cuda_graph_enable"].name
BUILD_LOG, ENGINES, ENGINE_CACHE = (
    TENSORRT[f"trt_{name}"].name for name in ("detailed_build_log", "engine_cache_enable", "engine_cache_path")
)

CUDA = _accelerator("cuda", {
    "use_tf32": ("bool", "1", "float convolutions and matrix products in TF32, where the GPU has it"),
    "prefer_nhwc": ("bool", "0", "convolutions with channels last, which tensor cores want"),
    "enable_cuda_graph": ("bool", "0", "launch the whole graph at once; needs buffers that stay where they are"),
    "cudnn_conv_use_max_workspace": ("bool", "1", "let cuDNN's search take all the memory that it asks for"),
    "cudnn_conv1d_pad_to_nc1d": ("bool", "0", "one-dimensional convolutions as [N,C,1,D]"),
    "fuse_conv_bias": ("bool", "0", "convolution, bias and activation in one kernel of cuDNN"),
    "sdpa_kernel": ("int", "0", "which attention kernels may be taken, as a bit mask"),
    "tunable_op_enable": ("bool", "0", "operators that can choose between implementations do so"),
    "tunable_op_tuning_enable": ("bool", "0", "and measure them first"),
    "tunable_op_max_tuning_duration_ms": ("int", "0", "how long they may measure; 0 is without end"),
    "enable_skip_layer_norm_strict_mode": ("bool", "0", "layer normalization behind an addition sums in FP32"),
    "device_id": ("int", "0", "which GPU; the instance's own wins"),
    "has_user_compute_stream": ("bool", "0", "whether the next one is given; the backend's own wins"),
    "user_compute_stream": ("string", "", "address of the stream to run in; the backend's own wins"),
    "gpu_external_alloc": ("string", "", "address of a function that gives memory instead of the arena"),
    "gpu_external_free": ("string", "", "address of the function that takes it back"),
    "gpu_external_empty_cache": ("string", "", "address of the function that empties its cache"),
    "use_ep_level_unified_stream": ("bool", "0", "one stream for everything that the provider does"),
    **{key.name: (key.type, key.default, key.effect) for key in
       (CUDNN_SEARCH, GPU_MEMORY, ARENA_STRATEGY, COPY_IN_DEFAULT_STREAM)},
})  # fmt: skip
"""Parameters of the accelerator cuda that are worth knowing: all are handed on, and ONNX Runtime refuses those unknown to it."""
TF32, CUDA_GRAPH = CUDA["use_tf32"].name, CUDA["enable_cuda_graph"].name
CHECKED = ("do_copy_in_default_stream", "use_ep_level_unified_stream")
"""The only parameters of the accelerator cuda that the official backend itself reads as a truth value."""
