"""Rules about the backend vllm: what its config must leave to the engine, and what its model.json says."""

from __future__ import annotations

from collections.abc import Iterator

from accelkit.lint.subject import Subject

Found = Iterator[tuple[str, str]]
GROUPS = "instance_group"


def _vllm_kind(it: Subject) -> Found:
    from accelkit.backends.key import Refused
    from accelkit.backends.vllm import settings

    if not any(group.Kind.Name(group.kind) == "KIND_GPU" for group in it.config.instance_group):
        return
    for version in it.versions():
        try:
            across, stages = settings.sizes(settings.arguments(version / it.table.ARGUMENTS))
        except Refused:
            continue
        if across * stages > 1:
            yield GROUPS, f"KIND_GPU, and {across} x {stages} ranks in {version.name}/{it.table.ARGUMENTS}"


def _vllm_instances(it: Subject) -> Found:
    total = sum(max(1, group.count) for group in it.config.instance_group)
    if total > 1 and not any(len(group.gpus) > 0 for group in it.config.instance_group):
        yield GROUPS, f"{total} instances"


def _vllm_batch(it: Subject) -> Found:
    if it.config.max_batch_size:
        yield "max_batch_size", f"max_batch_size {it.config.max_batch_size}"
    if it.config.HasField("dynamic_batching"):
        yield "dynamic_batching", "dynamic_batching"


def _vllm_tensors(it: Subject) -> Found:
    from tritonclient.grpc import model_config_pb2

    for side, known in (("input", it.table.INPUTS), ("output", it.table.OUTPUTS)):
        for io in getattr(it.config, side):
            kind = model_config_pb2.DataType.Name(io.data_type).removeprefix("TYPE_")
            if io.name not in known:
                yield io.name, f"{side} {io.name}, which this backend does not have"
            elif kind != known[io.name][0]:
                yield io.name, f"{side} {io.name} is {kind}, and {known[io.name][0]} with this backend"


def _vllm_coupled(it: Subject) -> Found:
    if it.config.HasField("model_transaction_policy") and not it.config.model_transaction_policy.decoupled:
        yield "model_transaction_policy", "decoupled: false"


def _vllm_model_json(it: Subject) -> Found:
    from accelkit.backends.key import Refused
    from accelkit.backends.vllm import settings

    for version in it.versions():
        try:
            given = settings.arguments(version / it.table.ARGUMENTS)
        except Refused as refused:
            yield "backend", str(refused)
            continue
        if "model" not in given:
            yield "backend", f"{version.name}/{it.table.ARGUMENTS} names no model"
        for name in given:
            if name in it.table.ELSEWHERE:
                yield (
                    "backend",
                    f'"{name}" in {version.name}/{it.table.ARGUMENTS}, which vLLM calls {it.table.ELSEWHERE[name]}',
                )
