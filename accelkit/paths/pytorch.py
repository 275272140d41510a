"""PyTorch as it is, nothing accelerated: the network as TorchScript, which PyTorch interprets on a CPU or a GPU.

One config serves both: an instance without a kind takes a GPU where there is one. FP32 is then TF32 in convolutions, which
is what PyTorch does unless told not to, and no key of the backend tells it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelkit import repository
from accelkit.errors import ConfigError
from accelkit.paths import Built, served_name

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    from accelkit.machine import Machine
    from accelkit.models import Model

NAME = "pytorch"
BACKEND = "pytorch"
NEEDS = "PyTorch and the model as a network of PyTorch"
PRECISIONS = ("fp32", "fp16")
EVIDENCE = "pytorch"
GPU = True
GPU_PRECISIONS = ("fp16",)
REDUCED = "tf32"


def unavailable(machine: Machine, model: Model | None = None) -> str | None:
    """Return what is missing in the backend's interpreter, or why PyTorch has no such model."""
    return lacking(NAME, machine, model, NEEDS, "torch")


def lacking(
    path: str, machine: Machine, model: Model | None, needs: str, *packages: str, gpu: bool = False
) -> str | None:
    """Return what a path needs and which of it is missing, of packages in its interpreter; None when nothing is."""
    from accelkit import interpreters

    if model is not None and not getattr(model, "network", None):
        kind = "a forest" if model.kind == "forest" else "an ONNX file"
        return f"needs {needs}; {model.name} is {kind}"
    here = interpreters.has(path, BACKEND, machine)
    missing = ["an NVIDIA GPU"] if gpu and not machine.gpus else []
    how = "make setup HARDWARE=gpu" if gpu else "pip install 'accelkit[torch]'"
    missing += [f"the package {name} ({how})" for name in packages if name not in here]
    return f"needs {needs}; missing here: {', '.join(missing)}" if missing else None


def build(model: Model, directory: Path, precision: str = "fp32") -> Built:
    """Return model.pt, and the seconds that it took when it was made; ModelError with PyTorch's own reason."""
    return made(NAME, model, directory, "model.pt", ["--precision", precision])


def made(path: str, model: Model, directory: Path, name: str, arguments: Sequence[str]) -> Built:
    """Return a file that `python -m accelkit.torchfiles` makes in the path's interpreter, from the cache if it is there."""
    from accelkit import interpreters, machine
    from accelkit.models import files

    facts_of, stem = _stem(path, model, arguments)

    def make() -> tuple[bytes, dict[str, Any]]:
        import numpy as np

        out, weights = directory / name, directory / "weights.npz"
        np.savez(weights, **model.state())  # type: ignore[attr-defined]
        dims = "x".join(map(str, model.inputs[0].dims))
        words = [model.network, str(weights), str(out), "--dims", dims, *arguments]  # type: ignore[attr-defined]
        said = interpreters.run(interpreters.name(path, BACKEND), "accelkit.torchfiles", words)
        facts = json.loads(said.splitlines()[-1])
        return files.read(out), {**facts, "of": facts_of, "machine": machine.probe().line()}

    found, facts = files.kept(stem, Path(name).suffix, make)
    return Built({name: found}, facts["wall_seconds"], found.stat().st_size / 1e6)


def facts(built: Built) -> dict[str, Any]:
    """Return what was said of a file of PyTorch when it was made: versions, seconds, how TensorRT parted it."""
    (file,) = built.files.values()
    return dict(json.loads(file.with_suffix(".json").read_text(encoding="utf-8")))


def _stem(path: str, model: Model, arguments: Sequence[str]) -> tuple[list[str], str]:
    """What a file depends on beside the code, and the beginning of its name in the cache."""
    from accelkit import interpreters, machine
    from accelkit.models import files

    own, here = interpreters.packages(interpreters.name(path, BACKEND)), machine.probe()
    runs_on = [own.get(name, "") for name in ("torch", "torch-tensorrt", "tensorrt")]
    runs_on += [here.arch, *here.isa, *map(str, here.gpus)]  # compiled code is for one kind of CPU or GPU
    code = sorted((Path(__file__).parent.parent / "torchfiles").glob("*.py"))
    network = Path(__file__).parent.parent.parent.joinpath(*model.network.split(".")).with_suffix(".py")  # type: ignore[attr-defined]
    key = files.digest(model.code_hash.encode(), network, *code, repr((list(arguments), runs_on)).encode())
    return [*arguments, *runs_on[:3]], f"{model.name}_{model.variant}_{path}-{key}"


def config(
    model: Model,
    *,
    precision: str = "fp32",
    name: str | None = None,
    max_batch_size: int | None = None,
    instances: int = 1,
    threads: int | None = None,
    dynamic_batching: bool = True,
    parameters: Mapping[str, str] | None = None,
    **settings: Any,
) -> ModelConfig:
    """Return the ModelConfig; `threads` None leaves PyTorch's default, one per core, and the first model of a server decides.

    `settings` are further fields of the config, such as instance_group.
    """
    if threads is not None:
        parameters = {"INTRA_OP_THREAD_COUNT": str(threads), **(parameters or {})}
    own = {"platform": "pytorch_libtorch"}
    name = name or served_name(model, NAME, precision)
    return served_by_index(model, name, max_batch_size, instances, dynamic_batching, parameters, **(own | settings))


def served_by_index(
    model: Model, name: str, max_batch_size: int | None, instances: int, dynamic_batching: bool,
    parameters: Mapping[str, str] | None = None, **settings: Any,
) -> ModelConfig:  # fmt: skip
    """Return a ModelConfig of the backend pytorch whose tensors are named by their place: INPUT__0, OUTPUT__0."""
    largest = model.max_batch if max_batch_size is None else max_batch_size
    sides = {"input": ("INPUT", model.inputs), "output": ("OUTPUT", model.outputs)}
    tensors = {
        side: [repository.tensor(spec) | {"name": f"{word}__{place}"} for place, spec in enumerate(specs)]
        for side, (word, specs) in sides.items()
    }
    if not largest:
        raise ConfigError(
            f"{model.name}: the backend pytorch is given networks with a batch: keep max_batch_size above 0"
        )
    fields: dict[str, Any] = {
        "instance_group": [{"count": instances}],
        "dynamic_batching": {} if dynamic_batching and largest > 1 else None,
        "parameters": {key: {"string_value": value} for key, value in (parameters or {}).items()},
    }
    return repository.new(name=name, backend=BACKEND, max_batch_size=largest, **tensors, **(fields | settings))
