"""compared: a difference is one only if it cannot be the noise."""

import random
from statistics import mean

import pytest

from accelkit.errors import MeasureError
from accelkit.measure.bench import Load, rows
from accelkit.measure.compared import interval, speed, versus


def draws(seed, factor=1.0, noise=0.02, repeats=5):
    draw = random.Random(seed)
    return [600 * factor * (1 + draw.gauss(0, noise)) for _ in range(repeats)]


def test_the_interval_is_students():
    low, high = interval([100.0, 102.0, 98.0, 101.0, 99.0])
    assert (low, high) == pytest.approx((98.04, 101.98), abs=0.05)


def test_the_interval_holds_the_true_value_nineteen_times_in_twenty():
    held = [low <= 600 <= high for low, high in (interval(draws(seed, repeats=6)) for seed in range(400))]
    assert 0.92 <= mean(held) <= 0.98


def test_one_repeat_has_no_interval():
    with pytest.raises(MeasureError, match="at least two repeats"):
        interval([1.0])


def test_the_same_thing_twice_is_no_difference():
    verdicts = [
        versus("base", draws(3 * seed), draws(3 * seed + 1), draws(3 * seed + 2)).verdict for seed in range(300)
    ]
    assert verdicts.count("no difference") >= 285


def test_a_gain_of_one_and_a_half_percent_drowns_in_noise():
    verdicts = [versus("b", draws(3 * s), draws(3 * s + 1), draws(3 * s + 2, 1.016)).verdict for s in range(100)]
    assert verdicts.count("no difference") >= 90


@pytest.mark.parametrize(("factor", "verdict"), [(3.4, "faster"), (1.25, "faster"), (0.75, "slower")])
def test_a_real_difference_is_found_with_its_size(factor, verdict):
    for seed in range(50):
        found = versus("base", draws(3 * seed), draws(3 * seed + 1), draws(3 * seed + 2, factor))
        assert found.verdict == verdict and found.interval[0] <= found.ratio <= found.interval[1]
        assert found.ratio == pytest.approx(factor, rel=0.08)


def test_drift_that_hits_both_alike_does_not_count():
    drift = [1.0, 0.8, 0.6, 0.9, 0.5]
    base, again, other = ([600 * part * factor for part in drift] for factor in (1.0, 1.001, 2.0))
    found = versus("base", base, again, other)
    assert found.verdict == "faster" and found.ratio == pytest.approx(2.0) and found.noise < 0.01


def test_speed_is_the_median_of_the_repeats(export):
    runs = [rows(export(latency_ms=value), 16)[0] for value in (10, 12, 11)]
    found = speed(runs, Load(16, 2))
    assert found["throughput"] == pytest.approx(2 / 0.011 * 16, rel=1e-4) and found["repeats"] == 3
    assert found["interval"][0] < found["throughput"] < found["interval"][1] and found["p50_ms"] == 11
    slack = rows(export(clients=2, claimed=4), 16)[0]
    assert speed([*runs, slack], Load(16, 2))["littles_law_residual"] == pytest.approx(-0.5, abs=0.01)
