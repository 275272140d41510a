"""A network through Torch-TensorRT: what TensorRT takes becomes engines, the rest stays with PyTorch.

Two front ends: `dynamo` compiles a program of torch.export and is what is developed; `ts` compiles TorchScript, is kept as it
is, and is the one that runs with TensorRT 8.6. The first takes
FP16 from the module that goes in, the second casts by itself.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from accelkit.errors import ModelError
from accelkit.torchfiles import networks, partition, plain

DYNAMO = (2, 11)
"""The first Torch-TensorRT whose dynamo front end the kit uses: tests hold its keywords from here on."""
TYPED = (2, 13)
"""The first that types strongly without being asked to: the keyword is gone."""
FORMS = {"torchscript": "torchscript", "aoti": "aot_inductor"}
"""What a file is called here -> what `torch_tensorrt.save` calls it."""


def load() -> Any:
    """Return the module torch_tensorrt; ModelError where it is not, or its libraries cannot be loaded."""
    try:
        import torch_tensorrt
    except (ImportError, OSError) as error:
        raise ModelError(
            f"Torch-TensorRT cannot be loaded: {error}: install torch-tensorrt beside this PyTorch"
        ) from None
    return torch_tensorrt


def release(module: Any) -> tuple[int, int]:
    """Return major and minor version of Torch-TensorRT."""
    major, minor = module.__version__.split(".")[:2]
    return int(major), int(minor)


def compile_keywords(of: tuple[int, int], precision: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Return what `torch_tensorrt.dynamo.compile` of a version is given beside program and inputs."""
    typed = {"use_explicit_typing": True} if of < TYPED else {}
    return {"disable_tf32": precision == "fp32", **typed, **settings}


def save_keywords(form: str, inputs: list[Any], largest: int) -> dict[str, Any]:
    """Return what `torch_tensorrt.save` is given beside module and file: the batch is free up to the largest."""
    free = {"dynamic_shapes": {"x": {0: torch.export.Dim("batch", min=1, max=largest)}}} if largest > 1 else {}
    return {"output_format": FORMS[form], "arg_inputs": inputs, "retrace": True, **free}


def script_keywords(precision: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Return what `torch_tensorrt.compile` of the old front end is given beside module and inputs."""
    types = {torch.float32, torch.float16} if precision == "fp16" else {torch.float32}
    kept = {"disable_tf32": precision == "fp32", "enabled_precisions": types, "truncate_long_and_double": True}
    return {"ir": "ts", **kept, **settings}


def build(
    make: Any, out: Path, *, form: str, precision: str, dims: tuple[int, ...], profile: tuple[int, int, int],
    route: str = "auto", **settings: Any,
) -> dict[str, Any]:  # fmt: skip
    """Compile what `make(precision)` returns and write it; what was built and how it was parted.

    `profile` are least, best and largest batch. ModelError with Torch-TensorRT's own reason.
    """
    trt = load()
    if not torch.cuda.is_available():
        raise ModelError("Torch-TensorRT needs an NVIDIA GPU, and PyTorch sees none here")
    if route == "auto":
        route = "dynamo" if release(trt) >= DYNAMO else "ts"
    shapes = {f"{edge}_shape": (size, *dims) for edge, size in zip(("min", "opt", "max"), profile)}
    given = [trt.Input(**shapes, dtype=torch.float32)]
    try:
        with torch.no_grad():
            parts = (_dynamo if route == "dynamo" else _script)(
                trt, make, out, form, precision, dims, profile, given, settings
            )
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"Torch-TensorRT {trt.__version__} cannot compile the network: {_reason(error)}") from None
    return {"torch_tensorrt": trt.__version__, "tensorrt": _tensorrt(), "route": route, "partition": parts}


def _dynamo(
    trt: Any, make: Any, out: Path, form: str, precision: str, dims: tuple[int, ...], profile: tuple[int, int, int],
    given: list[Any], settings: dict[str, Any],
) -> dict[str, Any]:  # fmt: skip
    network: nn.Module = make(precision).cuda()
    example = networks.sample(dims, profile[1] if profile[1] > 1 else min(2, profile[2]), "cuda")
    program = plain.exported(network, example, profile[2])
    before = partition.of_program(program)
    made = trt.dynamo.compile(program, arg_inputs=given, **compile_keywords(release(trt), precision, settings))
    parts = partition.report(before, partition.of_compiled(made))
    trt.save(made, str(out), **save_keywords(form, [example], profile[2]))
    if form == "torchscript":
        _note(torch.jit.load(str(out)), out, parts)
    return parts


def _script(
    trt: Any, make: Any, out: Path, form: str, precision: str, dims: tuple[int, ...], profile: tuple[int, int, int],
    given: list[Any], settings: dict[str, Any],
) -> dict[str, Any]:  # fmt: skip
    if form != "torchscript":
        raise ModelError(f"the TorchScript front end writes TorchScript, not {form}: use Torch-TensorRT 2.11 or newer")
    # This front end casts by itself, so that the module stays FP32 and only the engines compute in FP16.
    scripted = torch.jit.script(make("fp32").cuda())
    # Frozen, as the front end freezes it: with its numerics optimized the batch normalizations would be gone from the count.
    before = partition.of_script(torch.jit.freeze(scripted, optimize_numerics=False))
    made = trt.compile(scripted, inputs=given, **script_keywords(precision, settings))
    parts = partition.report(before, partition.of_script(made))
    _note(made, out, parts)
    return parts


def _note(module: Any, out: Path, parts: dict[str, Any]) -> None:
    """Write TorchScript with what became of its operators, which every reader of such files passes over."""
    torch.jit.save(module, str(out), _extra_files={"partition.json": json.dumps(parts)})


def _tensorrt() -> str | None:
    try:
        import tensorrt
    except (ImportError, OSError):
        return None
    return str(tensorrt.__version__)


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[-1][:300]
