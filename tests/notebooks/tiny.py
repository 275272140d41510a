"""A lesson of a few cheap cells, for tests of the machinery that runs and checks lessons."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from accelkit.lessons import form

RESULT = """
import json, os, pathlib
out = pathlib.Path(os.environ['ACCELKIT_TOUR']) / 'results' / '70_tiny.json'
out.parent.mkdir(parents=True, exist_ok=True)
"""
WHERE = {"where": {"server": {"mode": "embedded", "version": "0.0"}}}
CELLS = [
    "import time\ntime.sleep(0.2)\nstate = {'ready': True}",
    "# NBVAL_CHECK_OUTPUT\nprint('six', 2 * 3)",
    "# NBVAL_CHECK_OUTPUT\n[letter for letter in 'abc']",
    "# NBVAL_CHECK_OUTPUT\nstate",
    "answer = None",
    "assert answer in (None, 3)\nprint('not yet' if answer is None else 'solved')",
    f"{RESULT}_ = out.write_text(json.dumps([{{'recorded': False, 'status': 'measured', **{WHERE!r}}}]))",
]
TAGS = {3: ["server-state"], 4: ["exercise-1"], 5: ["check-1"]}


def cell(kind: str, source: str, index: int, tags: list[str]) -> dict[str, Any]:
    """Make one cell."""
    extra = {"execution_count": None, "outputs": []} if kind == "code" else {}
    return {"cell_type": kind, "id": f"{kind}-{index}", "metadata": {"tags": tags}, "source": source, **extra}


def lesson(folder: Path, cells: list[str] = CELLS, name: str = "70_tiny") -> Path:
    """Write a lesson without outputs, and its solution, into `folder`."""
    sections = "\n\n".join(f"## {section}" for section in form.SECTIONS).replace("Why ", "Why this")
    about: dict[str, Any] = dict.fromkeys(form.REQUIRED, ["x"])
    about |= {"title": "Tiny", "minutes": 1, "era": ["current"], "model": "none", "paths": ["none"]}
    about["last_verified"] = {"date": "2026-01-01"}
    book = {"nbformat": 4, "nbformat_minor": 5, "metadata": {"accelkit": about}}
    code = [cell("code", source, index, TAGS.get(index, [])) for index, source in enumerate(cells)]
    book["cells"] = [cell("markdown", sections, 0, []), *code]
    about["record"] = form.record_hash(book)
    path = folder / f"{name}.ipynb"
    form.write(path, form.canonical(book))
    solved = json.loads(json.dumps(book).replace('"answer = None"', '"answer = 3"'))
    form.write(form.solution(path), form.canonical(solved))
    return path
