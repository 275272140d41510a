"""PyTorch's own files: TorchScript, which PyTorch interprets, and the package of AOTInductor, which is compiled code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from accelkit.errors import ModelError
from accelkit.torchfiles import PACKAGES, networks

QUICK = {"aot_inductor.precompile_headers": False}
"""One package gains nothing by precompiled headers, which take half a minute and 300 MB."""


def torchscript(network: nn.Module, out: Path) -> None:
    """Write a network as TorchScript, compiled from its source, so that it holds no device and no batch; ModelError otherwise."""
    try:
        torch.jit.script(network).save(str(out))
    except Exception as error:
        raise ModelError(f"TorchScript cannot compile the network: {_reason(error)}") from None


def exported(network: nn.Module, example: torch.Tensor, largest: int) -> Any:
    """Return the network as torch.export sees it, its batch free from 1 to `largest`; at 1 it is fixed."""
    # An example of one would be taken for a size that never changes.
    free = {"dynamic_shapes": {"x": {0: torch.export.Dim("batch", min=1, max=largest)}}} if largest > 1 else {}
    with torch.no_grad():
        return torch.export.export(network, (example,), **free)


def package(network: nn.Module, out: Path, dims: tuple[int, ...], largest: int, device: str) -> None:
    """Compile a network for this machine's CPU or GPU and write the package; ModelError with PyTorch's own reason."""
    _recent()
    try:
        program = exported(network.to(device), networks.sample(dims, min(2, largest), device), largest)
        with torch.no_grad():
            torch._inductor.aoti_compile_and_package(program, package_path=str(out), inductor_configs=QUICK)
    except Exception as error:
        raise ModelError(f"AOTInductor cannot compile the network: {_reason(error)}") from None


def opened(file: str, gpu: int = -1) -> Any:
    """Return PyTorch's loader of a package, as the official backend opens it; `gpu` -1 is the one that is current, or the CPU.

    aoti_load_package would first compile test programs, to tell this CPU from the one in the metadata, in every process: a
    quarter of a minute and more, for a warning. ModelError for a PyTorch that is too old; what the loader says is a RuntimeError.
    """
    _recent()
    return torch._C._aoti.AOTIModelPackageLoader(file, "model", False, 1, gpu)


def _recent() -> None:
    if networks.version() < PACKAGES:
        needs = ".".join(map(str, PACKAGES))
        raise ModelError(
            f"PyTorch {torch.__version__} is too old for packages of AOTInductor: install {needs} or newer"
        )


def _reason(error: Exception) -> str:
    """The line of an error that says what was wrong; around it PyTorch lists places in its source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return next((line for line in lines if "error" in line.lower()), lines[0])[:300]
