"""A forest in the file of the library that trained it, on the backend fil; on a CPU its engine is Treelite's GTIL."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from accelkit import repository
from accelkit.errors import ConfigError
from accelkit.paths import Built, served_name

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    from accelkit.machine import Machine
    from accelkit.models import Model
    from accelkit.models.trees.model import Trees

NAME = "fil"
BACKEND = "fil"
NEEDS = "a forest (XGBoost, LightGBM or a Treelite checkpoint) and the package treelite"
PRECISIONS = ("fp32",)
EVIDENCE = "fil"
GPU = False
REDUCED = None
SHAP = "treeshap_output"


def unavailable(machine: Machine, model: Model | None = None) -> str | None:
    """Return what is missing: the package treelite, or a forest where the model is a network."""
    if model is not None and model.kind != "forest":
        return f"needs {NEEDS}; {model.name} is a neural network"
    if "treelite" in machine.runtimes:
        return None
    return f"needs {NEEDS}; missing here: pip install 'accelkit[trees]'"


def build(model: Model, directory: Path, precision: str = "fp32") -> Built:
    """Return the forest's file, trained if it is not in the cache; nothing is built in `directory`."""
    started, trees = time.perf_counter(), _forest(model)
    file = trees.forest()
    return Built({trees.file_name: file}, time.perf_counter() - started, file.stat().st_size / 1e6)


def config(
    model: Model,
    *,
    precision: str = "fp32",
    name: str | None = None,
    max_batch_size: int | None = None,
    instances: int = 1,
    dynamic_batching: bool = True,
    threads: int | None = None,
    shap: bool = False,
    parameters: Mapping[str, str] | None = None,
) -> ModelConfig:
    """Return the ModelConfig; `threads` None leaves the engine's default, one per core; `shap` adds the output of SHAP values.

    It holds each key that 25.09 renamed in both spellings. `parameters` are passed on as they are.
    """
    trees = _forest(model)
    values = {
        "model_type": trees.model_type, "is_classifier": "true", "output_class": "true", "predict_proba": "true",
        "threshold": "0.5", **({} if threads is None else {"cpu_nthread": str(threads)}), **(parameters or {}),
    }  # fmt: skip
    outputs = [repository.tensor(spec) for spec in trees.outputs]
    if shap:
        explained = 2 if trees.variant == "sklearn" else 1
        dims = [explained * (trees.inputs[0].dims[0] + 1)]
        outputs.append({"name": SHAP, "data_type": "TYPE_FP32", "dims": dims})
    return repository.new(
        name=name or served_name(model, NAME, precision),
        backend=BACKEND,
        max_batch_size=trees.max_batch if max_batch_size is None else max_batch_size,
        input=[repository.tensor(spec) for spec in trees.inputs],
        output=outputs,
        instance_group=[{"kind": "KIND_CPU", "count": instances}],
        dynamic_batching={} if dynamic_batching else None,
        parameters={key: {"string_value": value} for key, value in values.items()},
    )


def _forest(model: Model) -> Trees:
    if model.kind != "forest":
        raise ConfigError(f"path {NAME} needs {NEEDS}; {model.name} is a neural network")
    return cast("Trees", model)
