"""Rules about the backend tensorrtllm, which runs an engine of TensorRT-LLM, and the ensemble around it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelkit import repository
from accelkit.backends.tensorrtllm import keys, tensors
from accelkit.errors import ConfigError
from accelkit.lint.subject import Subject

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

Found = Iterator[tuple[str, str]]
TEMPLATE = re.compile(r"\$\{\w+\}")
"""What fill_template.py leaves where it was given no value."""


def given(it: Subject, name: str) -> str:
    """A parameter's value; empty where it is not there or was never filled in."""
    value = it.parameters.get(name, "")
    return "" if TEMPLATE.fullmatch(value) else value


def _trtllm_required(it: Subject) -> Found:
    if keys.BATCHING.name not in it.parameters:
        yield "backend", f"no {keys.BATCHING.name}"
    if not given(it, keys.MODEL_PATH.name) and not given(it, keys.ENCODER_PATH.name):
        yield keys.MODEL_PATH.name if keys.MODEL_PATH.name in it.parameters else "backend", f"no {keys.MODEL_PATH.name}"
    for key in keys.ASKED:
        if it.era in key.eras and key.name not in it.parameters:
            yield "backend", f"no {key.name}"


def _trtllm_batching(it: Subject) -> Found:
    text, known = it.parameters.get(keys.BATCHING.name), keys.VALUES[keys.BATCHING]
    if text is not None and text not in known:
        yield keys.BATCHING.name, f'{keys.BATCHING.name} is "{text}", there are {", ".join(known)}'


def _trtllm_value(it: Subject) -> Found:
    for name in it.parameters:
        key, text = it.keys.get(name), given(it, name)
        if key is None or not text or it.era not in key.eras:
            continue
        known = keys.BOOLEANS if key.type == "bool" else keys.VALUES.get(key, ())
        number = {"int": r"\s*[+-]?\d", "float": r"\s*[+-]?\.?\d"}.get(key.type, "")
        if (known and text not in known and key != keys.BATCHING) or not re.match(number, text, re.ASCII):
            yield name, f'{name} is "{text}"' + (f", there are {', '.join(known)}" if known else ", which is no number")


def _trtllm_template(it: Subject) -> Found:
    for name, text in it.parameters.items():
        if TEMPLATE.fullmatch(text) and name not in (keys.MODEL_PATH.name, keys.BATCHING.name):
            yield text, f'{name} is still "{text}"'


def _trtllm_fraction(it: Subject) -> Found:
    for key in (keys.FRACTION, keys.CROSS_FRACTION):
        yield from outside(key.name, given(it, key.name))


def outside(name: str, value: Any) -> Found:
    """A share that is a number and not one between 0 and 1."""
    try:
        wrong = not 0 < float(value) <= 1
    except (TypeError, ValueError):  # of which another rule speaks
        return
    if wrong:
        yield name, f"{name} is {value}, and is a share between 0 and 1"


def _trtllm_guided(it: Subject) -> Found:
    if text := given(it, keys.GUIDED.name):
        yield keys.GUIDED.name, f'{keys.GUIDED.name} is "{text}"'


def _trtllm_lookahead(it: Subject) -> Found:
    if it.parameters.get(keys.DECODING.name) == "lookahead":
        for key in keys.LOOKAHEAD:
            if not given(it, key.name):
                yield keys.DECODING.name, f"decoding by lookahead without {key.name}"


def _trtllm_tensors(it: Subject) -> Found:
    if not list(_trtllm_form(it)):
        yield from unlike(it, tensors.ENGINE_INPUTS, tensors.ENGINE_OUTPUTS)


def unlike(it: Subject, inputs: dict[str, tensors.Tensor], outputs: dict[str, tensors.Tensor]) -> Found:
    """Tensors that a model lacks, has in another type, or does not have in this era."""
    from tritonclient.grpc import model_config_pb2

    for side, known in (("input", inputs), ("output", outputs)):
        there = {io.name: io for io in getattr(it.config, side)}
        for name in known if there else ():
            if side == "input" and not known[name].optional and name not in there:
                yield side, f"no {side} {name}"
        for name, io in there.items():
            kind = model_config_pb2.DataType.Name(io.data_type).removeprefix("TYPE_")
            if name not in known:
                yield name, f"{side} {name}, which this model does not have"
            elif it.era not in known[name].eras:
                yield name, f"{side} {name}, which this model does not have in this era"
            elif known[name].type not in ("", kind):
                yield name, f"{side} {name} is {kind}, and {known[name].type} with this model"


