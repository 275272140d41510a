"""The settings of a configuration, read as the official backend reads them, and held against the checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from accelkit.backends import host
from accelkit.backends.fastertransformer import contract, keys
from accelkit.backends.key import Key, Refused
from accelkit.models.gpt import checkpoint


@dataclass(frozen=True)
class Settings:
    """What an instance is told: the cut, the element type, the checkpoint and what its config.ini says."""

    ranks: int
    stages: int
    data_type: str
    directory: Path
    header: checkpoint.Header
    max_batch: int
    decoupled: bool
    first_device: int

    @property
    def world(self) -> int:
        """Processes of one instance."""
        return self.ranks * self.stages

    def told(self) -> dict[str, Any]:
        """What a rank is started with, as JSON takes it."""
        return {"ranks": self.ranks, "stages": self.stages, "data_type": self.data_type, "directory": str(self.directory),
                "first_device": self.first_device}  # fmt: skip


def read(args: Mapping[str, str], config: Mapping[str, Any]) -> Settings:
    """The settings for one instance; Refused for what the official backend refuses, and for what would make it serve nonsense."""
    groups = config.get("instance_group") or []
    if len(groups) != 1:
        raise Refused("Only supports one instance group !")
    if args["model_instance_kind"] != "CPU":
        raise Refused("Instance Group: only KIND_CPU supports!")
    for key in keys.REQUIRED:
        if key.text(config) is None:
            raise Refused(f"Invalid configuration argument '{key.name}': it is not there, and has no default")
    ranks, stages = (_positive(key, config) for key in (keys.TENSOR_PARA, keys.PIPELINE_PARA))
    kind, data_type = keys.MODEL_TYPE.text(config) or keys.MODEL_TYPE.default, keys.DATA_TYPE.text(config)
    if kind not in keys.MODEL_TYPES:
        raise Refused(f'Unknown model "{kind}"')
    if kind != "GPT":
        raise Refused(
            f"{keys.MODEL_TYPE.name} {kind} is not in this stand-in: it serves checkpoints of {keys.MODEL_TYPE.default}"
        )
    if data_type not in keys.DATA_TYPES:
        raise Refused(f"Invalid configuration argument 'data_type': {data_type}")
    if mode := keys.INT8_MODE.integer(config):
        raise Refused(
            f"{keys.INT8_MODE.name} {mode} is not in this stand-in: its kernels are the official backend's; write 0"
        )
    if config.get("sequence_batching"):
        raise Refused("sequence_batching, for interactive text generation, is not in this stand-in")
    contract.check(config)
    default = host.model_file(args["model_repository"], args["model_version"], config, checkpoint.folder(ranks))
    directory = Path(keys.CHECKPOINT.text(config) or default)
    if not directory.is_dir():
        there = sorted(path.name for path in directory.parent.glob("*-gpu")) if directory.parent.is_dir() else []
        hint = f"; {', '.join(there)} is there, cut for another {keys.TENSOR_PARA.name}" if there else ""
        raise Refused(f"no checkpoint directory {directory}{hint}")
    header = checkpoint.header(directory)
    if header.ranks not in (0, ranks):
        raise Refused(
            f"{directory / checkpoint.INI} is of a checkpoint cut for {keys.TENSOR_PARA.name} {header.ranks}, the configuration has {ranks}"
        )
    if reason := checkpoint.fits(header.sizes, ranks, stages):
        raise Refused(f"{directory / checkpoint.INI}: {reason}")
    header = checkpoint.Header(**{**vars(header), "ranks": ranks})
    number = args["model_instance_name"].rpartition("_")[2]
    decoupled = bool((config.get("model_transaction_policy") or {}).get("decoupled"))
    first = int(number) * ranks * stages if number.isdigit() else 0
    return Settings(
        ranks, stages, data_type, directory, header, int(config.get("max_batch_size") or 0), decoupled, first
    )


def facts(settings: Settings) -> dict[str, Any]:
    """What a report says of them."""
    return {"tensor_para": settings.ranks, "pipeline_para": settings.stages, "data_type": settings.data_type,
            "sizes": asdict(settings.header.sizes)}  # fmt: skip


def _positive(key: Key, config: Mapping[str, Any]) -> int:
    number = key.integer(config)
    if number < 1:
        raise Refused(f"Invalid configuration argument '{key.name}': {number} is below 1")
    return number
