"""Every setting that the official tensorflow backend reads. Servers of the legacy era alone have it: 25.02 is the last."""

from __future__ import annotations

from accelkit.backends.key import Key

_SOURCE = "tensorflow_backend src/tensorflow.cc"
_SESSION = "tensorflow_backend mirror/tensorflow_backend_tf.cc NewSessionOptions"
_ERAS = ("legacy",)
TENSORRT, GPU_IO, MIXED = "tensorrt", "gpu_io", "auto_mixed_precision"
"""Names of GPU accelerators."""

PLATFORM = Key(
    "platform", "string", "", _ERAS,
    "tensorflow_savedmodel for a SavedModel, the directory model.savedmodel, or tensorflow_graphdef for the file model.graphdef; "
    "the server fills it in where one of these is there", _SOURCE, "top level",
)  # fmt: skip
OP_LIBRARIES = Key(
    "op_library_filename", "string", "", _ERAS, "libraries with custom operators, loaded for the whole process", _SOURCE,
    "model_operations",
)  # fmt: skip
INTRA_THREADS = Key(
    "TF_NUM_INTRA_THREADS", "int", "0", _ERAS,
    "threads of one operator; 0 means one for each core; the first session of a process decides", _SOURCE,
)  # fmt: skip
INTER_THREADS = Key(
    "TF_NUM_INTER_THREADS", "int", "0", _ERAS, "operators that run side by side; 0 means as many as cores", _SOURCE,
)  # fmt: skip
PER_SESSION = Key(
    "TF_USE_PER_SESSION_THREADS", "bool", "false", _ERAS,
    "threads of its own for each session; true, on and 1 are true, and yes, which the backend's README writes, is refused",
    _SOURCE,
)  # fmt: skip
GRAPH_TAG = Key("TF_GRAPH_TAG", "string", "serve", _ERAS, "tag of the graph to take from the SavedModel", _SOURCE)
SIGNATURE = Key(
    "TF_SIGNATURE_DEF", "string", "serving_default", _ERAS,
    "signature to serve; where it is not named and serving_default is missing, any other is taken", _SOURCE,
)  # fmt: skip
SHARE_COUNT = Key(
    "MAX_SESSION_SHARE_COUNT", "int", "1", _ERAS,
    "instances that share one session; in the stand-in, where an instance is a process, each has its own", _SOURCE,
)  # fmt: skip
INIT_OPS = Key(
    "TF_INIT_OPS_FILE", "string", "", _ERAS,
    'JSON file {"init_ops": [...]} with operators to run first, in the version or beside it', _SOURCE,
)  # fmt: skip
GRAPH_LEVEL = Key(
    "level", "int", "0", _ERAS,
    "XLA's level, for GPUs: -1 off, 1 on, 2 and more on with all; 0 leaves TensorFlow's default, off", _SESSION,
    "optimization.graph",
)  # fmt: skip
CPU_ACCELERATORS = Key(
    "cpu_execution_accelerator", "string", "", _ERAS, "refused: the backend knows none", _SOURCE,
    "optimization.execution_accelerators",
)  # fmt: skip
GPU_ACCELERATORS = Key(
    "gpu_execution_accelerator", "string", "", _ERAS,
    "tensorrt, gpu_io (tensors stay on the GPU; in the stand-in they pass through the host) and auto_mixed_precision, which "
    "excludes tensorrt; instances on a CPU ignore all of them with a warning", _SOURCE, "optimization.execution_accelerators",
)  # fmt: skip
PRECISION_MODE = Key(
    "precision_mode", "string", "FP32", _ERAS, "FP32 or FP16 for segments of TensorRT", _SOURCE, f"accelerator {TENSORRT}",
)  # fmt: skip
MINIMUM_SEGMENT = Key(
    "minimum_segment_size", "int", "3", _ERAS, "nodes that a segment must have to become an engine", _SOURCE,
    f"accelerator {TENSORRT}",
)  # fmt: skip
WORKSPACE = Key(
    "max_workspace_size_bytes", "int", str(1 << 30), _ERAS, "memory that an engine may take while it computes", _SOURCE,
    f"accelerator {TENSORRT}",
)  # fmt: skip
CACHED_ENGINES = Key(
    "max_cached_engines", "int", "100", _ERAS, "engines kept for each segment, one for each shape of its inputs", _SOURCE,
    f"accelerator {TENSORRT}",
)  # fmt: skip
SOFT_PLACEMENT = Key(
    "allow-soft-placement", "bool", "true", _ERAS, "operators without a kernel for the GPU run on the CPU", _SOURCE,
    "command line",
)  # fmt: skip
MEMORY_FRACTION = Key(
    "gpu-memory-fraction", "float", "0.0", _ERAS, "part of the GPU's memory taken at once; 0 lets it grow", _SOURCE,
    "command line",
)  # fmt: skip
VERSION = Key(
    "version", "int", "2", _ERAS, "the major version of TensorFlow; not read since 23.04, which dropped 1", _SOURCE, "command line",
)  # fmt: skip
DEFAULT_MAX_BATCH = Key(
    "default-max-batch-size", "int", "4", _ERAS,
    "max_batch_size that auto-complete writes when there is none and every tensor's first size is free; 0 for no batching",
    _SOURCE, "command line",
)  # fmt: skip

KEYS: tuple[Key, ...] = (
    PLATFORM, OP_LIBRARIES, INTRA_THREADS, INTER_THREADS, PER_SESSION, GRAPH_TAG, SIGNATURE, SHARE_COUNT, INIT_OPS, GRAPH_LEVEL,
    CPU_ACCELERATORS, GPU_ACCELERATORS, PRECISION_MODE, MINIMUM_SEGMENT, WORKSPACE, CACHED_ENGINES, SOFT_PLACEMENT,
    MEMORY_FRACTION, VERSION, DEFAULT_MAX_BATCH,
)  # fmt: skip
SAVED_MODEL, GRAPH_DEF = "tensorflow_savedmodel", "tensorflow_graphdef"
FILES = {SAVED_MODEL: "model.savedmodel", GRAPH_DEF: "model.graphdef"}
"""Default name of the file by platform."""
PRECISIONS = ("FP32", "FP16")
"""Values of precision_mode."""
ACCELERATORS = (TENSORRT, GPU_IO, MIXED)
TENSORRT_KEYS = (PRECISION_MODE, MINIMUM_SEGMENT, WORKSPACE, CACHED_ENGINES)
