"""bench: figures come from time stamps, order rotates, failures are one line."""

import gzip
import json
import stat
import threading
import types
from pathlib import Path
from statistics import mean

import numpy as np
import pytest

from accelkit import models, toolchain
from accelkit.errors import MeasureError
from accelkit.measure import bench
from accelkit.measure.bench import Candidate, Load

EXPORTS = Path(__file__).parent / "exports"
NOBODY = types.SimpleNamespace(grpc="127.0.0.1:9", http="127.0.0.1:9")


def recorded(name):
    return json.loads((EXPORTS / name).read_text())


def test_throughput_and_latency_are_those_of_the_time_stamps(export):
    (run,) = bench.rows(export(clients=2, latency_ms=10), batch=16)
    assert run.throughput == pytest.approx(2 * 100 * 16, rel=1e-6)
    assert (run.p50_ms, run.p95_ms, run.p99_ms, run.mean_ms) == pytest.approx((10, 10, 10, 10))
    assert run.residual == pytest.approx(0, abs=1e-6) and run.settled


@pytest.mark.parametrize("clients", [1, 3, 8])
def test_ends_of_the_run_do_not_bias_the_throughput(export, clients):
    made = [
        bench.rows(export(clients=clients, latency_ms=20, jitter=0.5, count=40, seed=seed), batch=1)[0]
        for seed in range(100)
    ]
    assert mean(run.throughput for run in made) == pytest.approx(clients * 50, rel=0.015)
    assert all(abs(run.residual) < 1e-3 for run in made)


def test_percentiles_are_ordered_and_within_what_was_sent(export):
    (run,) = bench.rows(export(latency_ms=10, jitter=0.5, count=400), batch=1)
    assert 5 <= run.p50_ms <= run.p95_ms <= run.p99_ms <= 15
    assert run.p50_ms == pytest.approx(10, rel=0.05) and run.p95_ms == pytest.approx(14.5, rel=0.05)


def test_a_load_that_was_not_kept_up_breaks_littles_law(export):
    (short,) = bench.rows(export(clients=2, claimed=4), batch=1)
    assert short.residual == pytest.approx(-0.5, abs=0.01) and not short.settled
    (idle,) = bench.rows(export(clients=2, latency_ms=8, gap_ms=2), batch=1)
    assert idle.residual == pytest.approx(-0.2, abs=0.02) and not idle.settled


@pytest.mark.parametrize(
    ("name", "batch", "printed"),
    [("pa-2.50-grpc-b1-c2.json", 1, [226.591]), ("pa-2.60-grpc-b16-c2.json", 16, [13244.5])],
)
def test_recorded_exports_of_both_generations_are_read(name, batch, printed):
    runs = bench.rows(recorded(name), batch)
    # perf_analyzer prints all of the run with whole requests; the kit leaves the first tenth out.
    assert [run.throughput for run in runs] == pytest.approx(printed, rel=0.15)
    assert all(run.settled for run in runs)


def test_rows_of_a_range_are_sorted_by_concurrency():
    export = recorded("pa-2.60-range-b16-c1-c3.json")
    export["experiments"].reverse()
    runs = bench.rows(export, 16)
    assert [run.concurrency for run in runs] == [1, 3]
    assert [run.export["experiments"][0]["experiment"]["value"] for run in runs] == [1, 3]


def test_too_few_requests_are_no_measurement(export):
    with pytest.raises(MeasureError, match="only 4 requests ended at concurrency 2"):
        bench.rows(export(count=2), batch=1)


def test_the_command_is_complete_and_can_be_printed():
    line = bench.command("m", "127.0.0.1:8001", Load(8, 4, "grpc"), "my inputs.json", 1.8, "x.json")
    assert line[:9] == ["perf_analyzer", "-m", "m", "-u", "127.0.0.1:8001", "-i", "grpc", "-b", "8"]
    assert line[line.index("--measurement-interval") + 1] == "500" and line[-2:] == ["--profile-export-file", "x.json"]
    printed = bench.text(line)
    assert "\n    --concurrency-range 4 \\\n" in printed and "--input-data 'my inputs.json'" in printed


def test_inputs_are_the_models_own(tmp_path):
    import base64

    model = models.get()
    rows = json.loads(bench.inputs_file(model, tmp_path / "deep" / "inputs.json", 3).read_text())["data"]
    wanted = model.samples("test", 3).inputs
    for row, array in zip(rows, wanted, strict=True):
        value = row["input.1"]
        assert np.array_equal(np.frombuffer(base64.b64decode(value["b64"]), np.float32).reshape(value["shape"]), array)


