"""Every setting that the official openvino backend reads."""

from __future__ import annotations

from accelkit.backends.key import ERAS, Key

_SOURCE = "openvino_backend src/openvino.cc"

HINT = Key(
    "PERFORMANCE_HINT", "string", "LATENCY", ERAS,
    "LATENCY one stream with all threads, THROUGHPUT several streams, CUMULATIVE_THROUGHPUT for several devices; in any case",
    _SOURCE,
)  # fmt: skip
STREAMS = Key(
    "NUM_STREAMS", "string", "", ERAS,
    "parts of the threads that run requests side by side: AUTO, NUMA or a number; only as many instances keep them busy, "
    "and in the stand-in, where every instance is a process, more instances are as many streams",
    _SOURCE,
)  # fmt: skip
THREADS = Key(
    "INFERENCE_NUM_THREADS", "int", "", ERAS,
    "threads of all streams together; unset means one for each physical core", _SOURCE,
)  # fmt: skip
COMPILE_THREADS = Key(
    "COMPILATION_NUM_THREADS", "int", "", ERAS,
    "threads that compile the model; OpenVINO's CPU plugin knows no such setting and refuses the load", _SOURCE,
)  # fmt: skip
BF16 = Key(
    "HINT_BF16", "string", "", ERAS, "YES lets float layers run in bfloat16 where the CPU can; any other value is refused", _SOURCE
)  # fmt: skip
EXTENSION = Key("CPU_EXTENSION_PATH", "string", "", ERAS, "a library with custom operators", _SOURCE)
SKIP_BATCHING = Key(
    "SKIP_OV_DYNAMIC_BATCHSIZE", "bool", "no", ERAS,
    "yes turns off OpenVINO's hint for automatic batching, which the CPU does not use; any value but yes means no", _SOURCE,
)  # fmt: skip
PADDING = Key(
    "ENABLE_BATCH_PADDING", "bool", "no", ERAS,
    "yes fills a smaller batch up to max_batch_size and computes all of it; without it a smaller batch is an error; "
    "any value but yes means no", _SOURCE,
)  # fmt: skip
RESHAPE = Key(
    "RESHAPE_IO_LAYERS", "bool", "no", ERAS,
    "yes gives the model's inputs the dims of the configuration, -1 for free ones; any value but yes means no", _SOURCE,
)  # fmt: skip
DEVICE = Key(
    "TARGET_DEVICE", "string", "CPU", ("bridge", "current"),
    "OpenVINO's device: CPU, GPU, NPU, AUTO, MULTI:... or HETERO:...; since container 25.10, ignored before", _SOURCE,
)  # fmt: skip
DEFAULT_MAX_BATCH = Key(
    "default-max-batch-size", "int", "4", ERAS,
    "max_batch_size that auto-complete writes when there is none and the file's layout has a batch", _SOURCE, "command line",
)  # fmt: skip

KEYS: tuple[Key, ...] = (
    HINT, STREAMS, THREADS, COMPILE_THREADS, BF16, EXTENSION, SKIP_BATCHING, PADDING, RESHAPE, DEVICE, DEFAULT_MAX_BATCH,
)  # fmt: skip


def yes(key: Key, config: object) -> bool:
    """The truth value of a key of this backend: only yes, in any case, is true."""
    return (key.text(config) or "").lower() == "yes"  # type: ignore[arg-type]
