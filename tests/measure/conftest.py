"""Synthetic exports of perf_analyzer."""

import random

import pytest


@pytest.fixture
def export():
    """Make an export: `clients` send requests one after the other, each of about `latency_ms`, about `count` times."""

    def make(clients=2, latency_ms=10.0, count=100, jitter=0.0, claimed=None, gap_ms=0.0, seed=0):
        draw = random.Random(seed)
        requests = []
        begin = 1_795_451_821_000_000_000
        close = begin + int(count * (latency_ms + gap_ms) * 1e6) + clients * 1_000_000
        for client in range(clients):
            now = begin + client * 1_000_000
            while (end := now + int(latency_ms * 1e6 * (1 + jitter * draw.uniform(-1, 1)))) <= close:
                requests.append({"timestamp": now, "response_timestamps": [end]})
                now = end + int(gap_ms * 1e6)
        draw.shuffle(requests)
        experiment = {"mode": "concurrency", "value": claimed or clients}
        return {
            "experiments": [{"experiment": experiment, "requests": requests, "window_boundaries": []}],
            "version": "",
            "service_kind": "triton",
            "endpoint": "",
        }

    return make