def test_tensors_are_taken_out_of_an_export(export):
    wanted = export(count=3)
    fat = json.loads(json.dumps(wanted))
    for request in fat["experiments"][0]["requests"]:
        request["request_inputs"] = {"input.1": [0.5, -1e-3, 2.0]}
        request["response_outputs"] = [{"logits": ""}, {"logits": [1.0]}]
    for separators in ((",", ":"), None):
        content = json.dumps(fat, separators=separators).encode()
        slim = bench._slim(content, "m")
        assert [row["timestamp"] for row in slim["experiments"][0]["requests"]] == [
            row["timestamp"] for row in wanted["experiments"][0]["requests"]
        ]
    assert bench._slim(json.dumps(fat, separators=(",", ":")).encode(), "m") == wanted


def test_texts_and_what_nobody_wrote_are_taken_out_of_an_export_too(export):
    """A request's text may hold brackets and quotes, and an output that did not come holds whatever lay in memory."""
    wanted = export(count=1)
    content = json.dumps(wanted, separators=(",", ":")).encode()
    own = (
        rb'"request_inputs":{"text":"a } of {\"n\": 1}"},"response_outputs":[{"t":"'
        + b"\xff]}"
        + rb'","p":nan},{"p":inf}],'
    )
    assert bench._slim(content.replace(b'"response_timestamps"', own + b'"response_timestamps"'), "m") == wanted


@pytest.mark.parametrize(("content", "word"), [(b"", "empty"), (b'{"experiments":[{"exp', "cut short")])
def test_a_damaged_export_says_so(content, word):
    with pytest.raises(MeasureError, match=f"export for model m is {word}"):
        bench._slim(content, "m")


@pytest.fixture
def analyzer(tmp_path, monkeypatch):
    """Put a script in the place of perf_analyzer; it finds its arguments in "$@" and the folder in $HERE."""

    def install(body):
        script = tmp_path / "perf_analyzer"
        script.write_text(f"#!/bin/bash\nHERE={tmp_path}\nEXPORT=${{@: -1}}\n{body}\n")
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        tools = types.SimpleNamespace(perf_analyzer=script, analyzer_libs=(tmp_path / "lib",))
        monkeypatch.setattr(toolchain, "ensure", lambda progress=True: tools)

    return install


@pytest.mark.parametrize(
    "said",
    [
        "No valid requests recorded within time interval. Please use a larger time window.",
        "failed to find the requested model version",
    ],
)
def test_a_window_without_requests_is_tried_again_twice_as_long(tmp_path, analyzer, export, said):
    (tmp_path / "good.json").write_text(json.dumps(export()))
    analyzer(
        'echo "$@" >> $HERE/calls\n'
        "if [ $(wc -l < $HERE/calls) = 1 ]; then"
        f' echo "{said}" >&2; exit 3; fi\n'
        "cp $HERE/good.json $EXPORT"
    )
    run = bench.run(NOBODY, "m", Load(16, 2), tmp_path / "inputs.json", 0.9)
    assert run.throughput == pytest.approx(3200)
    calls = [line.split() for line in (tmp_path / "calls").read_text().splitlines()]
    assert [words[words.index("--measurement-interval") + 1] for words in calls] == ["250", "500"]


def test_a_run_with_too_few_requests_is_made_again_and_then_given_up(tmp_path, analyzer, export):
    (tmp_path / "few.json").write_text(json.dumps(export(count=2)))
    analyzer("echo x >> $HERE/calls; cp $HERE/few.json $EXPORT")
    with pytest.raises(MeasureError, match="only 4 requests ended at concurrency 2"):
        bench.run(NOBODY, "m", Load(16, 2), tmp_path / "inputs.json", 0.3)
    assert (tmp_path / "calls").read_text() == "x\n" * 5


def test_an_empty_export_is_tried_again(tmp_path, analyzer, export):
    (tmp_path / "good.json").write_text(json.dumps(export()))
    analyzer("echo x >> $HERE/calls; [ $(wc -l < $HERE/calls) = 1 ] && : > $EXPORT || cp $HERE/good.json $EXPORT")
    assert bench.run(NOBODY, "m", Load(16, 2), tmp_path / "inputs.json", 0.9).throughput == pytest.approx(3200)
    assert (tmp_path / "calls").read_text() == "x\n" * 2


