"""One Result per path, as JSON that a program and a later reader can trust, and its raw exports beside it."""

from __future__ import annotations

import gzip
import json
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from accelkit import paths
from accelkit.errors import MeasureError, need_file
from accelkit.measure import bench, compared

SCHEMA = 1
FILE = "results.json"
RUN = (FILE, "raw-*.json.gz", "inputs-*.json")
"""The files of a run."""
STATUSES = ("measured", "rejected", "unavailable", "failed")
PARTS = {
    "parity": "passed reference max_abs cosine metric reference_value value samples",
    "speed": "batch concurrency protocol throughput interval p50_ms p95_ms p99_ms repeats littles_law_residual",
    "versus": "path ratio interval noise verdict",
}
"""What each part holds, if there is one."""
CONTROL = "again"
"""Suffix of the baseline's second run in the raw file."""
IN_PROCESS = "in process"
"""Suffix of a row's runs without a server in the raw file."""


@dataclass(frozen=True)
class Result:
    """One path's row; its parts are plain dicts of the schema. A row not proven cannot hold a speed: MeasureError."""

    model: str
    variant: str
    path: str
    status: str
    reason: str | None = None
    precision: dict[str, Any] = field(default_factory=dict)
    evidence: dict[str, Any] | None = None
    parity: dict[str, Any] | None = None
    speed: dict[str, Any] | None = None
    versus: dict[str, Any] | None = None
    cost: dict[str, Any] | None = None
    generation: dict[str, Any] | None = None
    why: str | None = None
    where: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    recorded: bool = False
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise MeasureError(f"result of {self.path}: status {self.status!r} is none of {', '.join(STATUSES)}")
        if self.schema != SCHEMA:
            raise MeasureError(f"result of {self.path}: schema {self.schema}, this version reads {SCHEMA}")
        proven = self.evidence and self.parity and (self.parity.get("passed") or self.parity.get("proxy"))
        if self.status == "measured" and not (proven and self.speed):
            raise MeasureError(f"result of {self.path}: measured without parity, evidence or speed")
        if self.status != "measured" and (self.speed or self.versus):
            raise MeasureError(f"result of {self.path}: {self.status}, so it must not hold a speed")
        if self.status != "measured" and not self.reason:
            raise MeasureError(f"result of {self.path}: {self.status} without a reason")

    @property
    def label(self) -> str:
        """What the row is called in tables: the path, with the precision asked for where that is not fp32."""
        return paths.label(self.path, self.precision.get("requested"))

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Result:
        """Return the Result in a dict; MeasureError names unknown or missing fields."""
        for part, keys in PARTS.items():
            if values.get(part) is not None and (lacking := set(keys.split()) - set(values[part])):
                raise MeasureError(f"result of {values.get('path', '?')}: {part} lacks {', '.join(sorted(lacking))}")
        try:
            return cls(**values)
        except TypeError:
            known = {item.name for item in fields(cls)}
            wrong = set(values) - known or {"model", "variant", "path", "status"} - set(values)
            name = values.get("path", "?")
            raise MeasureError(f"result of {name}: wrong fields {', '.join(sorted(wrong))}") from None


def write(path: Path, results: Sequence[Result]) -> Path:
    """Write results as a JSON list and return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([result.as_dict() for result in results], indent=1, ensure_ascii=False) + "\n")
    return path


def read(path: Path) -> list[Result]:
    """Read the results in a file; MeasureError if it holds none, ModelError if it is no file."""
    need_file(path, f"the {FILE} of a run of `accelkit compare`")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return [Result.from_dict(value) for value in values]
    except (ValueError, TypeError, AttributeError):
        raise MeasureError(f"{path}: holds no results: name the {FILE} of a run of `accelkit compare`") from None


@contextmanager
def new_run(out: Path, say: Callable[[str], object]) -> Iterator[Path]:
    """Give a folder to measure into; its files go to `out` when the run is done, those of a run that ends early nowhere.

    What an earlier run left in `out` is moved to a folder beside it with the date of that run, which is said.
    """
    with tempfile.TemporaryDirectory(prefix="accelkit-run-") as folder:
        yield Path(folder)
        if earlier := [file for name in RUN for file in out.glob(name)]:
            date = datetime.fromtimestamp(max(file.stat().st_mtime for file in earlier))
            kept = out.absolute().with_name(f"{out.absolute().name}-{date:%Y-%m-%d_%H-%M-%S}")
            kept.mkdir(exist_ok=True)
            for file in earlier:
                file.replace(kept / file.name)
            say(f"the results of the run before this one are kept in {kept}")
        out.mkdir(parents=True, exist_ok=True)
        for file in Path(folder).iterdir():
            shutil.move(file, out / file.name)


def write_raw(path: Path, load: bench.Load, runs: Mapping[str, Sequence[bench.Run]]) -> Path:
    """Write every run's export, by candidate in the order of the repeats, as one gzip'ed JSON file."""
    exports = {name: [run.export for run in made] for name, made in runs.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(json.dumps({"load": asdict(load), "runs": exports}).encode(), mtime=0))
    return path


def recompute(result: Result, raw: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return (speed, versus) of a measured Result computed anew from its raw file; MeasureError if it lacks them."""
    try:
        content = json.loads(gzip.decompress(raw.read_bytes()))
        load = bench.Load(**content["load"])
        made = {name: [bench.rows(one, load.batch)[0] for one in exports] for name, exports in content["runs"].items()}
        base = (result.versus or {})["path"]
        again = f"{base} {CONTROL}"
        parts = [made[name] for name in (base, again, again if result.label == base else result.label)]
        mine = made[result.label]
    except (OSError, EOFError, ValueError, KeyError, TypeError, zlib.error) as error:
        raise MeasureError(f"{raw}: does not hold the raw exports of {result.label}: {error!r}") from None
    rates = [[run.throughput for run in part] for part in parts]
    return compared.speed(mine, load, made.get(f"{result.label} {IN_PROCESS}")), compared.versus(base, *rates).as_dict()
