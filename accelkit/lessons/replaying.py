"""What a lesson's cell finds on hardware that few have: measured where it is there, else shown as it was recorded."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from accelkit.lessons import form

FOLDER = Path("recorded", "lessons")
"""Where the records of cells lie, below the folder of the lessons."""


def replay(name: str, missing: str | None) -> Callable[..., Any]:
    """Return the function shown(key, measure, missing=None) of a lesson, for cells that need what may be `missing`.

    A cell's own `missing` names what it lacks beside what the whole lesson lacks, such as a tool. With nothing missing
    it returns what `measure` returns, JSON values all through, and keeps it for the record; else what the record holds under
    the key, after a line that says whose it is, in full once, and whether the cells that led to it are still the same; None where
    nothing is on record, and it says that. A record is of one run: what was missing in it is not on record.
    """
    everywhere, told = missing, False
    path = form.lesson(name)
    stem, cells_now = path.stem, cells_hash(form.read(path))
    made, record = measured(stem), form.NOTEBOOKS / FOLDER / f"{stem}.json"
    made.unlink(missing_ok=True)
    cells: dict[str, Any] = {}
    if missing and not record.exists():
        print(f"No cell of this lesson is on record yet from a machine that has all it needs: {missing}")

    def shown(key: str, measure: Callable[[], Any], missing: str | None = None) -> Any:
        nonlocal told
        lacking = everywhere or missing
        if lacking is None:
            from accelkit.comparison import where

            cells[key] = json.loads(json.dumps(measure()))
            form.write(made, json.dumps({"where": where(None), "cells": cells}, indent=1, ensure_ascii=False) + "\n")
            return cells[key]
        found = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {"cells": {}}
        if key not in found["cells"]:
            print("Not run here, and not on record yet" + (f": {missing}" if missing and not everywhere else ""))
            return None
        about = found["where"]
        versions = ", ".join(f"{package} {version}" for package, version in about["versions"].items())
        whose = "the one named above" if told else f"{about['machine']['line']}; {versions}"
        late = "" if found["lesson"] == cells_now else ", record outdated: the lesson's cells changed since"
        print(f"RECORDED {about['date']}, on another machine: {whose}{late}")
        told = True
        return found["cells"][key]

    return shown


def cells_hash(notebook: dict[str, Any]) -> str:
    """Return the hash of a lesson's code cells up to the last one that calls `shown`: what comes later has no part in its record."""
    sources = [cell["source"] for cell in form.code(notebook)]
    last = max((number for number, source in enumerate(sources, 1) if "shown(" in source), default=0)
    return form.digest("\n\0".join(sources[:last]).encode())


def measured(stem: str, out: Path = form.OUT) -> Path:
    """Return where an execution keeps what the cells of a lesson measured."""
    return Path(os.environ.get("ACCELKIT_TOUR", out)) / "results" / f"{stem}.cells.json"