def test_a_refusal_is_not_tried_again(tmp_path, analyzer):
    analyzer('echo x >> $HERE/calls; echo "error: failed to get model metadata: nope" >&2; exit 99')
    with pytest.raises(MeasureError, match=r"model m on 127.0.0.1:9: failed to get model metadata: nope$"):
        bench.run(NOBODY, "m", Load(), tmp_path / "inputs.json", 0.5)
    assert (tmp_path / "calls").read_text() == "x\n"


def test_a_silent_or_endless_perf_analyzer_is_an_error(tmp_path, analyzer, monkeypatch):
    analyzer("exit 5")
    with pytest.raises(MeasureError, match="it said nothing"):
        bench.run(NOBODY, "m", Load(), tmp_path / "inputs.json", 0.5)
    analyzer("exit 0")
    with pytest.raises(MeasureError, match="export for model m is empty"):
        bench.run(NOBODY, "m", Load(), tmp_path / "inputs.json", 0.5)
    analyzer("exec sleep 600")
    with pytest.raises(MeasureError, match="did not end within 1 s"):
        bench.run(NOBODY, "m", Load(), tmp_path / "inputs.json", -19.8)


def test_the_real_perf_analyzer_at_a_server_that_is_gone(tmp_path):
    data = bench.inputs_file(models.get(), tmp_path / "inputs.json", 1)
    with pytest.raises(MeasureError) as caught:
        bench.run(NOBODY, "m", Load(1, 1), data, 0.3)
    message = str(caught.value)
    assert "127.0.0.1:9" in message and "failed to connect" in message.lower() and "\n" not in message


def fake(name, log, made, error=False):
    def measure():
        log.append(name)
        if error:
            raise MeasureError(f"{name} broke")
        return made

    return Candidate(name, measure)


def test_candidates_are_interleaved_in_rotating_order(export):
    log, said = [], []
    (made,) = bench.rows(export(), 1)
    runs = bench.interleave([fake(name, log, made) for name in "abc"], 3, said.append)
    assert "".join(log) == "abcbcacab" and {name: len(part) for name, part in runs.items()} == {"a": 3, "b": 3, "c": 3}
    assert len(said) == 9 and said[0].startswith("1/3 a: ")


def test_a_broken_candidate_is_left_out_with_its_reason(export):
    log, broken = [], {}
    (made,) = bench.rows(export(), 1)
    candidates = [fake("a", log, made), fake("b", log, made, error=True)]
    runs = bench.interleave(candidates, 3, broken=broken)
    assert list(runs) == ["a"] and broken == {"b": "b broke"} and "".join(log) == "abaa"
    with pytest.raises(MeasureError, match="b broke"):
        bench.interleave(candidates, 1)


def test_in_process_runs_are_measured_and_kept_like_served_ones():
    measure = bench.inprocess(models.get(), threads=1, batch=2, seconds=0.4)
    run = measure()
    assert run.concurrency == 1 and run.settled
    (again,) = bench.rows(json.loads(gzip.decompress(gzip.compress(json.dumps(run.export).encode()))), 2)
    assert again == run


@pytest.mark.parametrize(
    ("rows", "clients", "took_ms", "seconds"),
    # At least 20 requests; at most 200 MB of inputs; the window; in each of three windows each of many clients has its turn twice.
    [(16, 2, 300, 3.0), (16, 2, 1, 0.488), (1, 2, 1, 1.5), (64, 64, 100, 0.6)],
)
def test_a_run_lasts_as_long_as_its_requests_and_their_export_allow(monkeypatch, rows, clients, took_ms, seconds):
    ticks, all_at_once, asked = iter(range(0, 10_000, took_ms)), threading.Barrier(clients), []

    def infer(name, inputs):
        asked.append(name)
        if len(asked) > 1:  # the first is alone, then all clients of a turn are on their way together
            all_at_once.wait(timeout=10)

    monkeypatch.setattr(bench.time, "perf_counter", lambda: next(ticks) / 1e3)
    server = types.SimpleNamespace(infer=infer)
    found, first = bench.seconds_for(server, "m", models.get("text_recognition"), Load(rows, clients), 1.5)
    assert found == pytest.approx(seconds, rel=0.01) and first == pytest.approx(took_ms)
