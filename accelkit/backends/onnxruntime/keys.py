"""Every setting that the official onnxruntime backend reads for an instance on the CPU, and its keys for the GPU."""

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
TENSORRT = (
    "precision_mode", "max_workspace_size_bytes", "trt_max_partition_iterations", "trt_min_subgraph_size",
    "int8_calibration_table_name", "int8_use_native_calibration_table", "trt_dla_enable", "trt_dla_core",
    "trt_engine_cache_enable", "trt_engine_cache_path", "trt_engine_cache_prefix", "trt_timing_cache_enable",
    "trt_timing_cache_path", "trt_force_timing_cache", "trt_dump_subgraphs", "trt_detailed_build_log",
    "trt_build_heuristics_enable", "trt_sparsity_enable", "trt_builder_optimization_level", "trt_auxiliary_streams",
    "trt_tactic_sources", "trt_extra_plugin_lib_paths", "trt_profile_min_shapes", "trt_profile_opt_shapes",
    "trt_profile_max_shapes", "trt_cuda_graph_enable", "trt_context_memory_sharing_enable", "trt_layer_norm_fp32_fallback",
    "trt_force_sequential_engine_build", "trt_dump_ep_context_model", "trt_ep_context_file_path",
    "trt_ep_context_embed_mode",
)  # fmt: skip
"""Parameters of the accelerator tensorrt; the official backend refuses every other."""
