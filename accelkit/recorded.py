"""Results of other machines, kept beside the lessons: shown where the hardware is missing, and what a machine may expect."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from accelkit import paths
from accelkit.errors import MeasureError
from accelkit.machine import SETS, Machine, bf16, usable
from accelkit.measure import result
from accelkit.measure.result import Result

FOLDER = Path(__file__).resolve().parents[1] / "notebooks" / "recorded"
ORDER = [name for name, _ in SETS.values()]
"""Instruction sets, best first."""


@dataclass(frozen=True)
class Expectation:
    """What a path in a precision did on the machine of a record: times the baseline's throughput, with its interval."""

    model: str
    label: str
    ratio: float
    low: float
    high: float
    verdict: str


def keep(name: str, results: Sequence[Result], raw: Path, folder: Path = FOLDER) -> Path:
    """Write what was measured as the record NAME.json, its raw exports from the folder `raw` beside it; return its path.

    MeasureError when nothing was measured.
    """
    rows = [row for row in results if row.speed]
    if not rows:
        raise MeasureError(f"record {name}: nothing was measured, so there is nothing to keep")
    kept = []
    folder.mkdir(parents=True, exist_ok=True)
    for row in rows:
        source = row.provenance["raw"]
        target = f"{name}-{source}"
        shutil.copyfile(raw / source, folder / target)
        kept.append(replace(row, recorded=True, provenance={**row.provenance, "raw": target}))
    return result.write(folder / f"{name}.json", kept)


def read(folder: Path = FOLDER) -> dict[str, list[Result]]:
    """Return every record by its name; an installation without the lessons has none."""
    return {file.stem: result.read(file) for file in sorted(folder.glob("*.json"))}


def with_gpus(results: Sequence[Result], folder: Path = FOLDER) -> list[Result]:
    """Return results and, behind them, what is on record of their model's GPU paths that are not here, under the same load."""

    def load(row: Result) -> tuple[Any, ...]:
        return tuple((row.speed or {}).get(key) for key in ("batch", "concurrency", "protocol"))

    away = {(row.model, row.path) for row in results if row.status == "unavailable" and paths.get(row.path).GPU}
    wanted = next((load(row) for row in results if row.speed), None)
    found: dict[tuple[str, str, str], Result] = {}
    for row in sorted((row for rows in read(folder).values() for row in rows), key=lambda row: row.where["date"]):
        if (row.model, row.path) in away and load(row) == wanted:
            found[row.model, row.variant, row.label] = row
    return [*results, *found.values()]


def nearest(machine: Machine, folder: Path = FOLDER) -> list[Result]:
    """Return what the CPU most like this one did: of the same architecture, with its instruction set or the next lesser.

    Of two with the same set it is the one that computes in BF16, or does not, as this one does. Of a run whose instruction set
    was capped for OpenVINO, what ONNX Runtime did in INT8 is left out: it reads no such cap.
    """
    found: dict[tuple[int, bool], list[Result]] = {}
    for rows in read(folder).values():
        about = rows[0].where["machine"]
        name, capped = about.get("best_isa"), about.get("isa_cap")
        beyond = (paths.BASELINE, "int8") if capped else None
        rows = [row for row in rows if (row.path, row.precision["requested"]) != beyond and not paths.get(row.path).GPU]
        if rows and about["arch"] == machine.arch and name in ORDER:
            differs = bf16(usable(about.get("isa", ()), capped)) != bf16(machine.usable_isa())
            found.setdefault((ORDER.index(name), differs), rows)
    best = machine.best_isa()
    able = [place for place in found if best in ORDER and place[0] >= ORDER.index(best)]
    return found[min(able)] if able else []


def expect(machine: Machine, folder: Path = FOLDER) -> tuple[str, list[Expectation]]:
    """Return whose record it is, in one line, and what each path did there; an empty line when no record fits."""
    rows = nearest(machine, folder)
    if not rows:
        return "", []
    where, speed = rows[0].where, rows[0].speed or {}
    load = f"batch {speed['batch']}, {speed['concurrency']} clients"
    origin = f"{where['machine']['line']}; {where['date']}; {load}"
    found = []
    for row in rows:
        if row.versus and row.versus["path"] != row.label:
            low, high = row.versus["interval"]
            name = f"{row.model} {row.variant}"
            found.append(Expectation(name, row.label, row.versus["ratio"], low, high, row.versus["verdict"]))
    return origin, found


def text(machine: Machine, folder: Path = FOLDER) -> str:
    """Return the expectations of a machine as lines for a terminal."""
    origin, found = expect(machine, folder)
    if not found:
        return "expect: no record of a machine like this one; `accelkit compare` measures here"
    same = nearest(machine, folder)[0].where["machine"]["best_isa"] == machine.best_isa()
    whose = f"a machine with {machine.best_isa()} too" if same else "the most similar machine on record"
    lines = [f"expect, by {whose} ({origin}):"]
    width = max(len(row.label) for row in found)
    for model in dict.fromkeys(row.model for row in found):
        lines.append(f"  {model}, times the throughput of its baseline")
        for row in found:
            if row.model == model:
                figure = f"{row.ratio:5.2f}  [{row.low:.2f}-{row.high:.2f}]"
                lines.append(f"    {row.label:<{width}} {figure}  {row.verdict}")
    return "\n".join([*lines, "  what holds here is measured by `accelkit compare`"])
