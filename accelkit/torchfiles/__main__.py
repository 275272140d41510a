"""`python -m accelkit.torchfiles`: make a file of a network: one line of JSON, or one line of error and exit code 2."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from accelkit import program
from accelkit.errors import ConfigError, ModelError

CACHE = "TORCHINDUCTOR_CACHE_DIR"
FORMS = ("torchscript", "aoti", "state")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = program.Parser(
        prog="python -m accelkit.torchfiles", description="Files of PyTorch from a network and its weights."
    )
    top.add_argument("module", help="the Python module whose restore(state) makes the network")
    top.add_argument("weights", type=Path, metavar="NPZ", help="its state dict")
    top.add_argument("out", type=Path)
    top.add_argument("--form", choices=FORMS, default="torchscript")
    top.add_argument("--tensorrt", action="store_true", help="what TensorRT takes becomes engines, by Torch-TensorRT")
    top.add_argument("--precision", choices=("fp32", "tf32", "fp16"), default="fp32")
    top.add_argument("--dims", default="", metavar="CxHxW", help="of the input, without the batch")
    top.add_argument("--profile", default="1:16:64", metavar="MIN:OPT:MAX", help="the batch")
    top.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="what a package of AOTInductor is for")
    top.add_argument("--detour", action="store_true", help="with an operator that TensorRT lacks behind each pooling")
    top.add_argument("--route", choices=("auto", "dynamo", "ts"), default="auto", help="Torch-TensorRT's front end")
    top.add_argument("--min-block-size", type=int, metavar="N", help="fewer operators in a row stay with PyTorch")
    return top


def build(given: argparse.Namespace) -> dict[str, Any]:
    """Make the file and return what was made."""
    try:
        import torch

        from accelkit.torchfiles import networks, plain
    except ModuleNotFoundError as error:
        raise ModelError(f"a file of PyTorch needs the package {error.name}, which is not installed here") from None
    started = time.perf_counter()
    dims, profile = _numbers(given.dims, "x"), _numbers(given.profile, ":")
    if len(profile) != 3 or not 1 <= profile[0] <= profile[1] <= profile[2]:
        raise ConfigError(f"profile {given.profile}: give least, best and largest batch, such as 1:16:64")
    if not dims and (given.tensorrt or given.form == "aoti"):
        raise ConfigError("--dims is missing: give the input's sizes without the batch, such as 1x32x100")
    if given.tensorrt and given.form == "state":
        raise ConfigError("--form state holds weights, which TensorRT has no part in: leave out --tensorrt")
    _writable(given.out)
    make = partial(networks.restore, given.module, given.weights, detour=given.detour)
    facts: dict[str, Any] = {"torch": torch.__version__, "form": given.form, "precision": given.precision}
    if given.tensorrt:
        from accelkit.torchfiles import accelerated

        least = {} if given.min_block_size is None else {"min_block_size": given.min_block_size}
        facts |= accelerated.build(
            make, given.out, form=given.form, precision=given.precision, dims=dims, profile=profile, route=given.route,
            **least,
        )  # fmt: skip
    elif given.form == "state":
        torch.save(make(given.precision).state_dict(), given.out)
    elif given.form == "torchscript":
        plain.torchscript(make(given.precision), given.out)
    else:
        plain.package(make(given.precision), given.out, dims, profile[2], given.device)
    return {**facts, "seconds": round(time.perf_counter() - started, 3), "bytes": given.out.stat().st_size}


def _writable(out: Path) -> None:
    """Make the folder of a file; ConfigError, before the work, where none can be written."""
    if out.is_dir():
        raise ConfigError(f"{out}: is a folder: name the file that is to be written")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out.parent):
            return
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written there: {error.strerror}: name another file") from None


def _numbers(text: str, between: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(between) if part)
    except ValueError:
        raise ConfigError(f"{text}: numbers with {between} between them were meant") from None


@contextmanager
def _scratch() -> Iterator[None]:
    """Let go what the compiler writes on its way, more than the weights, unless TORCHINDUCTOR_CACHE_DIR names a place for it."""
    with tempfile.TemporaryDirectory(prefix="accelkit-build-", ignore_cleanup_errors=True) as folder:
        kept = os.environ.setdefault(CACHE, folder)  # PyTorch itself sets it when it first asks, so before that
        try:
            yield
        finally:
            if kept == folder:
                del os.environ[CACHE]


def main(arguments: list[str]) -> int:
    """Print what was made, or the reason for nothing."""
    with _scratch():
        return program.run(lambda words: build(parser().parse_args(words)), arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
