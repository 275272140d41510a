"""A GPT on TensorRT-LLM: its repository in the form of the LLM API, and in the legacy form of an ensemble around an engine.

What is written is held against the official files; nothing of it runs here, because the libraries come in NVIDIA's image only. The
legacy form takes the kit's GPT; the LLM API has no network for GPT-2, and there the form is for a checkpoint of another architecture.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any, cast

from accelkit import repository as repositories
from accelkit import versions
from accelkit.backends.key import ERAS
from accelkit.backends.tensorrtllm import keys, settings, tensors
from accelkit.errors import ConfigError
from accelkit.paths import GENERATES, Built, served_name

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    from accelkit.machine import Machine
    from accelkit.models import Model
    from accelkit.models.gpt.model import Gpt

NAME = "tensorrt-llm"
BACKEND = "tensorrtllm"
NEEDS = "an NVIDIA GPU, a transformer language model and NVIDIA's trtllm-python-py3 image"
PRECISIONS = ("fp32",)
EVIDENCE = "none"
GPU = True
REDUCED = None
FORMS = LLMAPI, LEGACY = "llmapi", "legacy"
CHECKPOINT, ENGINE = "/checkpoint", "/engine"
"""Where the container has the checkpoint as Hugging Face writes it, and the engine that is built of it."""


def unavailable(machine: Machine, model: Model | None = None) -> str | None:
    """Return what is missing, which is always something: no server that the kit starts has TensorRT-LLM."""
    if model is not None and model.kind != GENERATES:
        return f"needs {NEEDS}; {model.name} generates nothing"
    missing = [*([] if machine.gpus else ["an NVIDIA GPU"]), "that image (this kit runs nothing in it)"]
    return f"needs {NEEDS}; missing here: {', '.join(missing)}; its repository can be written, as lesson 11 shows"


def build(
    model: Model, directory: Path, precision: str = "fp32", form: str = LLMAPI, tensor_para: int = 1, pipeline_para: int = 1,
    data_type: str = "fp16", streaming: bool = False, arguments: Mapping[str, Any] | None = None,
) -> Built:  # fmt: skip
    """Write model.yaml into `directory`, nothing for the legacy form, and the checkpoint into the kit's cache.

    `arguments` are those of tensorrt_llm.LLM: they are added, or take a place. ConfigError for a form or type that there is not,
    and for ranks that cannot share the model.
    """
    from accelkit.models.gpt import huggingface

    started, gpt = time.perf_counter(), _gpt(model, tensor_para, pipeline_para)
    _known("form", form, FORMS)
    _known("data_type", data_type, keys.DTYPES)
    source, files = huggingface.directory(gpt), dict[str, Path]()
    if form == LLMAPI:
        given = {
            "model": CHECKPOINT, "backend": keys.ENGINES[0], "dtype": keys.DTYPES[data_type], "max_seq_len": gpt.sizes.positions,
            "tensor_parallel_size": tensor_para, "pipeline_parallel_size": pipeline_para, keys.CACHE: {keys.SHARE: 0.9},
            **(arguments or {}), keys.TRITON: {keys.BATCH: 0, keys.DECOUPLED: streaming},
        }  # fmt: skip
        lost = not {"model", "backend"} & set(arguments or {})
        files[keys.YAML] = settings.write(directory / keys.YAML, given, keys.NO_NETWORK if lost else "")
    return Built(files, time.perf_counter() - started, sum(one.stat().st_size for one in source.iterdir()) / 1e6)


def config(model: Model, *, precision: str = "fp32", form: str = LLMAPI, **given: Any) -> ModelConfig:
    """Return the ModelConfig of the model that clients call; `configs` says what it takes."""
    return configs(model, form, precision=precision, **given)[0]


def configs(
    model: Model, form: str = LLMAPI, *, precision: str = "fp32", name: str | None = None, max_batch_size: int | None = None,
    streaming: bool = False, parameters: Mapping[str, str] | None = None,
) -> list[ModelConfig]:  # fmt: skip
    """Return the ModelConfigs of a repository, first the one that clients call; `parameters` are the engine's, or the LLM API's.

    They hold the tensors that a text needs and every era has; paths in them are the container's.
    """
    batch = max_batch_size or _gpt(model).max_batch
    _known("form", form, FORMS)
    name = name or served_name(model, NAME if form == LLMAPI else f"{NAME} {LEGACY}", precision)
    policy, gathered = {"model_transaction_policy": {"decoupled": streaming}}, {"dynamic_batching": dict[str, Any]()}
    if form == LLMAPI:
        return [_config(name, 0, "python", tensors.LLMAPI, parameters or {}, **policy)]
    text = {keys.TOKENIZER.name: CHECKPOINT}
    told = keys.WRITTEN | {keys.MODEL_PATH.name: ENGINE} | dict(parameters or {})
    steps = {"platform": "ensemble", "ensemble_scheduling": {"step": tensors.wired(name, streaming)}, "instance_group": []}  # fmt: skip
    return [
        _config(name, batch, "", tensors.ensemble(streaming), {}, **steps),
        _config(f"{name}_preprocessing", batch, "python", tensors.BEFORE, keys.BEFORE | text, **gathered),
        _config(f"{name}_engine", batch, BACKEND, tensors.engine(streaming), told, **policy, **gathered),
        _config(f"{name}_postprocessing", batch, "python", tensors.AFTER, keys.AFTER | text, **gathered),
    ]


def write(model: Model, folder: Path, form: str = LLMAPI, **given: Any) -> list[Path]:
    """Write a whole repository; return its models' directories, first the one that clients call. `given` is for build and configs."""
    own = {key: given.pop(key) for key in ("tensor_para", "pipeline_para", "data_type", "arguments") if key in given}
    with tempfile.TemporaryDirectory(prefix="accelkit-build-") as scratch:
        built = build(model, Path(scratch), form=form, streaming=given.get("streaming", False), **own)
        return [repositories.add(folder, one, built.files) for one in configs(model, form, **given)]


