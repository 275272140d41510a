"""Rules about the backend pytorch: which of its three runtimes a config means, and what that one reads."""

from __future__ import annotations

from collections.abc import Iterator

from accelkit.backends.pytorch import names
from accelkit.lint.subject import Subject

Found = Iterator[tuple[str, str]]
SCRIPT, PACKAGE, PYTHON = "TorchScript", "AOTInductor", "the Python runtime"


def runtime(it: Subject) -> str:
    """The runtime that a config means."""
    if it.config.runtime == "model.py":
        return PYTHON
    by_name = it.config.default_model_filename.endswith(".pt2") and not it.config.platform
    return PACKAGE if it.config.platform == "torch_aoti" or by_name else SCRIPT


def _sides(it: Subject) -> Iterator[tuple[str, list[str]]]:
    for side, entries in (("input", it.config.input), ("output", it.config.output)):
        yield side, [entry.name for entry in entries]


def _torch_names(it: Subject) -> Found:
    for side, listed in _sides(it) if runtime(it) == SCRIPT else ():
        if names.mixed(listed):
            odd = next(name for name in listed if names.convention([name]) != names.INDEX)
            yield odd, f'{side} "{odd}" among {side}s named by <name>__<index>'


def _torch_index(it: Subject) -> Found:
    for side, listed in _sides(it) if runtime(it) == SCRIPT else ():
        if listed and names.convention(listed) == names.INDEX:
            places = [names.index(name) for name in listed]
            wrong = [name for name, place in zip(listed, places) if place >= len(listed) or places.count(place) > 1]
            if wrong and (side == "input" or len(set(places)) < len(places)):
                yield wrong[0], f"{side}s at the places {', '.join(map(str, places))}"


def _aoti_names(it: Subject) -> Found:
    for side, listed in _sides(it) if runtime(it) == PACKAGE else ():
        for name in listed:
            if not names.PACKAGE_NAMES[side].match(name):
                yield name, f'{side} "{name}"'


def _aoti_platform(it: Subject) -> Found:
    if runtime(it) == PACKAGE and not it.config.platform:
        yield "default_model_filename", f'"{it.config.default_model_filename}" without a platform'


def _aoti_era(it: Subject) -> Found:
    if runtime(it) == PACKAGE and not it.config.platform:
        yield "default_model_filename", f'"{it.config.default_model_filename}", a package of AOTInductor'


def _torch_platform(it: Subject) -> Found:
    platform, file = it.config.platform, it.config.default_model_filename
    if (
        platform == "pytorch_libtorch"
        and file.endswith(".pt2")
        or platform == "torch_aoti"
        and file
        and not file.endswith(".pt2")
    ):
        yield "platform", f'platform "{platform}" with the file {file}'


def _torch_parameter(it: Subject) -> Found:
    kind = runtime(it)
    read = {SCRIPT: it.table.SCRIPT, PACKAGE: (), PYTHON: it.table.PYTHON}[kind]
    for name in sorted(set(it.parameters) & set(it.keys) - {key.name for key in read}):
        yield name, f'parameter "{name}" for {kind}'
