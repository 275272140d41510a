"""What serving costs against the same model in process, and what the dynamic batcher brings: ratios within one run."""

from statistics import median

import pytest

from accelkit import machine, models, paths
from accelkit.measure import bench, compared, parity, statistics
from accelkit.measure.bench import Candidate, Load
from accelkit.serving import Server

REPEATS, SECONDS = 7, 3.0
THREADS = min(machine.probe().physical_cores, machine.probe().usable_cores)
NAME = "text_recognition_onnxruntime_cpu"


@pytest.fixture(scope="module")
def model():
    return models.get("text_recognition", "small")


@pytest.fixture(scope="module")
def server(model, tmp_path_factory):
    store = tmp_path_factory.mktemp("repository")
    path = paths.get(paths.BASELINE)
    paths.place(path, model, store, threads=THREADS)
    paths.place(path, model, store, name="one_by_one", dynamic_batching=False, threads=THREADS)
    with Server(store) as running:
        for name in (NAME, "one_by_one"):
            assert parity.check(model, parity.served(running, name, model), "fp32", 64).passed
        yield running


@pytest.fixture(scope="module")
def data(model, tmp_path_factory):
    return bench.inputs_file(model, tmp_path_factory.mktemp("data") / "inputs.json")


def ratio(runs, over, under):
    """Median of the paired ratios of two candidates; what was measured is printed for the reader of a failure.

    A machine that is too busy to tell fails: a speed was not held then.
    """
    for name, made in runs.items():
        print(f"{name}: {', '.join(f'{run.throughput:.0f}' for run in made)} infer/s")
    assert all(run.settled for made in runs.values() for run in made)
    ratios = [one.throughput / other.throughput for one, other in zip(runs[over], runs[under], strict=True)]
    low, high = compared.interval(ratios)
    assert high / low < 1.25, f"the ratio is between {low:.2f} and {high:.2f}: too noisy, try on a quiet machine"
    return median(ratios)


def test_serving_keeps_92_percent_of_the_in_process_throughput(server, model, data):
    candidates = [
        Candidate("served", bench.served(server, NAME, Load(16, 2), data, SECONDS)),
        Candidate("in process", bench.inprocess(model, THREADS, 16, SECONDS)),
    ]
    assert ratio(bench.interleave(candidates, REPEATS), "served", "in process") >= 0.92


def test_dynamic_batching_brings_15_percent_at_8_clients_of_batch_1(server, model, data):
    """The in-process rates say for a failure what batches of 8 bring the model itself on this machine."""
    before = server.statistics(NAME)
    load = Load(1, 8)
    candidates = [
        Candidate("gathered", bench.served(server, NAME, load, data, SECONDS)),
        Candidate("one by one", bench.served(server, "one_by_one", load, data, SECONDS)),
        Candidate("in process by 8", bench.inprocess(model, THREADS, 8, SECONDS)),
        Candidate("in process by 1", bench.inprocess(model, THREADS, 1, SECONDS)),
    ]
    runs = bench.interleave(candidates, REPEATS)
    assert statistics.delta(before, server.statistics(NAME)).mean_batch > 2
    assert ratio(runs, "gathered", "one by one") >= 1.15