def commands(
    model: Model, folder: Path, form: str = LLMAPI, *, era: str = "current", name: str | None = None, max_batch_size: int | None = None,
    tensor_para: int = 1, pipeline_para: int = 1, data_type: str = "fp16",
) -> str:  # fmt: skip
    """Return the command lines that start the era's image on a written repository, build the engine in it, and serve.

    ConfigError for what build refuses, and for the LLM API in the legacy era, whose image has no model for it.
    """
    from accelkit.models.gpt import huggingface

    gpt, served = _gpt(model, tensor_para, pipeline_para), config(model, form=form, name=name).name
    _known("era", era, ERAS)
    _known("data_type", data_type, keys.DTYPES)
    if form == LLMAPI and era in keys.OLD:
        raise ConfigError(
            f"the image of the {era} era has no model of the LLM API: take the form {LEGACY}, or a later era"
        )
    table = versions.tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    return Template(table["commands"][form].strip()).substitute(
        served=served, folder=folder.absolute(), engines=folder.absolute().parent / "engine", checkpoint=huggingface.directory(gpt),
        image=versions.get("images.trtllm" if era == "current" else f"images.{era}.trtllm"), examples=table["examples"][era],
        dtype=keys.DTYPES[data_type], tensor_para=tensor_para, pipeline_para=pipeline_para, ranks=tensor_para * pipeline_para,
        batch=max_batch_size or gpt.max_batch, positions=gpt.sizes.positions,
    )  # fmt: skip


def _config(
    name: str, batch: int, backend: str, sides: tensors.Sides, parameters: Mapping[str, str], **more: Any
) -> ModelConfig:
    inputs, outputs = ([one.field() for one in side] for side in sides)
    given = {key: {"string_value": value} for key, value in parameters.items()}
    own = {"input": inputs, "output": outputs, "instance_group": [{"kind": "KIND_CPU", "count": 1}], **more}
    return repositories.new(name=name, max_batch_size=batch, backend=backend, parameters=given, **own)


def _known(what: str, name: str, there: Collection[str]) -> None:
    if name not in there:
        raise ConfigError(f"path {NAME} has no {what} {name!r}: there are {', '.join(there)}")


def _gpt(model: Model, tensor_para: int = 1, pipeline_para: int = 1) -> Gpt:
    """The model as a GPT that so many ranks can share."""
    from accelkit.models.gpt import checkpoint

    if model.kind != GENERATES:
        raise ConfigError(f"path {NAME} needs {NEEDS}; {model.name} generates nothing")
    gpt = cast("Gpt", model)
    if reason := checkpoint.fits(gpt.sizes, tensor_para, pipeline_para):
        raise ConfigError(f"{gpt.name} {gpt.variant}: {reason}")
    return gpt
