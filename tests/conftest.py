"""Fixtures that several test modules use."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

import pytest

from accelkit import versions
from accelkit.machine import Machine

os.environ.setdefault("ACCELKIT_BUDGET", "smoke")  # tests hold what runs; tests/bench has repeats of its own


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the lessons, which take longest, come first."""
    items.sort(key=lambda item: item.path.name != "test_lessons.py")


@pytest.hookimpl(optionalhook=True)  # without pytest-xdist there is one worker
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With --dist loadfile a worker gets, of the lessons' file, the tests of one lesson, which share its execution."""
    from xdist.scheduler import LoadFileScheduling

    class ByLesson(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            lesson = re.search(r"/test_lessons\.py::.*\b(\d\d_\w+)", nodeid)
            return lesson[1] if lesson else super()._split_scope(nodeid)

    return ByLesson(config, log) if config.getoption("dist") == "loadfile" else None


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
