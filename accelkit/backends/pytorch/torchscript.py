"""TorchScript as the official backend loads it: onto the instance's device, its forward held against the configuration."""

from __future__ import annotations

import contextlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from accelkit.backends.key import Refused
from accelkit.backends.pytorch import keys, names
from accelkit.backends.pytorch.run import reason
from accelkit.backends.pytorch.tensors import Program, sides

DEFAULT_FILE = "model.pt"
_ENGINES = b"torch.classes.tensorrt.Engine"


def load(path: Path, model: str, config: Mapping[str, Any], device: torch.device | None, log: Any) -> Program:
    """Load a file onto a device, None for the devices that it names itself; Refused with PyTorch's own reason.

    TorchScript's own reader makes tensors and a few known classes: what a pickle would call is never called.
    """
    for key in keys.SCRIPT:
        if key is not keys.NVFUSER and key.text(config) is not None:
            key.check(config)
    _tune(config, log)
    partition = {"partition.json": ""}
    try:
        if _has_engines(path):
            import torch_tensorrt  # noqa: F401 - brings the class of engines, which the official backend is linked with
        with torch.inference_mode(keys.INFERENCE_MODE.boolean(config) is not False):
            module = torch.jit.load(str(path), map_location=device, _extra_files=partition)
    except Exception as error:
        raise Refused(f"failed to load model '{model}': {reason(error)}") from None
    takes, by_key = _arguments(model, module, config)
    listed = {side: [entry["name"] for entry in config.get(side) or []] for side in ("input", "output")}
    given = (
        range(len(listed["input"])) if by_key else names.places(model, "input", listed["input"], takes, log.log_warn)
    )
    inputs = sides(model, "input", config, list(given))
    outputs = sides(model, "output", config, names.places(model, "output", listed["output"], None, log.log_warn))
    at = device or next((one.device for one in module.parameters()), torch.device("cpu"))
    optimized = not keys.OPTIMIZED.boolean(config)
    clean = keys.CLEANING.boolean(config) and torch.cuda.is_available()
    guarded, cudnn = keys.INFERENCE_MODE.boolean(config) is not False, not keys.CUDNN.boolean(config)

    def call(tensors: list[Any]) -> list[Any]:
        with contextlib.ExitStack() as stack:
            stack.enter_context(torch.jit.optimized_execution(optimized))
            stack.enter_context(torch.inference_mode(guarded))
            stack.enter_context(torch.no_grad())
            stack.enter_context(torch.backends.cudnn.flags(enabled=cudnn, allow_tf32=torch.backends.cudnn.allow_tf32))
            made = module({side.name: tensors[side.place] for side in inputs}) if by_key else module(*tensors)
        if clean:
            torch.cuda.empty_cache()
        return _results(made)

    said = partition["partition.json"]
    facts = {
        "runtime": "TorchScript",
        "graph": dict(_graph(module)),
        "partition": json.loads(said) if said else None,
        "cudnn": cudnn,
    }
    return Program(call, inputs, outputs, at, facts)


def _has_engines(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(_ENGINES in archive.read(name) for name in archive.namelist() if name.endswith(".py"))
    except (OSError, zipfile.BadZipFile):
        return False  # torch.jit.load says what is wrong with it


def _tune(config: Mapping[str, Any], log: Any) -> None:
    """Set what belongs to the process; a switch that is not named stays as PyTorch has it."""
    for key, switch in (
        (keys.EXECUTOR, torch._C._jit_set_profiling_executor),
        (keys.PROFILING, torch._C._jit_set_profiling_mode),
        (keys.FUSER, torch._C._jit_set_texpr_fuser_enabled),
    ):
        if (wanted := key.boolean(config)) is not None:
            switch(wanted)
    for key, word, change in (
        (keys.INTRA_OP_THREADS, "Intra", torch.set_num_threads),
        (keys.INTER_OP_THREADS, "Inter", torch.set_num_interop_threads),
    ):
        if key.text(config) is not None and key.integer(config) > 0:
            change(key.integer(config))
            log.log_info(f"{word} op thread count is set to {key.integer(config)} for model instance")
    for key, word in ((keys.OPTIMIZED, "Optimized execution"), (keys.CUDNN, "cuDNN")):
        log.log_info(f"{word} is {'disabled' if key.boolean(config) else 'enabled'} for model instance")


def _arguments(model: str, module: Any, config: Mapping[str, Any]) -> tuple[list[str], bool]:
    """Names of forward's arguments, and whether it takes one dictionary; Refused for others and another number of them."""
    arguments = module.forward.schema.arguments[1:]
    kinds = [argument.type.kind() for argument in arguments]
    if kinds == ["DictType"]:
        return [], True
    if "DictType" in kinds[1:]:
        raise Refused(
            "Multiple inputs of kind DictType were detected. Only a single input of type Dict(str, Tensor) is supported."
        )
    for argument, kind in zip(arguments, kinds):
        if kind not in ("TensorType", "ListType"):
            raise Refused(
                f"An input of type '{argument.type}' was detected in the model. Only a single input of type Dict(str, Tensor) "
                "or input(s) of type Tensor are supported."
            )
    if len(arguments) != len(config.get("input") or []):
        raise Refused(
            f"unable to load model '{model}', configuration expects {len(config.get('input') or [])} inputs, model provides "
            f"{len(arguments)}"
        )
    return [argument.name for argument in arguments], False


def _results(made: Any) -> list[Any]:
    if isinstance(made, torch.Tensor):
        return [made]
    if isinstance(made, tuple):
        return list(made)
    raise Refused(
        "PyTorch execute failure: output must be of type Tensor, List[str] or Tuple containing one of these two types. It "
        "should not be a List / Dictionary of Tensors or a Scalar"
    )


def _graph(module: Any) -> Any:
    from accelkit.torchfiles import partition

    try:
        return partition.of_script(module).most_common()
    except RuntimeError:
        return []
