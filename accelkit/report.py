"""Results for people: a text table for the terminal and one self-contained HTML page."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from accelkit import paths
from accelkit.errors import MissingPackage
from accelkit.measure.bench import text
from accelkit.measure.result import Result
from accelkit.measure.timing import SETTLED

HEAD = tuple(
    "path|status|precision|parity|accuracy|infer/s|95 % interval|versus baseline|p50 ms|p99 ms|build s|MB".split("|")
)
RIGHT = (5, 8, 9, 10, 11)
"""Columns of figures, to be aligned on the right."""
WIDTH = 118
RAN = {
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"), "tensorrt": ("tensorrt",), "openvino": ("openvino",), "pytorch": ("torch",),
    "torch": ("torch-tensorrt",), "tensorflow": ("tensorflow", "tensorflow-cpu"), "fil": ("treelite",), "fastertransformer": ("torch",),
    "vllm": ("vllm",),
}  # fmt: skip
"""By a word in the name of a path or its backend: the packages that run it."""
MISSING = "missing here"
"""What a reason says when the machine lacks something; any other speaks of the kind of model."""
BUSY = 0.15
"""Noise from which on a comparison says little."""


def _number(value: float | None, digits: int = 3) -> str:
    """Return a number with about `digits` significant digits; all digits of large ones, a dash for None."""
    if value is None:
        return "-"
    if abs(value) < 1:
        return f"{value:.{digits}g}"
    return f"{value:,.{max(digits - len(str(int(abs(value)))), 0)}f}"


def _precision(result: Result) -> str:
    wanted, seen = result.precision.get("requested"), result.precision.get("observed")
    return f"{wanted}" if wanted == seen else f"{wanted}, ran {seen}" if seen else "-"


def _parity(result: Result) -> str:
    found = result.parity
    if not found:
        return "-"
    by_angle = result.precision.get("requested") == "int8"
    figure = f"cosine {_number(found['cosine'], 5)}" if by_angle else f"relative {_number(found['relative'], 2)}"
    return f"{'passed' if found['passed'] else 'FAILED'} {figure if found['max_abs'] is not None else ''}".strip()


def _accuracy(result: Result) -> str:
    found = result.parity or {}
    if found.get("value") is None:
        return "unknown" if found and found["max_abs"] is not None else "-"
    return (
        f"{100 * found['value']:.1f} %" if "accuracy" in found["metric"] else f"{found['value']:.4f} {found['metric']}"
    )


def _versus(result: Result) -> str:
    found = result.versus
    if not found:
        return "-"
    if found["path"] == result.label:
        return f"is the baseline, A/A {found['ratio']:.2f}x"
    low, high = found["interval"]
    to = "from" if found["verdict"] == "no difference" else "than"
    there = f" {to} {found['path']} there" if result.recorded else ""
    return f"{found['verdict']}{there} {found['ratio']:.2f}x [{low:.2f}-{high:.2f}]"


def cells(result: Result) -> tuple[str, ...]:
    """Return a result's cells in the order of HEAD; what is not known is a dash."""
    speed, cost = result.speed or {}, result.cost or {}
    span = "-".join(_number(value) for value in speed.get("interval", ())) or "-"
    figures = [_number(speed.get(key)) for key in ("p50_ms", "p99_ms")]
    costs = [_number(cost.get("build_s"), 2), _number(cost.get("size_mb"))]
    status = f"{result.status}, recorded" if result.recorded else result.status
    return (
        result.label, status, _precision(result), _parity(result), _accuracy(result), _number(speed.get("throughput")), span,
        _versus(result), *figures, *costs,
    )  # fmt: skip


def _machine(result: Result) -> str:
    facts, server = result.where.get("machine", {}), result.where.get("server", {})
    triton = f"Triton {server.get('version') or '-'} ({server.get('mode', '-')})"
    return f"{facts.get('line') or facts.get('cpu', 'unknown machine')}; {triton}; {result.where.get('date', '')}"


