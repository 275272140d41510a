"""comparison: one real run of the whole gate, with a path that computes wrongly, one that is broken, one that is absent."""

import datetime
import json
import sys
import types

import pytest

from accelkit import comparison, models, paths, report
from accelkit.budget import Budget, budget
from accelkit.errors import ConfigError
from accelkit.measure import bench
from accelkit.measure.result import Result, read, recompute, write
from accelkit.paths import onnxruntime_cpu

LIMITS = Budget("test", 48, 2, 0.6)


def variation(name, change):
    """Make a path that builds the baseline's file and then changes it by `change(bytes) -> bytes`."""

    def build(model, directory, precision="fp32"):
        file = directory / "model.onnx"
        file.write_bytes(change(model.onnx()))
        return paths.Built({"model.onnx": file}, 0.1, 1.0)

    def config(model, **overrides):
        return onnxruntime_cpu.config(model, name=f"{model.name}_{name}", **overrides)

    made = types.ModuleType(f"accelkit.paths.{name}")
    made.__dict__.update(
        vars(onnxruntime_cpu)
        | {"NAME": name, "PRECISIONS": ("fp32",), "build": build, "config": config, "__name__": made.__name__}
    )
    return made


def perturbed(file):
    """Scale the last weights by 1.01: the words stay, the numbers do not."""
    import numpy as np
    import onnx
    from onnx import numpy_helper

    model = onnx.load(file)
    weights = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    weights.CopyFrom(numpy_helper.from_array((numpy_helper.to_array(weights) * np.float32(1.01)), weights.name))
    return model.SerializeToString()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("compare")
    extra = {
        "wrong": variation("wrong", perturbed),
        "truncated": variation("truncated", lambda file: file.read_bytes()[:1000]),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, module in extra.items():
            patch.setitem(sys.modules, f"accelkit.paths.{name}", module)
        patch.setattr(paths, "NAMES", (*paths.NAMES, *extra))
        names = ["wrong", "truncated", "vllm"]
        results = comparison.compare(models.get(), names, load=bench.Load(2, 2), out=out, progress=False, limits=LIMITS)
    return out, {result.path: result for result in results}


def test_every_path_has_a_row_and_the_baseline_is_first(run):
    _, results = run
    found = {name: result.status for name, result in results.items()}
    assert found == {
        "onnxruntime-cpu": "measured", "wrong": "rejected", "truncated": "failed", "vllm": "unavailable",
    }  # fmt: skip
    assert next(iter(results)) == "onnxruntime-cpu"


def test_the_baseline_is_proven_and_measured(run):
    _, results = run
    base = results["onnxruntime-cpu"]
    assert base.precision == {"requested": "fp32", "observed": "fp32"} and base.parity["passed"]
    assert base.evidence["nodes"]["CPUExecutionProvider float32"] > 30
    assert base.parity["samples"] == LIMITS.samples and base.speed["repeats"] == LIMITS.repeats
    assert base.speed["interval"][0] <= base.speed["throughput"] <= base.speed["interval"][1]
    assert 0 < base.speed["p50_ms"] <= base.speed["p95_ms"] <= base.speed["p99_ms"]
    assert base.versus["path"] == "onnxruntime-cpu" and base.versus["verdict"] == "no difference"
    assert base.cost["memory_mb"] > 20 and base.cost["first_inference_ms"] > 0 and base.cost["size_mb"] > 5


def test_slightly_wrong_weights_are_rejected_without_a_number(run):
    _, results = run
    wrong = results["wrong"]
    assert wrong.reason.startswith("largest difference over largest magnitude") and not wrong.parity["passed"]
    assert wrong.speed is None and wrong.versus is None and wrong.why and wrong.provenance["raw"] is None
    assert "infer/s" in report.table([wrong]) and wrong.parity["relative"] > 1e-4


def test_a_file_that_does_not_load_fails_with_the_servers_reason(run):
    _, results = run
    reason = results["truncated"].reason
    assert "text_recognition_truncated" in reason and "protobuf parsing failed" in reason.lower() and "\n" not in reason


def test_an_absent_path_says_what_it_needs(run):
    _, results = run
    assert results["vllm"].reason == paths.get("vllm").unavailable(comparison.machine.probe(), models.get())


def test_the_row_is_recomputed_from_the_raw_export(run):
    out, results = run
    base = results["onnxruntime-cpu"]
    assert recompute(base, out / base.provenance["raw"]) == (base.speed, base.versus)


def test_every_row_says_where_and_what_ran(run):
    _, results = run
    base = results["onnxruntime-cpu"]
    assert base.where["server"]["mode"] == "embedded" and base.where["server"]["version"].count(".") == 2
    assert base.where["date"] == datetime.date.today().isoformat() and base.where["gpus"] == len(
        base.where["machine"]["gpus"]
    )
    assert {"onnxruntime", "perf_analyzer"} <= set(base.where["versions"]) and base.where["machine"]["line"]
    hashes = [result.provenance.get("config") for result in results.values()][:3]
    assert len(set(hashes)) == 3 and all(len(value) == 16 for value in [*hashes, base.provenance["code"]])
    assert base.provenance["command"][0] == "perf_analyzer"


def test_the_results_survive_json_and_make_a_report(run, tmp_path):
    _, results = run
    again = read(write(tmp_path / "results.json", list(results.values())))
    assert again == [Result.from_dict(json.loads(json.dumps(result.as_dict()))) for result in results.values()]
    page = report.html(again, None, tmp_path / "report" / "index.html").read_text()
    assert all(name in page for name in results)


def test_the_next_command_names_the_model(run):
    _, results = run
    assert "accelkit bench wrong:fp32 --model text_recognition --variant small --batch 1" in results["wrong"].why


def stub(monkeypatch, measure):
    """Replace the servers and the proof, so that only the order of events is left."""
    server = types.SimpleNamespace(version="2.51.0", mode="embedded", pid=0)
    server.__enter__ = lambda: server
    monkeypatch.setattr(comparison, "Server", lambda *args, **kwargs: _context(server))
    proven = {
        "evidence": {"nodes": {"CPU float32": 1}},
        "parity": {"passed": True, "relative": 0.0, "max_abs": 0.0, "value": 1.0},
    }

    def prepare(entry, model, store, profile, load):
        entry.served = entry.name
        entry.parts |= {**proven, "precision": {"requested": "fp32", "observed": "fp32"}}

    monkeypatch.setattr(comparison, "_prepare", prepare)
    monkeypatch.setattr(comparison, "_prove", lambda server, model, entry, load, limits, say: None)
    monkeypatch.setattr(bench, "inputs_file", lambda model, path: path)
    monkeypatch.setattr(bench, "served", lambda server, name, load, data, seconds: lambda: measure(name))


def _context(value):
    import contextlib

    return contextlib.nullcontext(value)


@pytest.fixture
def timed():
    """Make a run of a model whose requests take `ms`, without a server."""
    from accelkit.measure.timing import rows

    def make(ms):
        requests = [
            {"timestamp": int(start * ms * 1e6) + 1, "response_timestamps": [int((start + 1) * ms * 1e6)]}
            for start in range(50)
        ]
        experiment = {"experiment": {"mode": "concurrency", "value": 1}, "requests": requests, "window_boundaries": []}
        return rows({"experiments": [experiment]}, 16)[0]

    return make


def test_a_slower_path_says_why_and_what_next(monkeypatch, tmp_path, timed):
    from accelkit.errors import MeasureError

    monkeypatch.setitem(sys.modules, "accelkit.paths.lame", variation("lame", lambda file: b""))
    monkeypatch.setitem(sys.modules, "accelkit.paths.dead", variation("dead", lambda file: b""))
    monkeypatch.setattr(paths, "NAMES", (*paths.NAMES, "lame", "dead"))

    def measure(name):
        if name == "dead":
            raise MeasureError("perf_analyzer cannot measure model dead")
        return timed(20 if name == "lame" else 10)

    stub(monkeypatch, measure)
    rows = comparison.compare(models.get(), ["lame", "dead"], out=tmp_path, progress=False, limits=LIMITS)
    base, lame, dead = rows
    assert base.versus["verdict"] == "no difference" and lame.versus["verdict"] == "slower"
    assert lame.versus["ratio"] == pytest.approx(0.5, rel=1e-3)
    assert (
        "0.50 times the baseline" in lame.why and "1 CPU float32" in lame.why and "accelkit bench lame:fp32" in lame.why
    )
    assert (dead.status, dead.reason) == ("failed", "perf_analyzer cannot measure model dead")
    assert recompute(lame, tmp_path / "raw-text_recognition.json.gz") == (lame.speed, lame.versus)


def test_another_path_can_be_the_baseline(monkeypatch, tmp_path, timed):
    monkeypatch.setitem(sys.modules, "accelkit.paths.able", variation("able", lambda file: b""))
    monkeypatch.setattr(paths, "NAMES", (*paths.NAMES, "able"))
    stub(monkeypatch, lambda name: timed(5 if name == "onnxruntime-cpu" else 10))
    given = {"out": tmp_path, "progress": False, "limits": LIMITS}
    rows = comparison.compare(models.get(), ["onnxruntime-cpu:fp32"], baseline="able", **given)
    assert [(row.path, row.versus["path"], row.versus["ratio"]) for row in rows] == [
        ("able", "able", 1.0),
        ("onnxruntime-cpu", "able", 2.0),
    ]
    for row in rows:
        assert recompute(row, tmp_path / "raw-text_recognition.json.gz") == (row.speed, row.versus)


def test_without_a_baseline_nobody_gets_a_number(monkeypatch, tmp_path, timed):
    from accelkit.errors import MeasureError

    monkeypatch.setitem(sys.modules, "accelkit.paths.lame", variation("lame", lambda file: b""))
    monkeypatch.setattr(paths, "NAMES", (*paths.NAMES, "lame"))

    def measure(name):
        if name == "onnxruntime-cpu":
            raise MeasureError("the server is gone")
        return timed(10)

    stub(monkeypatch, measure)
    rows = comparison.compare(models.get(), ["lame"], out=tmp_path, progress=False, limits=LIMITS)
    assert [row.status for row in rows] == ["failed", "failed"] and "the server is gone" in rows[1].reason
    assert not (tmp_path / "raw-text_recognition.json.gz").exists()


def test_a_baseline_that_cannot_be_built_is_the_reason_of_the_others(monkeypatch, tmp_path, timed):
    from accelkit.errors import ModelError

    monkeypatch.setitem(sys.modules, "accelkit.paths.lame", variation("lame", lambda file: b""))
    monkeypatch.setattr(paths, "NAMES", (*paths.NAMES, "lame"))
    stub(monkeypatch, lambda name: timed(10))
    prepare = comparison._prepare

    def broken(entry, *rest):
        if entry.name == paths.BASELINE:
            raise ModelError("the weights are gone")
        prepare(entry, *rest)

    monkeypatch.setattr(comparison, "_prepare", broken)
    rows = comparison.compare(models.get(), ["lame"], out=tmp_path, progress=False, limits=LIMITS)
    assert [row.status for row in rows] == ["failed", "failed"]
    assert rows[1].reason == "the baseline gives no number to compare with: the weights are gone"


def test_the_baselines_own_reason_is_given_not_that_of_another(monkeypatch, tmp_path, timed):
    from accelkit.errors import MeasureError

    for name in ("able", "lame"):
        monkeypatch.setitem(sys.modules, f"accelkit.paths.{name}", variation(name, lambda file: b""))
    monkeypatch.setattr(paths, "NAMES", (*paths.NAMES, "able", "lame"))

    def measure(name):
        if name != "lame":
            raise MeasureError(f"{name} broke")
        return timed(10)

    stub(monkeypatch, measure)
    rows = comparison.compare(models.get(), ["able", "lame"], out=tmp_path, progress=False, limits=LIMITS)
    assert [row.reason.split(": ")[-1] for row in rows] == [
        "onnxruntime-cpu broke",
        "able broke",
        "onnxruntime-cpu broke",
    ]


def test_an_unknown_path_stops_before_anything_starts(monkeypatch, tmp_path):
    monkeypatch.setattr(comparison, "Server", None)
    with pytest.raises(ConfigError, match="no path 'warp'"):
        comparison.compare(models.get(), ["warp"], out=tmp_path, progress=False, limits=LIMITS)


def test_the_budget_comes_from_the_environment(monkeypatch):
    monkeypatch.delenv("ACCELKIT_BUDGET", raising=False)
    quick = budget()
    monkeypatch.setenv("ACCELKIT_BUDGET", "full")
    assert quick.name == "quick" and budget().samples > quick.samples and budget().repeats > quick.repeats >= 5
    monkeypatch.setenv("ACCELKIT_BUDGET", "huge")
    with pytest.raises(ConfigError, match="use smoke, quick, full"):
        budget()


@pytest.mark.parametrize(("model", "most"), [("text_recognition", 1024), ("trees", 4096)])
def test_a_batch_beyond_what_a_model_takes_is_refused(monkeypatch, tmp_path, model, most):
    monkeypatch.setattr(comparison, "Server", None)
    with pytest.raises(ConfigError, match=f"give at most {most}$"):
        comparison.compare(
            models.get(model), [], load=bench.Load(most + 1), out=tmp_path, progress=False, limits=LIMITS
        )
