"""Every setting that the official tensorrt backend reads."""

from __future__ import annotations

from accelkit.backends.key import ERAS, Key

_MODEL = "tensorrt_backend src/tensorrt_model.cc"
_STATE = "tensorrt_backend src/model_state.cc"
_INSTANCE = "tensorrt_backend src/instance_state.cc"
_BACKEND = "tensorrt_backend src/tensorrt.cc"
_CURRENT = ("current",)

PRIORITY = Key(
    "priority", "string", "PRIORITY_DEFAULT", ERAS,
    "priority of the instance's CUDA streams: PRIORITY_MAX, PRIORITY_MIN or PRIORITY_DEFAULT", _MODEL, "optimization",
)  # fmt: skip
GATHER_THRESHOLD = Key(
    "gather_kernel_buffer_threshold", "int", "0", ERAS,
    "from so many request buffers on a kernel gathers the inputs; in the stand-in they always meet in one buffer of the host",
    _MODEL, "optimization",
)  # fmt: skip
EAGER_BATCHING = Key(
    "eager_batching", "bool", "false", ERAS,
    "prepare the next batch while one is computed; in the stand-in, where an instance is a process, a second instance does",
    _MODEL, "optimization",
)  # fmt: skip
INPUT_PINNED = Key(
    "enable", "bool", "true", ERAS, "inputs go to the GPU through page-locked memory", _INSTANCE,
    "optimization.input_pinned_memory",
)  # fmt: skip
OUTPUT_PINNED = Key(
    "enable", "bool", "true", ERAS, "outputs come from the GPU through page-locked memory", _INSTANCE,
    "optimization.output_pinned_memory",
)  # fmt: skip
GRAPHS = Key(
    "graphs", "bool", "false", ERAS,
    "capture CUDA graphs: with dynamic_batching of batch 1, each preferred and the largest batch; without it of "
    "1, 2, 3, 4, 6, 8, 12, 16 and the largest; or of what graph_spec says", _MODEL, "optimization.cuda",
)  # fmt: skip
BUSY_WAIT = Key(
    "busy_wait_events", "bool", "false", ERAS, "wait for the GPU in a loop, which is faster and keeps a core busy", _MODEL,
    "optimization.cuda",
)  # fmt: skip
GRAPH_SPEC = Key(
    "graph_spec", "string", "", ERAS,
    "batches, and shapes of inputs, to capture graphs of; with graph_lower_bound a graph also takes smaller ones", _MODEL,
    "optimization.cuda",
)  # fmt: skip
OUTPUT_STREAM = Key(
    "output_copy_stream", "bool", "false", ERAS, "copy outputs in a stream of their own, from a second set of buffers", _MODEL,
    "optimization.cuda",
)  # fmt: skip
CC_FILES = Key(
    "cc_model_filenames", "string", "", ERAS, "the plan's file by compute capability, such as 9.0", _STATE, "top level",
)  # fmt: skip
ALLOCATION = Key(
    "execution_context_allocation_strategy", "string", "STATIC", ("bridge", "current"),
    "STATIC takes memory for the largest profile, ON_PROFILE_CHANGE for the one that is chosen; since container 25.05", _STATE,
)  # fmt: skip
MULTI_DEVICE = Key(
    "enable_multi_device", "string", "false", _CURRENT,
    "one engine across several GPUs, for KIND_MODEL; the stand-in refuses it", _STATE,
)  # fmt: skip
MULTI_GPUS = Key("multi_device_gpus", "string", "", _CURRENT, "the GPUs of enable_multi_device", _STATE)
MULTI_ENGINES = Key(
    "multi_device_per_rank_engines", "string", "false", _CURRENT, "a plan for each GPU of enable_multi_device", _STATE
)
COALESCE = Key(
    "coalesce-request-input", "bool", "false", ERAS,
    "gather the inputs in memory of the host before the copy; the stand-in always does", _BACKEND, "command line",
)  # fmt: skip
PLUGINS = Key(
    "plugins", "string", "", ERAS, "libraries with plugins, separated by semicolons; one that does not load is logged", _BACKEND,
    "command line",
)  # fmt: skip
POLICY = Key(
    "execution-policy", "string", "DEVICE_BLOCKING", ERAS,
    "DEVICE_BLOCKING lets one thread feed all instances of a GPU, BLOCKING one each; in the stand-in every instance is a "
    "process with a thread of its own", _BACKEND, "command line",
)  # fmt: skip
VERSION_COMPATIBLE = Key(
    "version-compatible", "bool", "false", ERAS,
    "allow plans with host code, which those built to be version compatible have", _BACKEND, "command line",
)  # fmt: skip

KEYS: tuple[Key, ...] = (
    PRIORITY, GATHER_THRESHOLD, EAGER_BATCHING, INPUT_PINNED, OUTPUT_PINNED, GRAPHS, BUSY_WAIT, GRAPH_SPEC, OUTPUT_STREAM,
    CC_FILES, ALLOCATION, MULTI_DEVICE, MULTI_GPUS, MULTI_ENGINES, COALESCE, PLUGINS, POLICY, VERSION_COMPATIBLE,
)  # fmt: skip
STRATEGIES = ("STATIC", "ON_PROFILE_CHANGE")
"""Values of execution_context_allocation_strategy."""
