"""What INT8 through OpenVINO brings over the best configuration of the baseline: ratios within one run."""

import os

import numpy as np
import pytest

from accelkit import machine, models, paths
from accelkit.measure import bench, parity
from accelkit.measure.bench import Candidate, Load
from accelkit.models import batches
from accelkit.serving import Server
from tests.bench import test_served
from tests.bench.test_served import ratio

REPEATS, SECONDS = 15, 1.5
"""Many short turns: the neighbours of a shared machine come and go within seconds."""

HERE, CPUS = machine.probe(), sorted(os.sched_getaffinity(0))
APART = len(CPUS) >= 4
THREADS = 2 if APART else test_served.THREADS
promised = pytest.mark.skipif(
    "avx512_vnni" not in HERE.isa and "avx_vnni" not in HERE.isa, reason="INT8 is promised to machines with VNNI only"
)


@pytest.fixture(scope="module", autouse=True)
def apart():
    """Where there are CPUs enough, two for the models and the rest for the load generator, as for a model in process."""
    if APART:
        bench.BEFORE[:] = ["taskset", "--cpu-list", ",".join(map(str, CPUS[2:]))]
        os.sched_setaffinity(0, CPUS[:2])
    yield
    bench.BEFORE.clear()
    os.sched_setaffinity(0, CPUS)


def compare(variant, batch, folder, concurrency=2, seconds=SECONDS, repeats=REPEATS):
    """Interleaved runs: baseline and INT8 served, both in process, all with as many threads."""
    model = models.get("text_recognition", variant)
    base = paths.place(paths.get(paths.BASELINE), model, folder / "store", threads=THREADS).directory.name
    quick = paths.place(paths.get("openvino"), model, folder / "store", "int8", batch=batch).directory.name
    data, load = bench.inputs_file(model, folder / "inputs.json"), Load(batch, concurrency)
    with Server(folder / "store") as server:
        assert parity.check(model, parity.served(server, base, model), "fp32", 64, min(16, batch)).passed
        assert parity.check(model, parity.served(server, quick, model), "int8", 256, min(16, batch)).passed
        candidates = [
            Candidate("served", bench.served(server, quick, load, data, seconds)),
            Candidate("baseline", bench.served(server, base, load, data, seconds)),
            Candidate("baseline in process", bench.inprocess(model, THREADS, batch, seconds)),
            Candidate("in process", openvino_inprocess(model, batch, seconds, folder)),
        ]
        return bench.interleave(candidates, repeats)


def openvino_inprocess(model, batch, seconds, folder):
    """The file that the path serves, in this process, one call after another: what serving is held against."""
    import openvino

    built = paths.get("openvino").build(model, folder, "int8")
    core = openvino.Core()
    file = next(path for name, path in built.files.items() if name.endswith((".xml", ".onnx")))
    compiled = core.compile_model(core.read_model(file), "CPU", {"INFERENCE_NUM_THREADS": THREADS, "NUM_STREAMS": 1})
    request = compiled.create_infer_request()
    return bench.timed(lambda inputs: request.infer({0: inputs}, share_inputs=True), model, batch, seconds)


def hold(runs, over, under, least):
    """Print the latencies too, and hold the ratio."""
    for name, made in runs.items():
        print(f"{name}: p50 {made[0].p50_ms:.2f} ms, p99 {made[0].p99_ms:.2f} ms")
    found = ratio(runs, over, under)
    print(f"{over} / {under}: {found:.3f}, asked {least}")
    assert found >= least


@pytest.fixture(scope="module", params=[("small", 16, 3.1), ("small", 64, 3.3), ("full", 16, 3.8)], ids=str)
def runs(request, tmp_path_factory):
    variant, batch, least = request.param
    length, repeats = (4.0, 21) if variant == "full" else (SECONDS, REPEATS)
    return variant, compare(variant, batch, tmp_path_factory.mktemp("int8"), seconds=length, repeats=repeats), least


@promised
def test_int8_brings_what_is_promised(runs):
    _, made, least = runs
    hold(made, "served", "baseline", least)


@promised
def test_serving_int8_keeps_88_percent_of_its_in_process_rate(runs):
    variant, made, _ = runs
    if variant != "small":
        pytest.skip("promised for small")
    hold(made, "served", "in process", 0.88)


@promised
def test_the_baseline_keeps_92_percent_of_its_in_process_rate(runs):
    _, made, _ = runs
    hold(made, "baseline", "baseline in process", 0.92)


@promised
def test_single_pictures_are_not_slower(tmp_path):
    """Batch 1, one client: p50 and p99 are printed; INT8 must not lose to the baseline."""
    hold(compare("small", 1, tmp_path, concurrency=1), "served", "baseline", 1.0)


def test_what_int8_loses(tmp_path):
    """On every test picture at most half a point of word accuracy; on the hard ones it is printed."""
    model = models.get("text_recognition", "small")
    placed = paths.place(paths.get("openvino"), model, tmp_path / "store", "int8", batch=16)
    with Server(tmp_path / "store") as server:
        infer = parity.served(server, placed.directory.name, model)
        found = {}
        for split in ("test", "hard"):
            data, before = model.samples(split), model.reference(split)
            after = np.concatenate([infer(part)["logits"] for part in batches(model, data.inputs, 16)])
            found[split] = [model.score(rows, data.labels) for rows in (before, after)]
            print(f"{split}: {len(data.labels)} pictures, float {found[split][0]:.4f}, INT8 {found[split][1]:.4f}")
    assert len(model.samples("test").labels) == 4096 and found["test"][1] >= found["test"][0] - 0.005
