"""Tests that need an NVIDIA GPU bear the marker gpu; elsewhere they are skipped. `python -m pytest tests/gpu` runs them."""

import sys
from pathlib import Path

import pytest

from accelkit import machine, models

sys.path.insert(0, str(Path(__file__).parent.parent / "fixtures"))


def pytest_collection_modifyitems(items):
    none = pytest.mark.skip(reason="needs an NVIDIA GPU")
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.gpu)
            item.add_marker(pytest.mark.timeout(1800))
            if not machine.probe().gpus:
                item.add_marker(none)


@pytest.fixture(scope="session")
def model():
    return models.get("text_recognition", "small")


@pytest.fixture(scope="session")
def full():
    return models.get("text_recognition", "full")


def here(path, model):
    """Skip a test where a path lacks something."""
    if reason := path.unavailable(machine.probe(), model):
        pytest.skip(reason)
