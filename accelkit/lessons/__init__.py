"""The lessons: find them, run them, check them, and the few helpers that a lesson itself calls."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from accelkit.errors import LessonError
from accelkit.lessons import execution
from accelkit.lessons.checking import check
from accelkit.lessons.execution import OUT, keep, record, run
from accelkit.lessons.form import format_all, lesson, metadata, names, outdated, read
from accelkit.lessons.replaying import replay

__all__ = [
    "check", "command", "exercise", "format_all", "keep", "listing", "names", "opening", "record",
    "replay", "run", "show",
]  # fmt: skip


def opening(name: str) -> str:
    """Return what a lesson opens with: the machine, when its stored outputs were made, and whether they hold."""
    from accelkit import machine

    notebook = read(lesson(name))
    seen = metadata(notebook).get("last_verified", {})
    lines = [f"This machine: {machine.probe().line()}"]
    if late := outdated(notebook):
        lines.append(f"{late.capitalize()}: run every cell, the stored outputs may no longer hold.")
    elif not os.environ.get("ACCELKIT_TOUR"):
        lines.append("Stored outputs: " + ", ".join(map(str, seen.values())))
    return "\n".join(lines)


def exercise(number: int, *steps: tuple[bool, str]) -> bool:
    """Print whether an exercise is solved and return it; each step is (holds, what to look at when it does not)."""
    missing = next((hint for holds, hint in steps if not holds), None)
    print(f"Exercise {number}: {'solved' if missing is None else f'not yet. {missing}'}")
    return missing is None


def show(text: str) -> None:
    """Display text such as a table without breaking its lines: what is too wide for the page scrolls."""
    from html import escape

    from IPython.display import display

    style = "white-space: pre; overflow-x: auto; font: 75%/1.4 var(--jp-code-font-family, monospace)"
    display({"text/plain": text, "text/html": f'<pre style="{style}">{escape(text)}</pre>'}, raw=True)


def listing(chosen: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return one row for each lesson, or for those chosen: name, title, minutes, needs, era, last verification, whether it is stale."""
    rows = []
    for name in chosen or names():
        notebook = read(lesson(name))
        about = {key: metadata(notebook).get(key) for key in ("title", "minutes", "needs", "era", "last_verified")}
        rows.append({"name": name, **about, "outdated": outdated(notebook)})
    return rows


def command(
    chosen: Sequence[str],
    *,
    execute: bool = False,
    record: bool = False,
    out: Path = OUT,
    as_json: bool = False,
    echo: Callable[[str], object] = print,
) -> None:
    """List the lessons, or execute and check them, or record them anew; raises LessonError when one does not pass."""
    chosen = [lesson(name).stem for name in chosen]
    if not (execute or record):
        rows = listing(chosen)
        lines = [f"{row['name']:<24} {row['minutes']:>3} min  {row['title']}  {row['outdated'] or ''}" for row in rows]
        echo(json.dumps(rows, indent=2, ensure_ascii=False) if as_json else "\n".join(map(str.rstrip, lines)))
        return
    found: dict[str, list[str]] = {}
    if record:
        summary: dict[str, Any] = {"lessons": [execution.record(name, Path(out)) for name in chosen or names()]}
    else:
        summary = run(list(chosen) or None, Path(out), progress=not as_json)
        passed = [row["name"] for row in summary["lessons"] if row["outcome"] == "ok"]
        found = {name: check(name, Path(out) / f"{name}.ipynb") for name in passed}
    if as_json:
        echo(json.dumps({**summary, "problems": found}, indent=2))
    for row in [] if as_json else summary["lessons"]:
        line = f"{row['name']:<24} {row['mode'] or '-':<9} {row['outcome']:<7} {row['seconds']:6.1f} s"
        echo("\n    ".join(filter(None, [line, row["error"], *found.get(row["name"], [])])))
    bad = [row["name"] for row in summary["lessons"] if row["outcome"] != "ok" or found.get(row["name"])]
    if bad:
        raise LessonError(f"{len(bad)} of {len(summary['lessons'])} lessons did not pass: {', '.join(bad)}")
