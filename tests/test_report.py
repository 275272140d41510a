"""report: the table tells no more than the results, and the page needs nothing but itself."""

import dataclasses
import html.parser
import re
import subprocess
import sys

import pytest

from accelkit import report
from accelkit.measure.result import Result

WHERE = {
    "machine": {"line": "Xeon, 2 cores", "gpus": []}, "gpus": 0, "server": {"mode": "embedded", "version": "2.51.0"},
    "versions": {}, "date": "2026-11-23",
}  # fmt: skip
PARITY = {
    "passed": True, "reference": "onnxruntime-cpu fp32", "max_abs": 1e-6, "relative": 1.2e-7, "cosine": 1.0,
    "metric": "word_accuracy", "reference_value": 0.973, "value": 0.973, "samples": 512, "worse": 0, "better": 0,
}  # fmt: skip
BASE = Result(
    "text_recognition", "small", "onnxruntime-cpu", "measured", precision={"requested": "fp32", "observed": "fp32"},
    evidence={"how": "profile", "nodes": {"CPUExecutionProvider float32": 39}}, parity=PARITY,
    speed={
        "batch": 16, "concurrency": 2, "protocol": "grpc", "throughput": 612.4, "interval": [598.1, 624.0], "p50_ms": 51.8,
        "p95_ms": 55.1, "p99_ms": 60.3, "repeats": 5, "littles_law_residual": -0.004,
    },
    versus={"path": "onnxruntime-cpu", "ratio": 1.003, "interval": [0.98, 1.02], "noise": 0.021, "verdict": "no difference"},
    cost={"build_s": 0.02, "size_mb": 11.1, "first_inference_ms": 41.0, "memory_mb": 110}, where=WHERE,
    provenance={"command": ["perf_analyzer", "-m", "m", "-b", "16"]},
)  # fmt: skip
FAST = dataclasses.replace(
    BASE, path="openvino", precision={"requested": "int8", "observed": "int8"},
    parity={**PARITY, "relative": 0.012, "cosine": 0.9997, "value": 0.971, "worse": 3, "better": 2},
    speed={**BASE.speed, "throughput": 2080.0, "interval": [2041.0, 2110.0], "p50_ms": 15.1},
    versus={"path": "onnxruntime-cpu", "ratio": 3.41, "interval": [3.3, 3.52], "noise": 0.021, "verdict": "faster"},
)  # fmt: skip
REJECTED = Result(
    "text_recognition", "small", "pytorch", "rejected", "difference is 0.31 <too far>",
    parity={**PARITY, "passed": False, "relative": 0.31},
    precision={"requested": "fp32", "observed": "fp32"}, evidence=BASE.evidence, where=WHERE,
)  # fmt: skip
ABSENT = Result("text_recognition", "small", "tensorrt", "unavailable", "needs an NVIDIA GPU", where=WHERE)
ALL = [BASE, FAST, REJECTED, ABSENT]
LESSONS = {
    "lessons": [
        {"name": "00_start_here", "mode": "live", "outcome": "ok", "seconds": 12.3, "error": None},
        {"name": "01_triton_baseline", "mode": None, "outcome": "failed", "seconds": 3.0, "error": "cell 7: <oops>"},
    ]
}


def row(text, path):
    return next(line for line in text.splitlines() if line.startswith(path))


def test_the_table_is_aligned_and_complete():
    text = report.table(ALL)
    head = row(text, "path")
    for name in report.HEAD:
        assert name in head
    assert row(text, "openvino").split()[:9] == [
        "openvino",
        "int8",
        "measured",
        "int8",
        "passed",
        "cosine",
        "0.9997",
        "97.1",
        "%",
    ]
    assert "faster 3.41x [3.30-3.52]" in text and "is the baseline, A/A 1.00x" in text
    starts = [head.index("status"), head.index("precision")]
    for path in ("onnxruntime-cpu", "openvino", "pytorch"):
        assert all(row(text, path)[at] != " " and row(text, path)[at - 1] == " " for at in starts)


def test_a_rejected_row_has_a_reason_and_no_number():
    line = row(report.table(ALL), "pytorch")
    assert "FAILED relative 0.31" in line and re.split(r"\s{2,}", line)[5:8] == ["-", "-", "-"]
    assert "pytorch: rejected: difference is 0.31 <too far>" in report.table(ALL)


