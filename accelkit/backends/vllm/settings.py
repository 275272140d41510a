"""The settings of a configuration and its model.json, read and refused as the official backend does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelkit.backends.key import Refused
from accelkit.backends.vllm import keys


@dataclass(frozen=True)
class Settings:
    """The engine's arguments as model.json has them, the GPU where Triton chose one, and whether health is asked for."""

    arguments: dict[str, Any]
    device: int | None
    health: bool

    @property
    def ranks(self) -> tuple[int, int]:
        """Sizes of tensor and pipeline parallelism."""
        return sizes(self.arguments)


def sizes(arguments: Mapping[str, Any]) -> tuple[int, int]:
    """Sizes of tensor and pipeline parallelism in a model.json; Refused for what is no number."""
    try:
        return int(arguments.get(keys.TENSOR_PARA, 1)), int(arguments.get(keys.PIPELINE_PARA, 1))
    except (TypeError, ValueError):
        raise Refused(f"{keys.ARGUMENTS}: {keys.TENSOR_PARA} and {keys.PIPELINE_PARA} must be numbers") from None


def arguments(path: Path) -> dict[str, Any]:
    """What a model.json says; Refused where it is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise Refused(f"{path} cannot be read as the arguments of vLLM's engine: {reason}") from None
    if not isinstance(found, dict) or not found:
        raise Refused(f"{path} holds no object of arguments: write at least {{'model': ...}}")
    return found


def read(args: Mapping[str, str], config: Mapping[str, Any]) -> Settings:
    """The settings of one instance; Refused for what the official backend refuses, and for what the stand-in lacks."""
    if not (config.get("model_transaction_policy") or {}).get("decoupled"):
        raise Refused("vLLM Triton backend must be configured to use decoupled model transaction policy")
    parameters = {name: value.get("string_value", "") for name, value in (config.get("parameters") or {}).items()}
    path = Path(args["model_repository"], args["model_version"], keys.ARGUMENTS)
    if not path.is_file():
        raise Refused(f"'{keys.ARGUMENTS}' containing vllm engine args must be provided in '{path.parent}'")
    given, kind = arguments(path), args["model_instance_kind"]
    across, stages = sizes(given)
    if across * stages > 1 and kind == "GPU":
        raise Refused(
            "KIND_GPU is currently for single-GPU models, please specify KIND_MODEL in the model's config.pbtxt for multi-GPU models"
        )
    if str(given.get(keys.ADAPTERS, "")).lower() == "true":
        raise Refused(f"{keys.ADAPTERS} with {keys.LORA} is not in this stand-in: leave it out")
    if keys.on(keys.METRICS, parameters):
        raise Refused(f"{keys.METRICS.name} is not in this stand-in: leave it out")
    for side, known in (("input", keys.INPUTS), ("output", keys.OUTPUTS)):
        for io in config.get(side) or []:
            wanted = known.get(io["name"], ("", 0))[0]
            if io["data_type"] != f"TYPE_{wanted}":
                has = f"is {wanted} with this backend" if wanted else f"is none of {', '.join(known)}"
                raise Refused(f"{side} '{io['name']}' {has}, the configuration has {io['data_type']}")
    device = int(args["model_instance_device_id"]) if kind == "GPU" else None
    return Settings(given, device, keys.on(keys.HEALTH, parameters))
