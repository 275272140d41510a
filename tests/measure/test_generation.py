"""generation: the first id, the time between ids and ids in a second come from the time stamps of every part."""

import pytest

from accelkit.errors import MeasureError
from accelkit.measure import bench, generation


def streamed(count, first_ms=30, between_ms=5, requests=40, final=True):
    """An export of one client whose every request is answered in `count` parts, and an empty last one."""
    rows, now = [], 0
    for _ in range(requests):
        times = [now + int(1e6 * (first_ms + between_ms * part)) for part in range(count)]
        rows.append({"timestamp": now, "response_timestamps": [*times, *([times[-1] + 1000] if final else [])]})
        now = rows[-1]["response_timestamps"][-1]
    experiment = {"experiment": {"mode": "concurrency", "value": 1}, "requests": rows, "window_boundaries": []}
    return bench.rows({"experiments": [experiment], "service_kind": "triton"}, 4)[0]


@pytest.mark.parametrize("final", [True, False])
def test_figures_are_those_of_the_time_stamps(final):
    found = generation.of(streamed(20, final=final), 4, 20)
    assert (found.first_ms, found.between_ms) == pytest.approx((30, 5))
    assert found.ids_per_s == pytest.approx(4 * 20 / 0.125, rel=1e-3)
    assert found.as_dict()["first_ms"] == 30


def test_an_answer_in_one_part_is_no_stream():
    with pytest.raises(MeasureError, match="no request was answered in 20 parts"):
        generation.of(streamed(1), 4, 20)


def test_ids_that_come_together_are_counted_where_that_is_said():
    made = streamed(16, final=False)
    found = generation.of(made, 4, 20, apart=0.75)
    assert found.between_ms == pytest.approx(5 * 15 / 19) and found.ids_per_s == pytest.approx(made.throughput * 20)
    with pytest.raises(MeasureError, match="no request was answered in 18 parts"):
        generation.of(made, 4, 20, apart=0.9)


def test_the_middle_is_that_of_every_figure():
    runs = [generation.of(streamed(10, first, between), 1, 10) for first, between in ((10, 3), (20, 1), (30, 2))]
    found = generation.middle(runs)
    assert (found.first_ms, found.between_ms) == pytest.approx((20, 2))


def test_streaming_is_on_the_command_line_where_it_is_asked_for():
    load = bench.Load(4, 1)
    assert "--streaming" in bench.command("m", "h:1", load, "d", 1, "e", streaming=True)
    assert "--streaming" not in bench.command("m", "h:1", load, "d", 1, "e")
