"""environment: every variable that the sources name is known, and what is unknown finds its nearest."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from accelkit import environment
from accelkit.errors import ConfigError

ROOT = Path(__file__).parents[1]
PLACES = ("accelkit", "docker", "docs", "tests/gpu", "tools", "notebooks")
KINDS = (".py", ".in", ".yaml", ".md", ".ipynb", ".toml", ".sh", "")


def test_every_variable_that_a_source_names_is_known():
    files = [file for place in PLACES for file in (ROOT / place).rglob("*") if file.is_file() and file.suffix in KINDS]
    text = "\n".join(file.read_text(encoding="utf-8", errors="replace") for file in files)
    named = set(re.findall(r"\bACCELKIT_[A-Z0-9_]*[A-Z0-9]\b", text)) - {
        "ACCELKIT_PYTHON",
        "ACCELKIT_LIBS",
    }
    assert len(named) > 10 and not named - set(environment.known())
    assert not set(environment.VARIABLES) - named


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("ACCELKIT_PYTHON_TENSORTT", "ACCELKIT_PYTHON_TENSORRT"),
        ("ACCELKIT_BUGDET", "ACCELKIT_BUDGET"),
        ("ACCELKIT_LIBS_ONNXRUNTIME_TENSORRT", ""),
        ("ACCELKIT_XYZZY_PLUGH_FROTZ_OZMOO", None),
        ("OTHER_BUDGET", ""),
    ],
)
def test_the_nearest_name(name, near):
    assert environment.unknown({name: "x"}) == ({} if near == "" else {name: near})


def test_the_limit_of_memory():
    for good in ({}, {environment.MEMORY: ""}, {environment.MEMORY: "48"}):
        environment.check(good)
    with pytest.raises(ConfigError, match="ACCELKIT_MEMORY_MB=4 GB: is no number of megabytes"):
        environment.check({environment.MEMORY: "4 GB"})