def test_unavailable_paths_follow_with_their_reasons():
    text = report.table(ALL)
    assert text.index("not available here:") < text.index("tensorrt  needs an NVIDIA GPU")


def test_noise_doubt_and_origin_are_said():
    slack = dataclasses.replace(FAST, speed={**FAST.speed, "littles_law_residual": -0.2})
    recorded = dataclasses.replace(FAST, path="tensorrt", recorded=True, where={**WHERE, "machine": {"line": "H200"}})
    found = "\n".join(report.notes([BASE, slack, recorded]))
    assert "differs from itself by up to 2.1 %" in found and "Little's law is off by -20 %" in found
    assert "tensorrt int8: recorded, not measured here: H200; Triton 2.51.0 (embedded); 2026-11-23" in found
    assert "measured, recorded" in report.table([BASE, recorded])


def test_what_ran_a_recorded_row_is_said_once_and_by_how_many_samples_it_is_proven():
    """TensorRT of an interpreter of its own is another than that of the kit's."""
    versions = {"tensorrt of tensorrt": "8.6.0", "tensorrt": "11.0", "onnxruntime": "1.2", "numpy": "2"}
    where = {**WHERE, "versions": versions}
    kept = [dataclasses.replace(row, recorded=True, where=where) for row in (BASE, FAST)]
    kept += [dataclasses.replace(kept[1], path="tensorrt"), dataclasses.replace(kept[0], path="onnxruntime-tensorrt")]
    notes = report.notes(kept)
    assert [note.partition(": ")[2] for note in notes if note.startswith("every row: recorded")]
    assert "tensorrt int8: ran on tensorrt 8.6.0" in notes and "onnxruntime-cpu: ran on onnxruntime 1.2" in notes
    assert "onnxruntime-tensorrt: ran on onnxruntime 1.2, tensorrt 11.0" in notes
    assert f"every row: parity and accuracy by {BASE.parity['samples']} samples" in notes


def test_a_busy_machine_is_named():
    assert "busy machine" not in report.table([BASE])
    assert "busy machine" in report.table([dataclasses.replace(BASE, versus={**BASE.versus, "noise": 0.4})])


def test_a_precision_that_was_not_observed_shows():
    asked = dataclasses.replace(FAST, precision={"requested": "fp16", "observed": "fp32"})
    assert "fp16, ran fp32" in report.table([asked])


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (0, "0"), (0.31, "0.31"), (1.2e-7, "1.2e-07"), (51.83, "51.8"), (2080.4, "2,080")]
)
def test_numbers_keep_their_meaning(value, text):
    assert report._number(value) == text


@pytest.mark.parametrize("end", [0.03, 1.0, 9.99, 51.8, 60.3, 624, 2110, 99999])
def test_ticks_are_few_and_round(end):
    ticks = report._ticks(end)
    assert 3 <= len(ticks) <= 6 and ticks[0] == 0 and end * 0.5 < ticks[-1] <= end


class Page(html.parser.HTMLParser):
    """Collects what a page refers to, and checks that its tags are closed."""

    VOID = {"meta", "br", "hr", "img", "link", "line", "rect", "path", "circle"}

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.links = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_from_outside(tmp_path):
    text = report.html(ALL, LESSONS, tmp_path / "deep" / "index.html").read_text()
    page = Page(text)
    assert page.open == [] and page.links == [] and "script" not in page.tags
    assert not re.search(r"https?://|@import|url\(", text)
    assert "prefers-color-scheme: dark" in text and "&lt;too far&gt;" in text and "&lt;oops&gt;" in text
    for fact in (
        "openvino int8 is the fastest path",
        "3.41 times",
        "needs an NVIDIA GPU",
        "39 nodes CPUExecutionProvider",
        "00_start_here",
    ):
        assert fact in text
    assert "perf_analyzer \\\n    -m m" in text


