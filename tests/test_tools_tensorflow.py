"""tools/tensorflow-cpu: nothing to do, nothing to be had, and a download that breaks off, with a Python that only says so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PYTHON = """#!/bin/sh
case "$*" in
*"-m pip"*) echo "$*" >> "$PIP_LOG"; echo "$PIP_SAYS" >&2; exit "$PIP_ENDS" ;;
*version*importlib*|*importlib*) exit "$HAS" ;;
*) exec {python} "$@" ;;
esac
"""


@pytest.fixture
def tool(tmp_path):
    """A runner of the tool in an environment of one program."""
    program = tmp_path / "venv/bin/python"
    program.parent.mkdir(parents=True)
    program.write_text(PYTHON.format(python=sys.executable))
    program.chmod(0o755)

    def run(has: int, says: str = "", ends: int = 0, hardware: str = "cpu") -> tuple[subprocess.CompletedProcess, str]:
        (tmp_path / "venv/.hardware").write_text(hardware)
        log = tmp_path / "pip.log"
        log.write_text("")
        env = {
            **os.environ,
            "VENV": str(tmp_path / "venv"),
            "PIP_LOG": str(log),
            "PIP_SAYS": says,
            "PIP_ENDS": str(ends),
        }
        done = subprocess.run(
            [ROOT / "tools/tensorflow-cpu"], env={**env, "HAS": str(has)}, capture_output=True, text=True, check=False
        )
        return done, log.read_text()

    return run


def test_what_is_there_is_not_fetched(tool):
    done, asked = tool(has=0)
    assert (done.returncode, done.stderr, asked) == (0, "", "")
    done, asked = tool(has=1, hardware="gpu")  # whose TensorFlow has a Python of its own
    assert (done.returncode, done.stderr, asked) == (0, "", "")


def test_it_is_fetched_with_the_pins_of_the_environment(tool):
    done, asked = tool(has=1)
    assert done.returncode == 0 and "--only-binary :all:" in asked and "--constraint constraints/py3" in asked
    assert "tensorflow-cpu==" in asked and "tf2onnx==" in asked


def test_where_no_wheel_is_offered_tests_are_skipped(tool):
    done, _ = tool(1, "ERROR: No matching distribution found for tensorflow-cpu", 1)
    assert done.returncode == 0 and done.stderr.startswith("Note: pip finds no tensorflow-cpu")
    assert "tests that need TensorFlow are skipped" in done.stderr


def test_a_download_that_breaks_off_is_a_failure(tool):
    done, _ = tool(1, "ERROR: Could not install packages due to an OSError: connection reset", 1)
    assert done.returncode == 2 and "error: pip could not install" in done.stderr and "connection reset" in done.stderr
