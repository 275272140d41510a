"""Functions of the rules about names: backends and platforms that no server knows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from accelkit.lint.subject import Subject
from accelkit.repository import PLATFORMS

Found = Iterator[tuple[str, str]]
BACKENDS = {*PLATFORMS.values(), "openvino", "fil", "python", "dali", "vllm", "tensorrtllm", "fastertransformer"}
BACKENDS |= {"identity", "square", "repeat"}
"""Backends that NVIDIA's images hold or held, or that NVIDIA publishes the source of."""
ENSEMBLE = "ensemble"
MISSPELT = 0.8
"""Likeness from which on another name is a known one misspelt, and none of somebody's own."""


def own(it: Subject) -> bool:
    """Whether the backend's library lies with the model, where a server looks for it first."""
    places = [it.directory, *it.versions()] if it.directory else []
    return any((place / f"libtriton_{it.backend}.so").exists() for place in places)


def meant(it: Subject) -> str | None:
    """The backend that is meant by one that is not known; None for a known one or one that resembles none."""
    name = it.config.backend
    if not name or name in BACKENDS or own(it):
        return None
    return PLATFORMS.get(name) or next(iter(get_close_matches(name.lower(), sorted(BACKENDS), 1, MISSPELT)), None)


def _misspelt_backend(it: Subject) -> Found:
    if name := meant(it):
        yield it.config.backend, f'backend "{it.config.backend}", the nearest name of a backend is "{name}"'


def _foreign_backend(it: Subject) -> Found:
    if it.config.backend and it.config.backend not in BACKENDS and not own(it) and not meant(it):
        yield it.config.backend, f'backend "{it.config.backend}"{nearest(it.config.backend, BACKENDS)}'


def _unknown_platform(it: Subject) -> Found:
    platform, backend = it.config.platform, it.config.backend
    if not platform or backend == "tensorflow":  # of whose platforms a rule of its own speaks
        return
    if backend in PLATFORMS.values() and PLATFORMS.get(platform) != backend:
        able = [name for name, of in PLATFORMS.items() if of == backend]
        yield platform, f'platform "{platform}" with the backend {backend}, whose platforms are {", ".join(able)}'
    elif not backend and platform not in (*PLATFORMS, ENSEMBLE):
        yield platform, f'platform "{platform}"{nearest(platform, (*PLATFORMS, ENSEMBLE))}'


def nearest(name: str, names: Iterable[str]) -> str:
    """Name the one that is most like a name, if one is at all."""
    found = get_close_matches(name.lower(), sorted(names), 1, 0.5)
    return f', the nearest name is "{found[0]}"' if found else ""
