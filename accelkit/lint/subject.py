"""What a rule looks at: one configuration, as the servers of one era read it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelkit import repository
from accelkit.backends.key import Key

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

DEFAULT_FILES = {"onnxruntime": "model.onnx", "openvino": "model.xml", "tensorrt": "model.plan"}
TORCH_FILES = {"torch_aoti": "model.pt2"}


@dataclass(frozen=True)
class Subject:
    """A configuration as one era's server reads it, with the model's directory if it is in a repository."""

    config: ModelConfig
    era: str
    directory: Path | None = None

    @property
    def backend(self) -> str:
        """Name of its backend; empty when the server has to guess it."""
        return self.config.backend or repository.PLATFORMS.get(self.config.platform, "")

    @cached_property
    def parameters(self) -> dict[str, str]:
        """Top-level parameters."""
        return {name: value.string_value for name, value in self.config.parameters.items()}

    @cached_property
    def table(self) -> Any:
        """The module that holds the backend's keys; None for a backend whose keys the kit does not know."""
        try:
            return importlib.import_module(f"accelkit.backends.{self.backend}.keys")
        except (ModuleNotFoundError, ValueError):
            return None

    @cached_property
    def keys(self) -> dict[str, Key]:
        """The backend's top-level parameters of all eras by name."""
        return {key.name: key for key in getattr(self.table, "KEYS", ()) if key.where == "parameters"}

    @property
    def on_cpu(self) -> bool:
        """Whether every instance is said to be on the CPU."""
        groups = self.config.instance_group
        return bool(groups) and all(group.Kind.Name(group.kind) == "KIND_CPU" for group in groups)

    def accelerators(self, side: str) -> list[tuple[str, Mapping[str, str]]]:
        """Name and parameters of each accelerator for the "cpu" or the "gpu"."""
        listed = getattr(self.config.optimization.execution_accelerators, f"{side}_execution_accelerator")
        return [(entry.name, entry.parameters) for entry in listed]

    def versions(self) -> list[Path]:
        """Version directories that are there."""
        return [path for path in self.directory.glob("[1-9]*") if path.is_dir()] if self.directory else []

    @property
    def file(self) -> str:
        """Name of the model's file in a version; empty when the kit does not know."""
        if self.backend == "fil" and not self.config.default_model_filename:
            return self.table.FILES.get(self.parameters.get("model_type", "xgboost"), "")
        if self.backend == "pytorch" and not self.config.default_model_filename:
            return {"model.py": "model.py"}.get(self.config.runtime) or TORCH_FILES.get(
                self.config.platform, "model.pt"
            )
        if self.backend == "tensorflow" and not self.config.default_model_filename:
            return self.table.FILES.get(self.config.platform, "")
        return self.config.default_model_filename or DEFAULT_FILES.get(self.backend, "")
