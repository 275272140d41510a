"""The Python runtime: the one nn.Module in model.py, with the state dict beside it, compiled by torch.compile."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import json
import locale
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from accelkit.backends.key import Refused
from accelkit.backends.pytorch import keys
from accelkit.backends.pytorch.run import reason
from accelkit.backends.pytorch.tensors import Program, sides

DEFAULT_FILE = "model.py"
_ASKED = re.compile(r"""^\s*runtime\s*:\s*["']model\.py["']""", re.MULTILINE)


def asked(repository: Path, config: Mapping[str, Any]) -> bool:
    """Whether a model's config.pbtxt names this runtime.

    The server itself writes runtime "model.py" into the configuration of every Python-based backend, so that what it hands
    over does not tell; where a file was chosen that is no Python, none was meant.
    """
    given = config.get("default_model_filename") or ""
    if given:
        return given.endswith(".py")
    try:
        return bool(_ASKED.search((repository / "config.pbtxt").read_text(errors="replace")))
    except OSError:
        return False


def load(directory: Path, model: str, config: Mapping[str, Any], device: torch.device | None, log: Any) -> Program:
    """Load the module of a version's model.py, or TorchScript where there is none; Refused with the reason."""
    for key, change in (
        (keys.NUM_THREADS, torch.set_num_threads),
        (keys.NUM_INTEROP_THREADS, torch.set_num_interop_threads),
    ):
        change(key.integer(config))
    # A stub has the locale C, in which torch.compile cannot read PyTorch's own sources.
    with contextlib.suppress(locale.Error):
        locale.setlocale(locale.LC_CTYPE, "C.UTF-8")
    options = _options(config)
    named = [config.get("default_model_filename") or "", DEFAULT_FILE, "model.pt"]
    found = next((directory / name for name in named if name and (directory / name).is_file()), None)
    if found is None:
        raise Refused(f"No model found in {directory}/{[name for name in named if name]}")
    try:
        if found.suffix == ".py":
            network = _module(found, model)
            state = found.with_suffix(".pt")
            if state.is_file():
                network.load_state_dict(_state(state, device))
            else:
                log.log_info(f"Model parameter file not found for '{model}'")
        else:
            network = torch.jit.load(str(found))
        at = device or next((one.device for one in network.parameters()), None)
        if at is None:
            raise Refused("Cannot determine model device")
        network = network.to(at).eval()
        run = torch.compile(network, **options) if found.suffix == ".py" else network
    except Refused:
        raise
    except Exception as error:
        raise Refused(f"failed to load model '{model}': {reason(error)}") from None

    def call(tensors: list[Any]) -> list[Any]:
        with torch.inference_mode():
            made = run(*tensors)
        return list(made) if isinstance(made, (tuple, list)) else [made]

    inputs, outputs = (sides(model, side, config, range(len(config.get(side) or []))) for side in ("input", "output"))
    compiled = "torch.compile" if found.suffix == ".py" else "TorchScript"
    return Program(call, inputs, outputs, at, {"runtime": f"Python, {compiled}", "options": options, "cudnn": True})


def _options(config: Mapping[str, Any]) -> dict[str, Any]:
    text = keys.COMPILE.text(config) or keys.COMPILE.default
    try:
        options = dict(json.loads(text))
    except (ValueError, TypeError) as error:
        raise Refused(f"{keys.COMPILE.name} is no JSON object: {error}") from None
    if "model" in options:
        raise Refused("'model' is not an optional parameter for 'torch.compile'")
    if unknown := set(options) - set(inspect.signature(torch.compile).parameters):
        raise Refused(f"torch.compile has no parameter {', '.join(sorted(unknown))}, which {keys.COMPILE.name} names")
    return options


def _module(path: Path, model: str) -> Any:
    spec = importlib.util.spec_from_file_location(model, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    kinds = [value for _, value in sorted(vars(module).items()) if isinstance(value, type)]
    network = next((kind for kind in kinds if issubclass(kind, torch.nn.Module)), None)
    if network is None:
        raise Refused("Cannot find a subclass of torch.nn.Module")
    return network()


def _state(path: Path, device: torch.device | None) -> Any:
    """A state dict: tensors alone, so that a pickle which would call anything is refused instead."""
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except pickle.UnpicklingError as error:
        raise Refused(
            f"{path.name} holds more than tensors and is not unpickled, for that could run what it likes: {reason(error)}"
        ) from None
