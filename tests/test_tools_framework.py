"""tools/framework-cpu: nothing to do, nothing to be had, and a download that breaks off, with a Python that only says so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from accelkit import versions

ROOT = Path(__file__).resolve().parents[1]
PYTHON = """#!/bin/sh
case "$*" in
*"-m pip"*) echo "$*" >> "$PIP_LOG"; echo "$PIP_SAYS" >&2; exit "$PIP_ENDS" ;;
*importlib*) exec {python} -c 'import os, sys, importlib.metadata as m
def version(name):
    if name not in os.environ["HAS"].split():
        raise m.PackageNotFoundError(name)
m.version = version
sys.argv.pop(1)
exec(sys.argv.pop(1))' "$@" ;;
*) exec {python} "$@" ;;
esac
"""
PINS = {
    "torch": [f"torch=={versions.get('extras.torch-cpu')}"],
    "tensorflow": [f"{name}=={versions.get('extras.' + name)}" for name in ("tensorflow-cpu", "tf2onnx")],
}


@pytest.fixture
def tool(tmp_path):
    """A runner of the tool in an environment of one program."""
    program = tmp_path / "venv/bin/python"
    program.parent.mkdir(parents=True)
    program.write_text(PYTHON.format(python=sys.executable))
    program.chmod(0o755)

    def run(
        *framework: str, has: str = "", says: str = "", ends: int = 0, hardware: str = "cpu"
    ) -> tuple[subprocess.CompletedProcess, str]:
        (tmp_path / "venv/.hardware").write_text(hardware)
        log = tmp_path / "pip.log"
        log.write_text("")
        own = {"VENV": str(tmp_path / "venv"), "PIP_LOG": str(log), "PIP_SAYS": says, "PIP_ENDS": str(ends), "HAS": has}
        command = [ROOT / "tools/framework-cpu", *framework]
        done = subprocess.run(command, env={**os.environ, **own}, capture_output=True, text=True, check=False)
        return done, log.read_text()

    return run


@pytest.mark.parametrize(
    ("framework", "given"),
    [
        ("torch", {"has": "torch"}),
        ("tensorflow", {"has": "tensorflow-cpu tf2onnx"}),
        ("torch", {"hardware": "gpu"}),
        ("tensorflow", {"hardware": "gpu"}),
    ],
)
def test_what_is_there_or_of_another_build_is_not_fetched(tool, framework, given):
    done, asked = tool(framework, **given)
    assert (done.returncode, done.stderr, asked) == (0, "", "")


@pytest.mark.parametrize("framework", PINS)
def test_it_is_fetched_with_the_pins_of_the_environment(tool, framework):
    done, asked = tool(framework)
    assert done.returncode == 0 and "--only-binary :all: --constraint constraints/py3" in asked
    assert asked.split()[-len(PINS[framework]) :] == PINS[framework]


def test_only_what_is_missing_is_fetched(tool):
    done, asked = tool("tensorflow", has="tensorflow-cpu")
    assert done.returncode == 0 and asked.split()[-1] == PINS["tensorflow"][1]
    assert "tensorflow-cpu" not in asked


@pytest.mark.parametrize("framework", PINS)
def test_where_no_wheel_is_offered_tests_are_skipped(tool, framework):
    done, _ = tool(framework, says=f"ERROR: No matching distribution found for {framework}", ends=1)
    assert done.returncode == 0 and done.stderr.startswith(f"Note: pip finds no {' '.join(PINS[framework])} here")
    assert f"tests that need {framework} are skipped" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("framework", PINS)
def test_a_download_that_breaks_off_is_a_failure(tool, framework):
    done, _ = tool(framework, says="ERROR: Could not install packages due to an OSError: connection reset", ends=1)
    assert done.returncode == 2 and "error: pip could not install" in done.stderr and "connection reset" in done.stderr


@pytest.mark.parametrize("framework", [(), ("jax",)])
def test_a_wrong_use_is_one_line(tool, framework):
    done, asked = tool(*framework)
    assert (done.returncode, asked) == (2, "") and done.stderr == "usage: tools/framework-cpu torch|tensorflow\n"
