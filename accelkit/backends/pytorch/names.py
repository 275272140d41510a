"""How the names in a configuration are matched with a model's inputs and outputs, by the rules of each runtime.

Nothing heavy is imported: the linter reads the same rules.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from accelkit.backends.key import Refused

ARGUMENT, INDEX, ORDER = "argument", "index", "order"
PACKAGE_NAMES = {
    "input": re.compile(r"INPUT__(\d+)$|(?:KW)?ARGS\["),
    "output": re.compile(r"OUTPUT__(\d+)$|RESULT(?:\[|$)"),
}
"""What the names of a package of AOTInductor look like."""


def convention(listed: Sequence[str], arguments: Sequence[str] | None = None) -> str:
    """Return how TorchScript's names are read: as arguments of forward (inputs alone), by <name>__<index>, or by their order.

    One name that departs from a convention takes it from all.
    """
    if arguments is not None and all(name in arguments for name in listed):
        return ARGUMENT
    # As the official backend has it: what follows the first "__" must be digits alone, or nothing.
    marks = [name.partition("__") for name in listed]
    return INDEX if all(mark and (not end or (end.isascii() and end.isdigit())) for _, mark, end in marks) else ORDER


def mixed(listed: Sequence[str]) -> bool:
    """Whether some names, and not all, are written <name>__<index>."""
    indexed = [convention([name]) == INDEX for name in listed]
    return any(indexed) and not all(indexed)


def index(name: str) -> int:
    """Return the index in <name>__<index>; 0 where nothing follows, as C++'s atoi has it."""
    digits = name.partition("__")[2]
    return int(digits) if digits else 0


def places(
    model: str, side: str, listed: Sequence[str], arguments: Sequence[str] | None, warn: Callable[[str], object]
) -> list[int]:
    """Return the place of each name of a configuration among TorchScript's inputs or outputs."""
    rule = convention(listed, arguments)
    if rule == ARGUMENT:
        return [list(arguments or ()).index(name) for name in listed]
    if rule == INDEX:
        return [index(name) for name in listed]
    if any("__" in name for name in listed):
        warn(
            f"some {side}s of the model '{model}' do not follow the <name>__<index> naming convention. Falling back to "
            "enforcing strict ordering from model configuration."
        )
    return list(range(len(listed)))


def of_package(spec: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return {"input", "output"}: every name that a package's call specification gives a tensor, with its place.

    `spec` are the two trees, as JSON, that the package keeps: of arguments and of results.
    """
    arguments, results = (json.loads(text)[1] for text in spec)
    positional, by_name = arguments["children_spec"]
    inputs = [f"ARGS{path}" for path in _leaves(positional)] + [f"KWARGS{path}" for path in _leaves(by_name)]
    outputs = [f"RESULT{path}" for path in _leaves(results)]
    return {
        side: {name: place for place, name in enumerate(names)}
        | {f"{word}__{place}": place for place in range(len(names))}
        for side, word, names in (("input", "INPUT", inputs), ("output", "OUTPUT", outputs))
    }


def _leaves(tree: Mapping[str, Any]) -> list[str]:
    kind = tree.get("type")
    if kind is None:
        return [""]
    if not kind.startswith("builtins.") and kind not in ("dict", "list", "tuple"):
        raise Refused(f"Failed to parse call specification: {kind} is no dictionary, tuple, list or tensor")
    children, keys = tree["children_spec"], range(len(tree["children_spec"]))
    named = json.loads(tree["context"]) if kind.endswith("dict") else keys
    return [f"[{key}]{path}" for key, child in zip(named, children) for path in _leaves(child)]
