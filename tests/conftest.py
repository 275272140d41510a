"""Fixtures that several test modules use."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from accelkit import versions
from accelkit.machine import Machine

os.environ.setdefault("ACCELKIT_BUDGET", "smoke")  # tests hold what runs; tests/bench has repeats of its own


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let one worker have a whole file, or all tests of one lesson; lessons, which take longest, come first."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(str(item.path)))
    items.sort(key=lambda item: item.path.name != "test_lessons.py")


@pytest.fixture
def made_up() -> Callable[..., Machine]:
    """Return a maker of machines: an ordinary CPU machine on which everything is well, with the given differences."""

    def make(**change: object) -> Machine:
        fields = {
            "os": "linux",
            "arch": "x86_64",
            "cpu": "Xeon",
            "isa": ("avx2", "avx512f", "avx512_vnni"),
            "physical_cores": 2,
            "usable_cores": 4,
            "numa_nodes": 1,
            "memory_gb": 16.0,
            "glibc": "2.36",
            "python": "3.12.1",
            "gpus": (),
            "runtimes": dict(versions.get("packages")),
            "docker": None,
        }
        return Machine(**{**fields, **change})  # type: ignore[arg-type]

    return make