def _trtllm_form(it: Subject) -> Found:
    for io in it.config.input:
        if io.name.startswith(tensors.SAMPLING):
            yield "backend", f"the tensors of the LLM API with the backend {it.backend}"
            return
    for version in it.versions():
        if (version / keys.YAML).is_file():
            yield "backend", f"{version.name}/{keys.YAML} with the backend {it.backend}"


def _trtllm_dropped(it: Subject) -> Found:
    yield "backend", f'backend "{it.backend}"'


def _built(it: Subject) -> tuple[Path, dict[str, Any]] | None:
    """The directory of the engine and its config.json, where they are on this machine."""
    folder = Path(given(it, keys.MODEL_PATH.name) or "/nowhere")
    try:
        return folder, json.loads((folder / "config.json").read_text(encoding="utf-8"))[keys.BUILT]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _trtllm_engine_batch(it: Subject) -> Found:
    if (built := _built(it)) and (most := built[1].get(keys.BATCH)) and it.config.max_batch_size > int(most):
        yield keys.BATCH, f"{keys.BATCH} {it.config.max_batch_size}, and an engine for {most}"


def _trtllm_engine_ranks(it: Subject) -> Found:
    if (built := _built(it)) and (chosen := given(it, keys.DEVICES.name)):
        ranks = len(list(built[0].glob("rank*.engine")))
        for devices in chosen.split(";"):
            if ranks and len(devices.split(",")) != ranks:
                yield keys.DEVICES.name, f"GPUs {devices} for an engine of {ranks} ranks"


def _text_model(it: Subject) -> str | None:
    """Which of the two models around an engine a config of the Python backend is, by its tensors; None for another."""
    there = {io.name for io in it.config.input}
    return next((name for name, mark in tensors.MARKS.items() if mark in there), None)


def _trtllm_text_model(it: Subject) -> Found:
    which = _text_model(it)
    if which and not given(it, keys.TOKENIZER.name):
        yield "backend", f"no {keys.TOKENIZER.name}"
    for key in keys.PICTURES if which == "before" else ():
        if it.era in key.eras and key.name not in it.parameters:
            yield "backend", f"no {key.name}"
    for side, names in tensors.LOOKED_UP.items() if which == "before" else ():
        for name in sorted(set(names) - {io.name for io in getattr(it.config, side)}):
            yield side, f"no {side} {name}"


def _trtllm_text_decoupled(it: Subject) -> Found:
    if _text_model(it) and it.config.model_transaction_policy.decoupled:
        yield "model_transaction_policy", f"decoupled: true {_text_model(it)} the engine"


def _members(it: Subject) -> list[tuple[Any, ModelConfig | None]]:
    """The steps of an ensemble with an engine in it, and the configs of their models where they lie beside it."""
    found: list[tuple[Any, ModelConfig | None]] = []
    beside = it.directory.parent if it.directory else Path("/nowhere")
    for step in it.config.ensemble_scheduling.step:
        try:
            found.append((step, repository.read(beside / step.model_name)))
        except ConfigError:
            found.append((step, None))
    known = [member and member.backend == keys.BACKEND for _, member in found]
    known += [mark in step.input_map for step, _ in found for mark in tensors.MARKS.values()]
    return found if any(known) else []


def _trtllm_ensemble(it: Subject) -> Found:
    for step, member in _members(it):
        if member is None:
            yield step.model_name, f"no model {step.model_name} beside the ensemble"
            continue
        if it.config.max_batch_size > member.max_batch_size:
            yield (
                keys.BATCH,
                f"{keys.BATCH} {it.config.max_batch_size}, and {member.max_batch_size} in {step.model_name}",
            )
        for side, mapped in (("input", step.input_map), ("output", step.output_map)):
            there = {io.name for io in getattr(member, side)}
            for name in sorted(set(mapped) - there):
                yield name, f"{side} {name}, which {step.model_name} does not have"
            needed = {io.name for io in member.input if not io.optional} if side == "input" else set()
            for name in sorted(needed - set(mapped)):
                yield step.model_name, f"nothing for the {side} {name} of {step.model_name}"


def _trtllm_streaming(it: Subject) -> Found:
    for step, member in _members(it):
        inner, engine = step.input_map.get("streaming"), member and member.backend == keys.BACKEND
        if inner and member and engine and not member.model_transaction_policy.decoupled:
            yield inner, f"the input {inner}, and {step.model_name} is not decoupled"
