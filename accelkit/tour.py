"""The whole tour: check the machine, fetch the tools, run every lesson, compare every path, write the report."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path


def run(out: Path, echo: Callable[[str], object] = print) -> int:
    """Run the tour, writing under `out`; 0 when every lesson passed and no path failed, else 1."""
    from accelkit import doctor, lessons, machine, models, paths, recorded, report, toolchain
    from accelkit.budget import budget
    from accelkit.comparison import compare_all
    from accelkit.measure import result
    from accelkit.models import quantize

    budget()
    started = time.monotonic()
    found = machine.probe()
    echo(f"machine: {found.line()}")
    toolchain.ensure()
    for check in doctor.checks(found):
        if check.state != "ok":
            echo(f"{check.state}: {check.name}: {check.detail}. {check.fix}")
    served = [models.get(name) for name in models.names()]
    for model in served:
        echo(f"model: {model.name} {model.variant}{'' if model.kind == paths.GENERATES else f', {model.onnx()}'}")
        if "int8" in model.precisions and {"nncf", "onnx"} <= found.runtimes.keys():
            # Before the lessons: the first build takes longer than one of them.
            echo(f"model: {model.name} {model.variant} in INT8, {quantize.int8_onnx(model)}")
    summary = lessons.run(lessons.names(), out=out / "tour")
    with result.new_run(out / "compare", echo) as folder:
        results = recorded.with_gpus(compare_all(served, out=folder))
        result.write(folder / result.FILE, results)
    page = report.html(results, summary, out / "report" / "index.html")
    echo("")
    for lesson in summary["lessons"]:
        line = f"{lesson['name']:<24} {lesson['mode'] or '-':<9} {lesson['outcome']:<7} {lesson['seconds']:6.1f} s"
        echo(f"{line}  {lesson['error'] or ''}".rstrip())
    echo(f"\n{report.table(results)}\n\nreport: {page}   ({time.monotonic() - started:.0f} s)")
    for row in lessons.listing():
        if row["outdated"]:
            echo(f"{row['name']}: {row['outdated']}")
    passed = all(lesson["outcome"] == "ok" for lesson in summary["lessons"])
    return 0 if passed and all(row.status != "failed" for row in results) else 1
