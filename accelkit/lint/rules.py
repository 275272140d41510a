"""The linter's rules: the table in rules.toml, and for each row the function that finds what it speaks of."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from accelkit.backends.key import ERAS
from accelkit.lint import accelerators, engines, llmapi, names, plans, pytorch, savedmodels, tensorrt_llm, transformers
from accelkit.lint.subject import Subject
from accelkit.versions import tomllib

LEVELS = {-1: "basic", 0: "all", 1: "extended", 2: "none"}
ACCELERATORS = {"cpu": ("openvino",), "gpu": ("tensorrt", "cuda")}
# Read by Triton's core for every backend.
CORE = ("TRITON_BATCH_STRATEGY_PATH",)
# A backend or platform -> the eras whose servers have it; those not named are in all.
GONE = {"tensorflow": ("legacy",), "torch_aoti": ("bridge", "current")}
OPENVINO_VALUES = {
    "INFERENCE_NUM_THREADS": "[0-9]+", "HINT_BF16": "yes", "NUM_STREAMS": "auto|numa|[0-9]+",
    "PERFORMANCE_HINT": "latency|throughput|cumulative_throughput",
}  # fmt: skip
RENAMERS = ("fil", "fastertransformer", "tensorflow", "tensorrtllm")
"""Backends some of whose keys have other names today or are gone, of which rules of their own speak."""
Found = Iterator[tuple[str, str]]
MODULES = (accelerators, engines, llmapi, names, plans, pytorch, savedmodels, tensorrt_llm, transformers)
"""Modules beside this one that hold functions of rules."""


@dataclass(frozen=True)
class Rule:
    """A row of the table; `find` yields, for one era, the text that tells the line in the file, and what was found."""

    name: str
    severity: str
    backends: tuple[str, ...]
    """Those it is about; empty for all."""
    eras: tuple[str, ...]
    find: Callable[[Subject], Found]
    finds: str
    why: str
    fix: str
    source: str


def _unknown_parameter(it: Subject) -> Found:
    for name in sorted(set(it.parameters) - set(CORE)) if it.keys else ():
        if name not in it.keys:
            yield name, f'parameter "{name}" is no key of the backend {it.backend}'
        elif it.era not in it.keys[name].eras and it.backend not in RENAMERS:
            yield name, f'parameter "{name}", which the backend {it.backend} of this era does not know'


def _bad_value(it: Subject) -> Found:
    for name, text in it.parameters.items():
        kind = it.keys[name].type if name in it.keys else ""
        if kind == "int" and not re.match(r"\s*[+-]?\d", text, re.ASCII):
            yield name, f'{name} is "{text}", which is no number'
        elif kind == "bool" and text.lower() not in ("true", "on", "1", "false", "off", "0"):
            yield name, f'{name} is "{text}", which is neither true, on, 1 nor false, off, 0'


def _execution_mode(it: Subject) -> Found:
    if (mode := it.parameters.get("execution_mode", "0").strip()) not in ("0", "1"):
        yield "execution_mode", f'execution_mode is "{mode}"'


def _graph_level(it: Subject) -> Found:
    if (level := it.config.optimization.graph.level) not in LEVELS:
        yield "level", f"optimization graph level {level} does not exist"


def _two_instances(it: Subject) -> Found:
    if not it.config.instance_group:
        yield "backend", "no instance_group"
    for group in it.config.instance_group:
        if not group.count and group.Kind.Name(group.kind) == "KIND_CPU":
            yield "instance_group", "an instance_group of kind KIND_CPU without a count"


def _openvino_parameter(it: Subject) -> Found:
    for name, parameters in it.accelerators("cpu"):
        for key in sorted(parameters) if name == "openvino" else ():
            yield key, f'parameter "{key}" of the accelerator openvino'


def _unknown_accelerator(it: Subject) -> Found:
    for side, known in ACCELERATORS.items():
        for name, _ in it.accelerators(side):
            if name not in known and not (side == "gpu" and it.on_cpu):
                yield name or f"{side}_execution_accelerator", f'{side}_execution_accelerator "{name}"'


def _gpu_accelerator_on_cpu(it: Subject) -> Found:
    for name, _ in it.accelerators("gpu") if it.on_cpu else ():
        yield name, f'gpu_execution_accelerator "{name}" on instances of KIND_CPU'


def _accelerator_elsewhere(it: Subject) -> Found:
    for side in ACCELERATORS:
        for name, _ in it.accelerators(side):
            yield name, f'{side}_execution_accelerator "{name}" with the backend {it.backend}'


def _openvino_kind_gpu(it: Subject) -> Found:
    if any(group.Kind.Name(group.kind) == "KIND_GPU" for group in it.config.instance_group):
        yield "KIND_GPU", "instances of KIND_GPU"


def _openvino_boolean(it: Subject) -> Found:
    for name, text in it.parameters.items():
        meant = text.lower() not in ("yes", "no", "false", "off", "0", "")
        if name in it.keys and it.keys[name].type == "bool" and meant:
            yield name, f'{name} is "{text}"'


def _openvino_padding(it: Subject) -> Found:
    if it.config.max_batch_size > 1 and it.parameters.get("ENABLE_BATCH_PADDING", "").lower() != "yes":
        yield "max_batch_size", f"max_batch_size {it.config.max_batch_size} without ENABLE_BATCH_PADDING"


def _openvino_value(it: Subject) -> Found:
    for name, pattern in OPENVINO_VALUES.items():
        if (text := it.parameters.get(name)) and not re.fullmatch(pattern, text, re.ASCII | re.IGNORECASE):
            yield name, f'{name} is "{text}"'


def _openvino_compilation(it: Subject) -> Found:
    if it.parameters.get("COMPILATION_NUM_THREADS") and it.parameters.get("TARGET_DEVICE", "CPU").upper() == "CPU":
        yield "COMPILATION_NUM_THREADS", "COMPILATION_NUM_THREADS for the CPU"


def _openvino_streams(it: Subject) -> Found:
    streams, count = it.parameters.get("NUM_STREAMS", ""), sum(group.count or 1 for group in it.config.instance_group)
    if streams.isdigit() and int(streams) != max(1, count):
        yield "NUM_STREAMS", f"NUM_STREAMS {streams} with {max(1, count)} instances"


def _class_key(it: Subject) -> str | None:
    """The key that says whether a forest is a classifier, as this era reads it."""
    if it.era == "legacy" or it.parameters.get("output_class") in ("true", "false"):
        return "output_class" if "output_class" in it.parameters else None
    return "is_classifier" if "is_classifier" in it.parameters else None


def _fil_class(it: Subject) -> Found:
    if _class_key(it) is None:
        yield "backend", "no output_class" if it.era == "legacy" else "no is_classifier"


def _fil_threshold(it: Subject) -> Found:
    if "threshold" not in it.parameters and it.parameters.get(_class_key(it) or "") == "true":
        yield _class_key(it) or "", "a classifier without threshold"


def _fil_boolean(it: Subject) -> Found:
    for name, text in it.parameters.items():
        read = name in it.keys and it.era in it.keys[name].eras and (name != "output_class" or it.era == "legacy")
        if read and it.keys[name].type == "bool" and text not in ("true", "false"):
            yield name, f'{name} is "{text}"'


def _fil_renamed(it: Subject) -> Found:
    pairs = {old.name: new.name for old, new in it.table.RENAMED.items()}
    for old, new in pairs.items():
        if it.era == "legacy" and new in it.parameters and old not in it.parameters:
            yield new, f'"{new}", which this era knows as "{old}"'
        elif it.era != "legacy" and old in it.parameters and new not in it.parameters:
            yield old, f'"{old}", which is "{new}" since 25.09'
    for key in it.table.REMOVED if it.era != "legacy" else ():
        if key.name in it.parameters:
            yield key.name, f'"{key.name}", which 25.09 removed'


def _fil_contradiction(it: Subject) -> Found:
    old, new = (it.parameters.get(name) for name in ("output_class", "is_classifier"))
    if None not in (old, new) and old != new:
        yield "output_class", f'output_class "{old}" and is_classifier "{new}"'


def _fil_model_type(it: Subject) -> Found:
    kind = it.parameters.get("model_type", "xgboost")
    for version in it.versions() if kind in it.table.FILES and not it.config.default_model_filename else ():
        there = {other: name for other, name in it.table.FILES.items() if (version / name).is_file()}
        if there and kind not in there:
            other, name = next(iter(there.items()))
            yield "model_type", f'model_type "{kind}" wants {it.table.FILES[kind]}, {name} is there for "{other}"'


def _platform_gone(it: Subject) -> Found:
    for name in (it.backend, it.config.platform):
        if it.era not in GONE.get(name, ERAS):
            yield name, f'"{name}", which no server of this era has'
            return


def _name(it: Subject) -> Found:
    if it.directory and it.config.name and it.config.name != it.directory.name:
        yield "name", f'name "{it.config.name}" in the directory {it.directory.name}'


def _no_model_file(it: Subject) -> Found:
    for version in it.versions() if not list(_fil_model_type(it) if it.backend == "fil" else ()) else ():
        if it.file and not (version / it.file).exists():
            yield "backend", f"no {it.file} in version {version.name}"


def _not_built(it: Subject) -> Found:
    if it.directory and not it.versions():
        yield "backend", "no version directory beside the config"


def _table() -> tuple[Rule, ...]:
    functions = {name: value for module in MODULES for name, value in vars(module).items()} | globals()
    rows = tomllib.loads(Path(__file__).with_name("rules.toml").read_text(encoding="utf-8"))
    return tuple(
        Rule(
            name, row["severity"], tuple(row.get("backends", ())), tuple(row.get("eras", ERAS)),
            functions["_" + name.replace("-", "_")], row["finds"], row["why"], row["fix"], row["source"],
        )
        for name, row in rows.items()
    )  # fmt: skip


RULES = _table()
