"""Rules about the backend fastertransformer: what it must be told, and what its checkpoint says beside it."""

from __future__ import annotations

from collections.abc import Iterator

from accelkit.lint.subject import Subject

Found = Iterator[tuple[str, str]]
GROUPS = "instance_group"


def _ft_compiled(it: Subject) -> Found:
    yield "backend", f'backend "{it.backend}"'


def _ft_required(it: Subject) -> Found:
    for key in it.table.REQUIRED:
        if key.name not in it.parameters:
            yield "backend", f"no {key.name}"


def _ft_value(it: Subject) -> Found:
    table, given = it.table, it.parameters
    for key, known in ((table.DATA_TYPE, table.DATA_TYPES), (table.MODEL_TYPE, table.MODEL_TYPES)):
        if key.name in given and given[key.name] not in known:
            yield key.name, f'{key.name} is "{given[key.name]}"'
    for key in (table.TENSOR_PARA, table.PIPELINE_PARA):
        text = given.get(key.name, "1")
        if not text.strip().isdigit() or int(text) < 1:
            yield key.name, f'{key.name} is "{text}"'


def _ft_renamed(it: Subject) -> Found:
    for old, new in it.table.RENAMED.items():
        if old.name in it.parameters:
            yield old.name, f'"{old.name}", whose place {new.name} took'


def _ft_instance_group(it: Subject) -> Found:
    groups = it.config.instance_group
    if len(groups) != 1:
        yield GROUPS if groups else "backend", f"{len(groups)} instance groups"
    for group in groups:
        if (kind := group.Kind.Name(group.kind)) != "KIND_CPU":
            yield GROUPS, f"instances of {kind}"


def _ft_tensors(it: Subject) -> Found:
    for side, known in (("input", it.table.INPUTS), ("output", it.table.OUTPUTS)):
        there = {io.name for io in getattr(it.config, side)}
        for name in it.table.NEEDED[side]:
            if name not in there:
                yield side, f"no {side} {name}"
        for io in getattr(it.config, side):
            kind = _type(io.data_type)
            if io.name not in known:
                yield io.name, f"{side} {io.name}, which a GPT of this backend does not have"
            elif kind != known[io.name]:
                yield io.name, f"{side} {io.name} is {kind}, and {known[io.name]} with this backend"


def _ft_ragged(it: Subject) -> Found:
    for io in it.config.input if it.config.HasField("dynamic_batching") else ():
        if io.name == it.table.NEEDED["input"][0] and not io.allow_ragged_batch:
            yield io.name, f"dynamic_batching, and {io.name} without allow_ragged_batch"


def _ft_checkpoint(it: Subject) -> Found:
    from accelkit.errors import ModelError
    from accelkit.models.gpt import checkpoint

    ranks, stages = (it.parameters.get(key.name, "") for key in (it.table.TENSOR_PARA, it.table.PIPELINE_PARA))
    if not (ranks.isdigit() and stages.isdigit()) or it.table.CHECKPOINT.name in it.parameters:
        return
    for version in it.versions():
        directory = version / (it.config.default_model_filename or checkpoint.folder(int(ranks)))
        try:
            found = checkpoint.header(directory)
        except ModelError as error:
            yield it.table.TENSOR_PARA.name, str(error)
            continue
        if found.ranks not in (0, int(ranks)):
            yield (
                it.table.TENSOR_PARA.name,
                f"{ranks} ranks, and a checkpoint cut for {found.ranks} in version {version.name}",
            )
        elif reason := checkpoint.fits(found.sizes, int(ranks), int(stages)):
            yield it.table.TENSOR_PARA.name, f"version {version.name}: {reason}"


def _ft_epsilon(it: Subject) -> Found:
    from accelkit.models.gpt import checkpoint

    for version in it.versions():
        for path in sorted(version.glob(f"*/{checkpoint.INI}")):
            if checkpoint.EPSILON_KEY not in path.read_text(encoding="utf-8", errors="replace"):
                yield "backend", f"no {checkpoint.EPSILON_KEY} in {version.name}/{path.parent.name}/{path.name}"


def _type(number: int) -> str:
    from tritonclient.grpc import model_config_pb2

    return model_config_pb2.DataType.Name(number).removeprefix("TYPE_")
