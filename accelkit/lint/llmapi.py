"""Rules about a model of TensorRT-LLM's LLM API: what its config and its model.yaml must say, and say alike."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from accelkit.backends.tensorrtllm import keys, tensors
from accelkit.lint.subject import Subject
from accelkit.lint.tensorrt_llm import given, outside, unlike

Found = Iterator[tuple[str, str]]
GROUPS, POLICY = "instance_group", "model_transaction_policy"


def _llmapi(it: Subject) -> bool:
    """Whether a config of the Python backend is one of the LLM API."""
    named = any(io.name.startswith(tensors.SAMPLING) for io in it.config.input)
    return named or any((version / keys.YAML).is_file() for version in it.versions())


def _yamls(it: Subject) -> Iterator[tuple[Path, dict[str, Any] | str]]:
    """What each version's model.yaml says, or why it cannot be read; nothing where PyYAML is not installed."""
    from accelkit.backends.key import Refused
    from accelkit.backends.tensorrtllm import settings

    for version in it.versions() if _llmapi(it) else ():
        try:
            yield version, settings.read(version / keys.YAML)
        except Refused as refused:
            yield version, str(refused)
        except ModuleNotFoundError:
            return


def _llmapi_era(it: Subject) -> Found:
    if _llmapi(it):
        yield "backend", "a model of the LLM API"


def _llmapi_tensors(it: Subject) -> Found:
    if _llmapi(it):
        yield from unlike(it, tensors.LLMAPI_INPUTS | tensors.LLMAPI_NEWER, tensors.LLMAPI_OUTPUTS)


def _llmapi_batch(it: Subject) -> Found:
    if _llmapi(it):
        if it.config.max_batch_size:
            yield keys.BATCH, f"{keys.BATCH} {it.config.max_batch_size}"
        for version, said in _yamls(it):
            if isinstance(said, dict) and _triton(said).get(keys.BATCH):
                yield keys.BATCH, f"{keys.BATCH} {_triton(said)[keys.BATCH]} in {version.name}/{keys.YAML}"


def _triton(said: dict[str, Any]) -> dict[str, Any]:
    found = said.get(keys.TRITON)
    return found if isinstance(found, dict) else {}


def _llmapi_yaml(it: Subject) -> Found:
    for version, said in _yamls(it):
        place = f"{version.name}/{keys.YAML}"
        if isinstance(said, str):
            yield "backend", said
            continue
        for name in (keys.BATCH, keys.DECOUPLED):
            if name not in _triton(said):
                yield "backend", f"no {keys.TRITON}.{name} in {place}"
        if "model" not in said:
            yield "backend", f"{place} names no model"
        if said.get("backend", keys.ENGINES[0]) not in keys.ENGINES:
            yield "backend", f'backend "{said["backend"]}" in {place}, there are {", ".join(keys.ENGINES)}'
        for name in said:
            if name in keys.ELSEWHERE:
                yield "backend", f'"{name}" in {place}, which the LLM API calls {keys.ELSEWHERE[name]}'
        cache = said.get(keys.CACHE)
        for token, what in outside(keys.SHARE, cache.get(keys.SHARE) if isinstance(cache, dict) else None):
            yield token, f"{what}, in {place}"


def _llmapi_decoupled(it: Subject) -> Found:
    for version, said in _yamls(it):
        told = _triton(said).get(keys.DECOUPLED) if isinstance(said, dict) else None
        if told is not None and it.config.HasField(POLICY) and it.config.model_transaction_policy.decoupled != told:
            here = str(it.config.model_transaction_policy.decoupled).lower()
            yield POLICY, f"decoupled: {here}, and {str(told).lower()} in {version.name}/{keys.YAML}"


def _llmapi_instances(it: Subject) -> Found:
    total = sum(max(1, group.count) for group in it.config.instance_group)
    if _llmapi(it) and total > 1 and len(list(filter(None, given(it, keys.DEVICES.name).split(";")))) != total:
        yield GROUPS, f'{total} instances with {keys.DEVICES.name} "{given(it, keys.DEVICES.name)}"'


def _llmapi_architecture(it: Subject) -> Found:
    for version, said in _yamls(it):
        if not isinstance(said, dict) or said.get("backend", keys.ENGINES[0]) != keys.ENGINES[0]:
            continue
        try:
            about = json.loads(Path(str(said.get("model")), "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue  # a name on a hub, or a directory of the container
        for name in about.get("architectures", ()) if isinstance(about, dict) else ():
            if name in keys.UNKNOWN:
                yield "backend", f"{name}, which {version.name}/{keys.YAML} gives to the backend {keys.ENGINES[0]}"
