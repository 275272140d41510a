"""The modules that build the files of a path, beside the path's own: found by reading what it imports and runs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
ROOMS = ("engine", "savedmodel", "torchfiles")
"""Programs that an interpreter of a backend runs; all of one's modules count."""
PRECISIONS = {"half": ("fp16",), "quantize": ("int8",), "signed": ("int8",), "files": ()}
"""The precisions whose files a module has a part in; all those of a module that is not named."""


def sources(module: Path, precision: str, model: str = "", package: Path = PACKAGE) -> list[Path]:
    """Return the files of the modules that build what a path's `module` serves a model in a precision from, sorted.

    They are the modules of models, the other paths and the rooms that the module imports or runs, and what these import. A
    module that is not there builds nothing.
    """
    found: set[Path] = set()
    left = [module]
    while left:
        at = left.pop()
        new = {file for name in _named(at) for file in _files(name, precision, package)} - {*found, module}
        found |= new
        left += new
    if any(file.parent.name == "torchfiles" for file in found):
        network = package / "models" / model / "training" / "network.py"
        found |= {network} if network.exists() else set()
    return sorted(found)


def _named(file: Path) -> Iterator[str]:
    """The dotted names inside the package that a module imports, or holds as a text because it has them run."""
    left: list[ast.AST] = [ast.parse(file.read_text(encoding="utf-8"))] if file.exists() else []
    while left:
        node = left.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("accelkit"):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and re.fullmatch(rf"accelkit\.({'|'.join(ROOMS)})", str(node.value)):
            yield str(node.value)
        left += ast.iter_child_nodes(node)


def _files(name: str, precision: str, package: Path) -> list[Path]:
    """The files of a dotted name that count: all of a room, or the one of a module of paths or models."""
    room, *rest = name.split(".")[1:] or [""]
    if room in ROOMS:
        return sorted((package / room).glob("*.py"))
    if room not in ("models", "paths") or not rest or precision not in PRECISIONS.get(rest[-1], (precision,)):
        return []
    file = package.joinpath(room, *rest).with_suffix(".py")
    return [file] if file.exists() else []
