"""A package of AOTInductor as the official backend loads it; compiled for another machine it is refused before it is opened."""

from __future__ import annotations

import json
import platform
import re
import sys
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from accelkit.backends.key import Refused
from accelkit.backends.pytorch import names
from accelkit.backends.pytorch.run import reason
from accelkit.backends.pytorch.tensors import Program, sides
from accelkit.torchfiles import plain

DEFAULT_FILE = "model.pt2"
PLATFORM = "torch_aoti"
_FLAGS = {"AVX512": "avx512f", "AMX": "amx_tile", "NEON": "asimd"}
"""Names of instruction sets in a package that Linux calls otherwise."""


def meant(repository: Path, config: Mapping[str, Any]) -> bool:
    """Whether a configuration is for such a package: by the platform, or where config.pbtxt names none by the file's name.

    The server itself writes the platform of TorchScript into a configuration that names none.
    """
    if config.get("platform") == PLATFORM:
        return True
    try:
        said = re.search(r"^\s*platform\s*:", (repository / "config.pbtxt").read_text(errors="replace"), re.MULTILINE)
    except OSError:
        said = None
    return not said and (config.get("default_model_filename") or "").endswith(".pt2")


def load(path: Path, model: str, config: Mapping[str, Any], device: torch.device | None, log: Any) -> Program:
    """Load a package; Refused where it is for other hardware, PyTorch cannot open it, or its names are others."""
    made_for(path, model, device)
    for key in config.get("parameters") or {}:
        log.log_verbose(f"parameter '{key}' of model '{model}' is not read: the backend reads none for AOTInductor")
    if config.get("sequence_batching"):
        raise Refused("Sequence batching is not supported yet.")
    try:
        if _has_engines(path):
            import torch_tensorrt  # noqa: F401 - brings the operator that runs engines
        number = device.index if device is not None and device.type == "cuda" else -1
        loader = plain.opened(str(path), number)
        known = names.of_package(loader.get_call_spec())
    except Refused:
        raise
    except Exception as error:
        raise Refused(f'failed to create instance for inductor model "{model}": {reason(error)}') from None
    placed: dict[str, list[int]] = {}
    for side in ("input", "output"):
        listed = [entry["name"] for entry in config.get(side) or []]
        for name in listed:
            if name not in known[side]:
                raise Refused(
                    f'{side.capitalize()} "{name}" for model instance "{model}" is not found in model {side} map; there are '
                    f"{', '.join(known[side])}"
                )
        placed[side] = [known[side][name] for name in listed]
    if len(set(placed["input"])) != len(set(known["input"].values())):
        raise Refused(
            f"unable to load model '{model}', configuration expects {len(placed['input'])} inputs, model provides "
            f"{len(set(known['input'].values()))}"
        )

    def call(tensors: list[Any]) -> list[Any]:
        with torch.inference_mode():
            return list(loader.run(tensors))

    at = device or torch.device(loader.get_metadata().get("AOTI_DEVICE_KEY", "cpu"))
    facts = {"runtime": "AOTInductor", "kernels": dict(kernels(path)), "made_for": metadata(path), "cudnn": True}
    inputs, outputs = (sides(model, side, config, placed[side]) for side in ("input", "output"))
    return Program(call, inputs, outputs, at, facts)


def _has_engines(path: Path) -> bool:
    """Whether a package calls TensorRT's engines."""
    with zipfile.ZipFile(path) as archive:
        return any(b"tensorrt" in archive.read(name) for name in archive.namelist() if name.endswith((".cpp", ".json")))


def metadata(path: Path) -> dict[str, str]:
    """What a package says of the machine that it was compiled for; nothing of it is run. Refused for a file that is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            found = [name for name in archive.namelist() if name.endswith("_metadata.json")]
            return {key: value for name in sorted(found) for key, value in json.loads(archive.read(name)).items()}
    except (OSError, zipfile.BadZipFile, ValueError, AttributeError) as error:
        raise Refused(f'PyTorch inductor model file "{path}" is no package of AOTInductor: {error}') from None


def made_for(path: Path, model: str, device: torch.device | None) -> None:
    """Refuse a package for another system, CPU, GPU or kind of device than this instance's: it would end the process."""
    said = metadata(path)
    wanted = said.get("AOTI_DEVICE_KEY")
    if wanted is None:
        raise Refused(f'PyTorch inductor model file "{path}" is no package of AOTInductor: it names no device')
    if device is not None and device.type != wanted:
        raise Refused(
            f"model '{model}' was compiled for {wanted}, its instance is on {device.type}: compile it for that"
        )
    for key, here in (("AOTI_PLATFORM", sys.platform), ("AOTI_MACHINE", platform.machine())):
        if said.get(key, here) != here:
            raise Refused(f"model '{model}' was compiled for {said[key]}, this is {here}: compile it here")
    if wanted == "cpu":
        flags = _flags()
        lacking = [name for name in said.get("AOTI_CPU_ISA", "").split() if _FLAGS.get(name, name.lower()) not in flags]
        if lacking and flags:
            raise Refused(
                f"model '{model}' was compiled for a CPU with {', '.join(lacking)}, which this one lacks: compile it here"
            )
    elif torch.cuda.is_available():
        here = "".join(map(str, torch.cuda.get_device_capability(device)))
        made = re.sub(r"\D", "", said.get("AOTI_COMPUTE_CAPABILITY", ""))
        if made and made != here:
            raise Refused(
                f"model '{model}' was compiled for compute capability {made}, this GPU has {here}: compile it here"
            )


def _flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return set()
    return set(next((line.partition(":")[2] for line in lines if line.startswith(("flags", "Features"))), "").split())


def kernels(path: Path) -> list[tuple[str, int]]:
    """How often each kernel that AOTInductor wrote, or operator that it left to PyTorch, is called in the package's code."""
    with zipfile.ZipFile(path) as archive:
        code = [
            archive.read(name).decode(errors="replace") for name in archive.namelist() if name.endswith(".wrapper.cpp")
        ]
    called = [
        name
        for text in code
        for name in re.findall(
            r"^\s+(?:AOTI_TORCH_ERROR_CODE_CHECK\()?(?:call_)?(cpp_fused_\w+|triton_\w+?_fused_\w+|aoti_torch_(?:cpu|cuda)_\w+)\(",
            text, re.MULTILINE,
        )
    ]  # fmt: skip
    return Counter(re.sub(r"_\d+$", "", name) for name in called).most_common()
