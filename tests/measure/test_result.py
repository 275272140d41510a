"""result: what is not proven cannot hold a number; rows come back from JSON and from their raw exports."""

import dataclasses
import datetime
import gzip
import json
import os

import pytest

from accelkit.errors import MeasureError
from accelkit.measure import bench, compared
from accelkit.measure.result import CONTROL, PARTS, Result, new_run, read, recompute, write, write_raw

DESIGN = {
    "schema", "model", "variant", "path", "status", "recorded", "reason", "precision", "evidence", "parity", "speed", "versus",
    "cost", "generation", "why", "where", "provenance",
}  # fmt: skip
PARITY = dict.fromkeys(PARTS["parity"].split(), 1.0) | {"passed": True}
PROVEN = {"evidence": {"how": "profile", "nodes": {"CPU float32": 1}}, "parity": PARITY}
SPEED = dict.fromkeys(PARTS["speed"].split(), 1.0)
VERSUS = dict.fromkeys(PARTS["versus"].split(), 1.0) | {"path": "a"}


def test_the_fields_are_the_designs_and_json_brings_them_back(tmp_path):
    results = [
        Result("m", "small", "a", "measured", speed=SPEED, versus=VERSUS, **PROVEN),
        Result("m", "small", "b", "unavailable", "needs a GPU"),
    ]
    assert set(results[0].as_dict()) == DESIGN
    assert read(write(tmp_path / "deep" / "results.json", results)) == results


def test_a_part_that_lacks_something_is_not_read():
    whole = Result("m", "small", "a", "measured", speed=SPEED, versus=VERSUS, **PROVEN).as_dict()
    assert Result.from_dict(whole).speed == SPEED
    for part in PARTS:
        for key in whole[part]:
            broken = {**whole, part: {name: value for name, value in whole[part].items() if name != key}}
            with pytest.raises(MeasureError, match=f"result of a: {part} lacks {key}"):
                Result.from_dict(broken)


@pytest.mark.parametrize(
    ("status", "fields", "reason"),
    [
        ("measured", {"speed": SPEED, "parity": {"passed": True}}, "without parity, evidence or speed"),
        ("measured", {"speed": SPEED, **PROVEN, "parity": {"passed": False}}, "without parity"),
        ("measured", {"speed": SPEED, **PROVEN, "parity": None}, "without parity"),
        ("measured", PROVEN, "without parity, evidence or speed"),
        ("rejected", {"speed": SPEED, **PROVEN, "reason": "x"}, "must not hold a speed"),
        ("failed", {"versus": {"ratio": 2}, "reason": "x"}, "must not hold a speed"),
        ("unavailable", {}, "without a reason"),
        ("great", {}, "none of measured"),
        ("failed", {"reason": "x", "schema": 2}, "schema 2"),
    ],
)
def test_a_row_that_is_not_proven_cannot_exist(status, fields, reason):
    with pytest.raises(MeasureError, match=reason):
        Result("m", "small", "a", status, **fields)


def test_only_a_marked_proxy_may_stand_in_for_parity():
    parity = {"passed": False, "proxy": "small real model on the same path"}
    assert Result("m", "s", "a", "measured", speed=SPEED, evidence={"nodes": {}}, parity=parity).speed


UNJUDGED = '[{"model": "m", "variant": "s", "path": "a", "status": "measured", "evidence": {"nodes": 1}, "parity": {"value": 1}}]'


@pytest.mark.parametrize("content", ["", "{}x", "[1]", '[{"path": "a"}]', UNJUDGED, '[{"path": "a", "colour": "red"}]'])
def test_a_file_without_results_is_one_line(tmp_path, content):
    (tmp_path / "r.json").write_text(content)
    with pytest.raises(MeasureError) as caught:
        read(tmp_path / "r.json")
    assert "\n" not in str(caught.value)


def test_rows_are_recomputed_from_the_raw_file(tmp_path, export):
    load = bench.Load(16, 2)
    spread = {"base": (10, 10.2, 9.9), f"base {CONTROL}": (10.1, 10, 10), "fast": (4, 4.1, 4.05)}
    runs = {name: [bench.rows(export(latency_ms=v), 16)[0] for v in values] for name, values in spread.items()}
    rates = {name: [run.throughput for run in part] for name, part in runs.items()}
    raw = write_raw(tmp_path / "raw.json.gz", load, runs)
    assert raw.read_bytes() == write_raw(tmp_path / "again.gz", load, runs).read_bytes()
    for path, other in (("base", f"base {CONTROL}"), ("fast", "fast")):
        versus = compared.versus("base", rates["base"], rates[f"base {CONTROL}"], rates[other]).as_dict()
        result = Result("m", "s", path, "measured", speed=compared.speed(runs[path], load), versus=versus, **PROVEN)
        assert recompute(Result.from_dict(json.loads(json.dumps(result.as_dict()))), raw) == (result.speed, versus)
    with pytest.raises(MeasureError, match="raw exports of other"):
        recompute(dataclasses.replace(result, path="other"), raw)
    for content in (b"not gzip", raw.read_bytes()[:40] + bytes(40), gzip.compress(b"[1]")):
        raw.write_bytes(content)
        with pytest.raises(MeasureError, match="does not hold the raw exports"):
            recompute(result, raw)


def test_a_run_keeps_what_the_run_before_it_left(tmp_path):
    out, said = tmp_path / "compare", []

    def run(raw):
        with new_run(out, said.append) as folder:
            (folder / "raw-m.json.gz").write_bytes(raw)
            write(folder / "results.json", [])

    run(b"first")
    assert not said and {file.name for file in out.iterdir()} == {"raw-m.json.gz", "results.json"}
    (out / "notes.txt").write_text("mine")
    (out / "inputs-other.json").write_text("{}")
    for file in out.iterdir():
        os.utime(file, (0, datetime.datetime(2026, 11, 30, 14, 5, 9).timestamp()))
    run(b"second")
    kept = tmp_path / "compare-2026-11-30_14-05-09"
    assert said == [f"the results of the run before this one are kept in {kept}"]
    assert {file.name for file in kept.iterdir()} == {"raw-m.json.gz", "results.json", "inputs-other.json"}
    assert (kept / "raw-m.json.gz").read_bytes() == b"first" and (out / "raw-m.json.gz").read_bytes() == b"second"
    assert {file.name for file in out.iterdir()} == {"raw-m.json.gz", "results.json", "notes.txt"}


def test_a_run_that_ends_early_changes_nothing(tmp_path):
    (tmp_path / "results.json").write_text("[]")
    with pytest.raises(KeyboardInterrupt), new_run(tmp_path, print) as folder:
        write(folder / "results.json", [])
        raise KeyboardInterrupt
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("results.json", "[]")]