def notes(results: Sequence[Result]) -> list[str]:
    """Return what a reader has to know beside the table: noise, reasons, doubtful rows, origin of recorded ones."""
    found = []
    several = len(groups(results)) > 1
    for result in results:
        name = f"{result.model} {result.label}" if several else result.label
        versus, speed = result.versus or {}, result.speed or {}
        if versus.get("path") == result.label and not result.recorded:
            whose = f"noise of {result.model}" if several else "noise"
            share = f"{100 * versus['noise']:.1f} %"
            noise = f"{whose}: the baseline differs from itself by up to {share}; less is no difference"
            busy = ", and this much means a busy machine: measure again on a quiet one"
            found.append(noise + busy if versus["noise"] > BUSY else noise)
        if abs(residual := speed.get("littles_law_residual", 0)) > SETTLED:
            off = f"Little's law is off by {100 * residual:+.0f} %"
            found.append(f"{name}: {off}: the load was not kept up, do not rely on this row")
        if own := speed.get("in_process"):
            low, high = (100 * edge for edge in own["interval"])
            rate = f"{100 * own['share']:.0f} % of its in-process rate ({low:.0f}-{high:.0f} %)"
            found.append(f"{name}: served at {rate}, {_number(own['throughput'])} infer/s without a server")
        if result.why:
            found.append(f"{name}: {result.why}")
        elif result.status in ("rejected", "failed"):
            found.append(f"{name}: {result.status}: {result.reason}")
    kept = [result for result in results if result.recorded]
    every = len(results)
    found += [f"{names}: recorded, not measured here: {machine}" for machine, names in _alike(kept, _machine, every)]
    found += [f"{names}: ran on {runtime}" for runtime, names in _alike(kept, _runtime, every) if runtime]
    proven = [result for result in results if result.parity]
    found += [f"{names}: parity and accuracy by {n} samples" for n, names in _alike(proven, _samples, len(proven))]
    return found


def _alike(results: Sequence[Result], told: Callable[[Result], str], every: int) -> list[tuple[str, str]]:
    """What is told of results, each once, and the labels of those of which it is, or that it is of `every` one."""
    found: dict[str, dict[str, None]] = {}
    for result in results:
        found.setdefault(told(result), {})[result.label] = None
    if len(found) == 1 and len(results) == every > 1:
        return [(text, "every row") for text in found]
    return [(text, ", ".join(labels)) for text, labels in found.items()]


def _samples(result: Result) -> str:
    return _number((result.parity or {}).get("samples"), 1)


def _runtime(result: Result) -> str:
    """The packages that ran a path, with their versions, from the interpreter that it had to itself or else from the kit's."""
    path, versions = paths.get(result.path), result.where.get("versions", {})
    words = dict.fromkeys(f"{path.BACKEND}-{path.NAME}".split("-"))
    names = dict.fromkeys(name for word in words for name in RAN.get(word, ()))
    said = []
    for name in names:
        places = (f"{name} of {path.NAME}", f"{name} of {path.BACKEND}", name)
        version = next((versions[place] for place in places if place in versions), None)
        said += [f"{name} {version}"] if version else []
    return ", ".join(said)