def test_a_difference_says_whether_it_is_absolute_or_relative(tmp_path):
    assert "passed relative 1.2e-07" in row(report.table(ALL), "onnxruntime-cpu")
    text = report.html([BASE, REJECTED], None, tmp_path / "index.html").read_text()
    head, *rows = re.findall(r"<tr>(.*?)</tr>", text.partition("<h2>Proof</h2>")[2], re.DOTALL)
    names = re.findall(r"<th[^>]*>(.*?)</th>", head)
    for line, relative in zip(rows, ("1.2e-07", "0.31"), strict=True):
        found = dict(zip(names, re.findall(r"<td[^>]*>(.*?)</td>", line, re.DOTALL), strict=False))
        assert (found["largest absolute difference"], found["relative difference"]) == ("1e-06", relative)
    assert len(names) == len(re.findall(r"<td", rows[0]))


def test_every_plot_has_a_table_with_the_same_figures(tmp_path):
    text = report.html(ALL, None, tmp_path / "index.html").read_text()
    figures = re.findall(r"<figure>.*?</figure>", text, re.DOTALL)
    assert len(figures) == 2
    for figure, values in zip(figures, (("612", "2,080"), ("51.8", "15.1")), strict=True):
        plot, table = figure.split("</svg>")
        for value in values:
            assert f">{value}</text>" in plot and f">{value}</td>" in table
        assert 'role="img"' in plot and "aria-label" in plot


def test_bars_are_as_long_as_their_values():
    svg = report.chart([("a", 100.0, 90.0, 120.0), ("b", 50.0, 45.0, 60.0)], "t")
    first, second = (float(width) for width in re.findall(r'<rect [^>]*width="([\d.]+)"', svg))
    assert first == pytest.approx(2 * second, rel=0.01)


@pytest.mark.parametrize(
    ("results", "said"), [([], "no results"), ([ABSENT], "Nothing was measured"), ([BASE], "The baseline is measured")]
)
def test_few_results_make_a_page_too(tmp_path, results, said):
    assert said in report.html(results, None, tmp_path / "index.html").read_text()
    assert report.table(results)


def test_no_gain_is_said_plainly(tmp_path):
    same = dataclasses.replace(
        FAST, versus={**FAST.versus, "ratio": 1.01, "interval": [0.99, 1.03], "verdict": "no difference"}
    )
    assert "No path is faster than the baseline" in report.html([BASE, same], None, tmp_path / "i.html").read_text()


def test_the_module_loads_without_the_heavy_packages():
    code = (
        "import sys, accelkit.report; print([m for m in ('jinja2', 'matplotlib', 'onnxruntime') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_two_models_stand_in_one_table_each_under_its_name():
    trees = dataclasses.replace(
        BASE, model="trees", variant="xgboost_json", parity={**PARITY, "metric": "roc_auc", "value": 0.9531}
    )
    away = dataclasses.replace(
        ABSENT, model="trees", variant="xgboost_json", path="openvino", reason="it has no operators for forests"
    )
    text = report.table([*ALL, trees, away])
    lines = text.splitlines()
    assert (
        sum(line.startswith("path ") for line in lines) == 1
        and "text_recognition small and trees xgboost_json: batch 16" in lines[0]
    )
    after = lines[lines.index("trees xgboost_json:") + 1]
    assert after.startswith("onnxruntime-cpu") and "0.9531 roc_auc" in after
    assert re.search(r"not for trees +openvino\n", text + "\n") and "trees onnxruntime-cpu" not in text


def test_of_several_models_what_is_missing_is_said_once_and_what_does_not_fit_by_name_alone():
    needs = "needs an NVIDIA GPU; missing here: an NVIDIA GPU"
    rows = [BASE, dataclasses.replace(ABSENT, path="vllm", reason="it generates nothing")]
    for model in ("trees", "gpt"):
        one = dataclasses.replace(ABSENT, model=model, variant="v", path="vllm", reason=needs)
        rows += [one, dataclasses.replace(one, path="fil", reason=f"{model} is no forest")]
    assert report.absent(rows) == {
        "vllm": needs,
        f"not for {BASE.model}": "vllm",
        "not for trees": "fil",
        "not for gpt": "fil",
    }


def test_an_unknown_task_has_an_unknown_accuracy():
    own = dataclasses.replace(BASE, parity={**PARITY, "metric": None, "value": None, "reference_value": None})
    assert "unknown" in row(report.table([own]), "onnxruntime-cpu")
