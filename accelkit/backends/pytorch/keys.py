"""Every setting that the official pytorch backend reads, of its three runtimes: TorchScript, AOTInductor and Python."""

from __future__ import annotations

from accelkit.backends.key import ERAS, Key

_SCRIPT = "pytorch_backend src/pt/model_state.cc"
_PACKAGE = "pytorch_backend src/pt2/model_state.cc"
_PYTHON = "pytorch_backend src/model.py"

OPTIMIZED = Key(
    "DISABLE_OPTIMIZED_EXECUTION", "bool", "false", ERAS,
    "TorchScript: true interprets the graph as it is, without the optimizer that joins operators", _SCRIPT,
)  # fmt: skip
INFERENCE_MODE = Key(
    "INFERENCE_MODE", "bool", "true", ERAS,
    "TorchScript: false also keeps what a gradient would need to know of tensors; gradients are off in any case", _SCRIPT,
)  # fmt: skip
CUDNN = Key(
    "DISABLE_CUDNN", "bool", "false", ERAS,
    "TorchScript: true computes convolutions without cuDNN, on a GPU in full FP32", _SCRIPT,
)  # fmt: skip
SHARING = Key(
    "ENABLE_WEIGHT_SHARING", "bool", "false", ERAS,
    "TorchScript: instances on one device share the weights; in the stand-in, where every instance is a process, each has its "
    "own", _SCRIPT,
)  # fmt: skip
CLEANING = Key(
    "ENABLE_CACHE_CLEANING", "bool", "false", ERAS,
    "TorchScript: true gives PyTorch's spare GPU memory back after every execution, which the next one has to take again", _SCRIPT,
)  # fmt: skip
INTRA_OP_THREADS = Key(
    "INTRA_OP_THREAD_COUNT", "int", "", ERAS,
    "TorchScript: threads of an operator; of all models of a server the first one that is loaded decides, in the stand-in each "
    "for itself; unset means one for each core", _SCRIPT,
)  # fmt: skip
INTER_OP_THREADS = Key(
    "INTER_OP_THREAD_COUNT",
    "int",
    "",
    ERAS,
    "TorchScript: threads that run forked branches, decided as the above",
    _SCRIPT,
)
EXECUTOR = Key(
    "ENABLE_JIT_EXECUTOR",
    "bool",
    "",
    ERAS,
    "TorchScript: the executor that can profile; unset leaves PyTorch's choice",
    _SCRIPT,
)
PROFILING = Key(
    "ENABLE_JIT_PROFILING", "bool", "", ERAS,
    "TorchScript: watch shapes in the first executions to specialise for them; unset leaves PyTorch's choice", _SCRIPT,
)  # fmt: skip
FUSER = Key(
    "ENABLE_TENSOR_FUSER",
    "bool",
    "",
    ERAS,
    "TorchScript: join operators into kernels; unset leaves PyTorch's choice",
    _SCRIPT,
)
NVFUSER = Key("ENABLE_NVFUSER", "bool", "", (), "read by no server since the fuser left PyTorch", _SCRIPT)
PACKAGE_CLEANING = Key(
    "CACHE_CLEANING_ENABLED", "bool", "false", ("bridge", "current"),
    "AOTInductor: what ENABLE_CACHE_CLEANING is for TorchScript; of such a package no parameter is read at all, this one "
    "included", _PACKAGE,
)  # fmt: skip
NUM_THREADS = Key("NUM_THREADS", "int", "1", ERAS, "Python runtime: threads of an operator", _PYTHON)
NUM_INTEROP_THREADS = Key("NUM_INTEROP_THREADS", "int", "1", ERAS, "Python runtime: threads that run branches", _PYTHON)
COMPILE = Key(
    "TORCH_COMPILE_OPTIONAL_PARAMETERS", "string", "{}", ERAS,
    'Python runtime: what torch.compile is given, as JSON, such as {"mode": "max-autotune"}', _PYTHON,
)  # fmt: skip

KEYS: tuple[Key, ...] = (
    OPTIMIZED, INFERENCE_MODE, CUDNN, SHARING, CLEANING, INTRA_OP_THREADS, INTER_OP_THREADS, EXECUTOR, PROFILING, FUSER, NVFUSER,
    PACKAGE_CLEANING, NUM_THREADS, NUM_INTEROP_THREADS, COMPILE,
)  # fmt: skip
SCRIPT = tuple(key for key in KEYS if key.source == _SCRIPT)
"""Those that are read of TorchScript."""
PYTHON = tuple(key for key in KEYS if key.source == _PYTHON)
"""Those that are read of the Python runtime."""