def groups(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Return the results by "model variant", in their order."""
    found: dict[str, list[Result]] = {}
    for result in results:
        found.setdefault(f"{result.model} {result.variant}", []).append(result)
    return found


def absent(results: Sequence[Result]) -> dict[str, str]:
    """Return why each path is not here: what is missing for it or, of several models, by model those that it is not for."""
    missing, unfit = dict[str, str](), dict[str, list[str]]()
    several = len({result.model for result in results}) > 1
    for result in results:
        reason = result.reason or ""
        if result.status != "unavailable":
            continue
        if several and MISSING not in reason:
            unfit.setdefault(f"not for {result.model}", []).append(result.path)
        else:
            missing.setdefault(result.path, reason)
    return missing | {model: ", ".join(names) for model, names in unfit.items()}


def _heading(results: Sequence[Result]) -> tuple[str, str]:
    first = next((result for result in results if not result.recorded), results[0])
    load = "nothing measured"
    if speed := next((result.speed for result in results if result.speed), None):
        load = (
            f"batch {speed['batch']}, {speed['concurrency']} clients, {speed['protocol']}, {speed['repeats']} repeats"
        )
    *others, last = groups(results)
    names = f"{', '.join(others)} and {last}" if others else last
    return f"{names}: {load}", _machine(first)


def table(results: Sequence[Result]) -> str:
    """Return an aligned table of what was tried, the notes, and one line for each path that is not here, with its reason."""
    if not results:
        return "no results"
    title, origin = _heading(results)
    parts = {
        name: [cells(result) for result in made if result.status != "unavailable"]
        for name, made in groups(results).items()
    }
    rows = [row for made in parts.values() for row in made]
    widths = [max(map(len, column)) for column in zip(HEAD, *rows, strict=True)]

    def line(row: Sequence[str]) -> str:
        columns = enumerate(zip(row, widths, strict=True))
        return "  ".join(
            cell.rjust(width) if column in RIGHT else cell.ljust(width) for column, (cell, width) in columns
        ).rstrip()

    lines = [title, origin, "", line(HEAD), line(["-" * width for width in widths])]
    for name, made in parts.items():
        lines += [f"{name}:"] if len(parts) > 1 and made else []
        lines += map(line, made)
    if found := notes(results):
        lines += ["", *(part for note in found for part in textwrap.wrap(note, WIDTH, subsequent_indent="  "))]
    if away := absent(results):
        width = max(map(len, away))
        lines += ["", "not available here:"]
        for path, reason in away.items():
            lines += textwrap.wrap(f"  {path:<{width}}  {reason}", WIDTH, subsequent_indent=" " * (width + 4))
    return "\n".join(lines)


def _ticks(end: float) -> list[float]:
    """Return round values from 0 up to at most `end`, three to six of them."""
    power = 10.0 ** math.floor(math.log10(end))
    step = next(power * part for part in (0.2, 0.25, 0.5, 1.0, 2.0) if end / (power * part) <= 5)
    return [step * count for count in range(int(end / step) + 1)]


def chart(rows: Sequence[tuple[str, float, float, float]], title: str, bars: bool = True) -> str:
    """Return an inline SVG of rows (label, value, low, high): bars with whiskers, or a dot at the value with its range."""
    left, width, step, top = 178, 300, 32, 6
    end = max(high for *_, high in rows)
    height, scale = top + step * len(rows) + 26, width / end
    parts = [f'<svg viewBox="0 0 {left + width + 68} {height}" role="img" aria-label="{escape(title)}" class="chart">']
    for value in _ticks(end):
        x = left + value * scale
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{height - 24}" class="grid"/>')
        parts.append(f'<text x="{x:.1f}" y="{height - 8}" class="tick">{value:,.12g}</text>')
    for place, (label, value, low, high) in enumerate(rows):
        y, x, x0, x1 = top + step * (place + 0.5), *(left + figure * scale for figure in (value, low, high))
        parts.append(f'<text x="{left - 10}" y="{y + 5:.1f}" class="label">{escape(label)}</text>')
        if bars:
            parts.append(f'<rect x="{left}" y="{y - 9:.1f}" width="{x - left:.1f}" height="18" rx="2" class="bar"/>')
        line = f"M{x0:.1f} {y:.1f}H{x1:.1f}M{x0:.1f} {y - 5:.1f}v10M{x1:.1f} {y - 5:.1f}v10"
        parts.append(f'<path d="{line}" class="range"/>')
        if not bars:
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" class="dot"/>')
        parts.append(f'<text x="{x1 + 8:.1f}" y="{y + 5:.1f}" class="value">{_number(value)}</text>')
    return "".join([*parts, "</svg>"])


def _takeaway(results: Sequence[Result]) -> str:
    measured = [(result.label, found) for result in results if (found := result.versus) and not result.recorded]
    if not measured and any(result.recorded for result in results):
        return "Recorded on another machine, not measured in this run."
    faster = [(path, found) for path, found in measured if found["verdict"] == "faster"]
    if faster:
        path, found = max(faster, key=lambda row: row[1]["ratio"])
        low, high = found["interval"]
        gain = f"{found['ratio']:.2f} times the baseline's throughput (95 % interval {low:.2f} to {high:.2f})"
        return f"{path} is the fastest path that is proven right: {gain}."
    if len(measured) > 1:
        return "No path is faster than the baseline beyond the noise of this run."
    baseline = "The baseline is measured; no other path was measured in this run."
    return baseline if measured else "Nothing was measured in this run."


def _charts(results: Sequence[Result]) -> dict[str, Any]:
    """Return the two plots of one model's measured rows, and the rows for the tables beside them."""
    marked = {True: " (recorded)", False: ""}
    speeds = [(result.label + marked[result.recorded], result.speed) for result in results if result.speed]
    rates = [(path, speed["throughput"], *speed["interval"]) for path, speed in speeds]
    delays = [(path, speed["p50_ms"], speed["p50_ms"], speed["p99_ms"]) for path, speed in speeds]
    return {
        "speeds": speeds,
        "throughput": chart(rates, "Throughput with 95 % interval"),
        "latency": chart(delays, "Latency: median, and range up to the 99th percentile", bars=False),
    }


def html(results: Sequence[Result], summary: Mapping[str, Any] | None, out: Path) -> Path:
    """Write one HTML page without outside resources, every plot with a table of the same figures; return its path.

    `summary` is the tour's (lessons with mode, outcome, seconds) or None. MissingPackage without jinja2.
    """
    try:
        import jinja2
    except ImportError:
        raise MissingPackage("jinja2", "lessons", "the HTML report") from None
    template = Path(__file__).with_name("report.html.j2").read_text(encoding="utf-8")
    page = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(template)
    title, origin = _heading(results) if results else ("no results", "")
    command = next(
        (text(row.provenance["command"]) for row in results if row.speed and "command" in row.provenance), ""
    )
    parts = groups(results)
    charts = {name: _charts(made) for name, made in parts.items() if any(row.speed for row in made)}
    out.parent.mkdir(parents=True, exist_ok=True)
    content = page.render(
        title=title, origin=origin, takeaways={name: _takeaway(made) for name, made in parts.items()}, head=HEAD, right=RIGHT,
        groups=parts, results=results, cells=cells, notes=notes(results), absent=absent(results), charts=charts, number=_number,
        lessons=(summary or {}).get("lessons", []), command=command,
    )  # fmt: skip
    out.write_text(content, encoding="utf-8")
    return out
