"""statistics: differences of the server's own counters."""

import pytest

from accelkit.errors import MeasureError
from accelkit.measure.statistics import delta


def statistics(requests, inferences, executions, queue_ns, infer_ns, batches):
    stages = {
        "success": {"count": requests, "ns": 0},
        "queue": {"count": requests, "ns": queue_ns},
        "compute_infer": {"count": requests, "ns": infer_ns},
    }
    rows = [{"batch_size": size, "compute_infer": {"count": count}} for size, count in batches.items()]
    return {
        "name": "m", "inference_count": inferences, "execution_count": executions, "inference_stats": stages,
        "batch_stats": rows,
    }  # fmt: skip


def test_the_split_is_that_of_the_stretch_between():
    before = statistics(10, 40, 10, 1_000_000, 5_000_000, {4: 10})
    after = statistics(30, 120, 15, 5_000_000, 25_000_000, {4: 10, 16: 5})
    split = delta(before, after)
    assert (split.requests, split.inferences, split.executions, split.mean_batch) == (20, 80, 5, 16)
    assert split.us == {"queue": 200, "input": 0, "infer": 1000, "output": 0} and split.batches == {16: 5}


def test_no_request_is_no_split():
    same = statistics(10, 40, 10, 0, 0, {})
    with pytest.raises(MeasureError, match="model m: no successful request"):
        delta(same, same)
