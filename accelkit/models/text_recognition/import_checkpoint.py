"""Bring a checkpoint of the original network in as a variant of its own."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from accelkit.errors import MissingPackage, ModelError, need_file
from accelkit.models import files
from accelkit.models.text_recognition import SHIPPED, imported, weights

WANTED = "a .pth that torch.save made of a state dict, tensors by name and nothing else, or a .safetensors file"


def import_checkpoint(path: str | Path, name: str) -> Path:
    """Check a .pth or .safetensors checkpoint and store it in the cache as variant `name`; returns the stored file.

    A .pth is read with weights-only loading, which runs no code from the file. The `module.` prefix and absent
    num_batches_tracked are tolerated; missing, foreign or misshapen tensors, other files and taken names are a ModelError.
    """
    path = Path(path)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name) or name in SHIPPED:
        advice = "use letters, digits, '_', '-', '.', and another than small or full"
        raise ModelError(f"{name!r} cannot name an imported checkpoint: {advice}")
    need_file(path, WANTED)
    state = weights.load(path) if path.suffix == ".safetensors" else weights.check(_pickled(path), str(path))
    return files.write(imported() / f"{name}.safetensors", weights.save(state))


def _pickled(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a PyTorch file that holds nothing else than a state dict."""
    try:
        import torch
    except ImportError as error:
        raise MissingPackage("torch", "torch", "reading a .pth checkpoint") from error
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises many kinds for damaged and foreign files, with advice to run them
        raise ModelError(f"{path} is no checkpoint: name {WANTED}") from error
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise ModelError(f"{path} is no checkpoint, it holds something else than named tensors: name {WANTED}")
    wide = {key: value.float() if value.is_floating_point() else value for key, value in content.items()}
    return {str(key): value.numpy() for key, value in wide.items()}
