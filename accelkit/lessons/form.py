"""The form of a lesson: its place, its metadata, its canonical bytes, and the hash of what its outputs came from."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from accelkit import builders
from accelkit.errors import LessonError
from accelkit.models.files import digest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"
OUT = ROOT / "build" / "tour"
KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
WIDGET = "application/vnd.jupyter.widget-view+json"
REQUIRED = "title objectives questions key_points minutes needs era model paths last_verified record".split()
SECTIONS = ("Why ", "Do it", "Prove it", "Measure it", "What it costs", "Exercises", "Take away", "Next")
ERAS = ("legacy", "bridge", "current")


def names(folder: Path = NOTEBOOKS) -> list[str]:
    """Return the names of the lessons in `folder`, in order."""
    return sorted(path.stem for path in folder.glob("[0-9][0-9]_*.ipynb"))


def lesson(name: str, folder: Path = NOTEBOOKS) -> Path:
    """Return the notebook of a lesson, by its name or its number; raises LessonError when there is none."""
    found = [known for known in names(folder) if name in (known, known[:2])]
    if not found:
        raise LessonError(f"no lesson {name!r} in {folder}: there are {', '.join(names(folder)) or 'none'}")
    return folder / f"{found[0]}.ipynb"


def solution(path: Path) -> Path:
    """Return the place of a lesson's solution."""
    return path.parent / "solutions" / f"{path.stem}_solution.ipynb"


def read(path: Path) -> dict[str, Any]:
    """Read a notebook as JSON; raises LessonError when it is none."""
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        if notebook["nbformat"] != 4:
            raise ValueError("not in format 4")
        for cell in notebook["cells"]:
            cell["source"] = "".join(cell["source"])
            for output in cell.get("outputs", []):
                for holder in (output, output.get("data", {})):
                    holder |= {key: "".join(value) for key, value in holder.items() if isinstance(value, list)}
        return notebook
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LessonError(f"{path} is no notebook ({error}): restore it with git") from None


def metadata(notebook: dict[str, Any]) -> dict[str, Any]:
    """Return what the kit keeps in a notebook's metadata (empty when there is nothing)."""
    return notebook["metadata"].get("accelkit", {})


def code(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the code cells that have something to run."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code" and cell["source"].strip()]


def tags(cell: dict[str, Any]) -> list[str]:
    """Return a cell's tags."""
    return cell["metadata"].get("tags", [])


def write(path: Path, text: str) -> None:
    """Write a file atomically, its folder included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def canonical(notebook: dict[str, Any]) -> str:
    """Return the one text form of a notebook: sorted keys, stable cell ids, one kernel, no widget state, no timings."""
    notebook = json.loads(json.dumps(notebook))
    seen: set[str] = set()
    for index, cell in enumerate(notebook["cells"]):
        source = "".join(cell["source"])
        cell["source"] = source.splitlines(keepends=True)
        wanted = cell.get("id") or f"cell-{index:02d}-{digest(source.encode())[:8]}"
        cell["id"] = wanted if wanted not in seen else f"{wanted[:50]}-{index:02d}"
        seen.add(cell["id"])
        cell["metadata"] = {"tags": sorted(cell["metadata"]["tags"])} if cell["metadata"].get("tags") else {}
        for output in cell.get("outputs", []):
            output.pop("metadata", None)
            if "data" in output:
                output["metadata"] = {}
                output["data"].pop(WIDGET, None)
            data = output.get("data", {})
            for holder, kind in [(output, "text"), *((data, kind) for kind in data)]:
                if isinstance(holder.get(kind), str) and not kind.startswith("image/"):
                    holder[kind] = holder[kind].splitlines(keepends=True)
    own = {"accelkit": notebook["metadata"]["accelkit"]} if "accelkit" in notebook["metadata"] else {}
    notebook["metadata"] = {**own, "kernelspec": KERNELSPEC, "language_info": {"name": "python"}}
    notebook["nbformat_minor"] = 5
    return json.dumps(notebook, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def format_problems(path: Path, fix: bool = False) -> list[str]:
    """Say how a notebook departs from its canonical bytes; with `fix`, rewrite it instead."""
    text = canonical(read(path))
    if text == path.read_text(encoding="utf-8"):
        return []
    if fix:
        write(path, text)
        return []
    return [f"{path.name}: not in canonical form, run `python -m accelkit.lessons format`"]


def record_hash(notebook: dict[str, Any], root: Path = ROOT) -> dict[str, str]:
    """Return the hashes of a lesson's code cells, of its paths' configs and code, and of what builds their files."""
    about, configs, sources, makers = metadata(notebook), [], [], set[Path]()
    for spec in about.get("paths", []):
        path, _, precision = spec.replace("-", "_").partition(":")
        stem = "_".join(filter(None, (about["model"], path, precision)))
        configs.append(root / "model_repository" / stem / "config.pbtxt")
        module = root / "accelkit" / "paths" / f"{path}.py"
        sources += [module, *sorted((root / "accelkit" / "backends" / backend(module)).glob("*.py"))]
        sources += [root / "accelkit" / "models" / "quantize.py"] if precision == "int8" else []
        makers |= {*builders.sources(module, precision or "fp32", about["model"], root / "accelkit")}
    cells = "\n\0".join(cell["source"] for cell in code(notebook)).encode()
    configs, sources = ([file for file in files if file.exists()] for files in (configs, sources))
    return {
        "cells": digest(cells),
        "config": digest(*configs),
        "code": digest(*sources),
        "builders": digest(*sorted(makers)),
    }


def backend(module: Path) -> str:
    """Read the name of the Triton backend out of a path's module, without importing it."""
    found = re.search(r'^BACKEND = "(\w+)"', module.read_text() if module.exists() else "", re.MULTILINE)
    return found[1] if found else "none"


def outdated(notebook: dict[str, Any], root: Path = ROOT) -> str | None:
    """Say what changed since the outputs of a notebook were recorded, or None when they still hold.

    A record from before the builders were kept is not held to them.
    """
    names_of = {"cells": "its cells", "config": "a config.pbtxt", "code": "the code of its paths"}
    names_of |= {"builders": "what builds its files"}
    now = record_hash(notebook, root)
    stored = {"builders": now["builders"], **(metadata(notebook).get("record") or {})}
    changed = [names_of[key] for key, value in now.items() if stored.get(key) != value]
    since = metadata(notebook).get("last_verified", {}).get("date", "it was written")
    return f"record outdated ({', '.join(changed)} changed since {since})" if changed else None


def format_all(fix: bool, folder: Path = NOTEBOOKS) -> list[str]:
    """Say which lessons and solutions are not in canonical form or, with `fix`, put them into it."""
    files = sorted([*folder.glob("*.ipynb"), *folder.glob("solutions/*.ipynb")])
    return [problem for path in files for problem in format_problems(path, fix)]
