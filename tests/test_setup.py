"""tools/setup with a made-up pip: installs once, says what is wrong, and never calls a half-made environment done."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FAKE = f"""#!/bin/sh
here=$(dirname "$0")
case "$*" in
*"-m pip --version"*) exit 0 ;;
*"-m pip install"*) echo "$*" >> "$here/../../calls"; [ -e "$here/../../cut" ] && exit 1; exit 0 ;;
*"-m venv"*) for target; do :; done; rm -rf "$target"; mkdir -p "$target/bin"; cp "$0" "$target/bin/python"; exit 0 ;;
*) exec "{sys.executable}" "$@" ;;
esac
"""


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A copy of what the set-up reads, and bin/python3.X, a Python whose pip and venv are made up."""
    for name in ("constraints", "tools"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("pyproject.toml", "Makefile"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/mypython").write_text(FAKE)
    (tmp_path / "bin/mypython").chmod(0o755)
    return tmp_path


def run_setup(checkout: Path, extras: str = "cpu,trees,lessons", python: str = "bin/mypython", **env: str):
    clean = {name: value for name, value in os.environ.items() if name not in ("VENV", "PYTHON", "MAKEFLAGS")}
    return subprocess.run(
        ["tools/setup", extras], cwd=checkout, env={**clean, "PYTHON": python, **env}, capture_output=True, text=True
    )


def calls(checkout: Path) -> int:
    return len((checkout / "calls").read_text().splitlines()) if (checkout / "calls").exists() else 0


def test_first_run_installs_with_the_constraints_and_the_second_does_nothing(checkout):
    first = run_setup(checkout)
    assert first.returncode == 0, first.stderr
    minor = f"{sys.version_info.major}{sys.version_info.minor}"
    lines = (checkout / "calls").read_text().splitlines()
    assert len(lines) == 2 and all(f"--constraint constraints/py{minor}.txt" in line for line in lines)
    assert "setuptools==" in lines[0] and "--editable .[cpu,trees,lessons]" in lines[1]
    second = run_setup(checkout)
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "") and calls(checkout) == 2


def test_an_environment_for_a_gpu_has_pins_of_its_own_and_remembers_what_it_is(checkout):
    minor = f"{sys.version_info.major}{sys.version_info.minor}"

    def make(*words: str):
        given = ["make", "setup", "PYTHON=bin/mypython", *words]
        return subprocess.run(given, cwd=checkout, capture_output=True, text=True)

    assert make("HARDWARE=gpu").returncode == 0
    lines = (checkout / "calls").read_text().splitlines()
    assert f"--constraint constraints/gpu-py{minor}.txt" in lines[1] and ".[gpu,trees,lessons]" in lines[1]
    assert make().returncode == 0 and calls(checkout) == 2, "the next call is for the GPU too"
    wrong = make("HARDWARE=cpu")
    assert wrong.returncode == 2 and "error: .venv is made for gpu, not for cpu: delete it" in wrong.stderr
    assert calls(checkout) == 2


def test_a_larger_set_holds_the_smaller_and_not_the_other_way_round(checkout):
    run_setup(checkout)
    assert run_setup(checkout, "cpu,trees,lessons,test").returncode == 0 and calls(checkout) == 4
    for extras in ("cpu,trees,lessons,test", "cpu,trees,lessons", "cpu,trees", "cpu"):
        assert run_setup(checkout, extras).returncode == 0
    assert calls(checkout) == 4


def test_changed_pins_install_again(checkout):
    run_setup(checkout)
    for path in (checkout / "constraints").glob("py*.txt"):
        path.write_text(path.read_text() + "extra-package==1.0\n")
    assert run_setup(checkout).returncode == 0 and calls(checkout) == 4


def test_a_cut_install_is_not_done_and_the_next_run_makes_it_anew(checkout):
    (checkout / "cut").touch()
    done = run_setup(checkout)
    assert done.returncode == 2 and "error: pip could not install" in done.stderr
    assert (checkout / ".venv/.setup-unfinished").exists()
    (checkout / "cut").unlink()
    (checkout / ".venv/half-written").touch()
    assert run_setup(checkout).returncode == 0
    assert not (checkout / ".venv/half-written").exists() and not (checkout / ".venv/.setup-unfinished").exists()


def test_an_environment_that_worked_keeps_working_when_adding_to_it_fails(checkout):
    run_setup(checkout)
    (checkout / "cut").touch()
    assert run_setup(checkout, "cpu,trees,lessons,test").returncode == 2
    count = calls(checkout)
    assert run_setup(checkout).returncode == 0 and calls(checkout) == count


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("echo 3.10", "is Python 3.10, the kit needs 3.11 to 3.13"),
        ("echo 3.14", "is Python 3.14, the kit needs 3.11 to 3.13"),
        ("exit 127", "does not run: install Python 3.11 to 3.13"),
        (
            'case "$*" in *ensurepip*) exit 1;; *) echo 3.12;; esac',
            "install its venv (Debian, Ubuntu: python3.12-venv)",
        ),
    ],
)
def test_a_python_that_will_not_do_is_named(answer, words, checkout):
    (checkout / "bin/other").write_text(f"#!/bin/sh\n{answer}\n")
    (checkout / "bin/other").chmod(0o755)
    done = run_setup(checkout, python="bin/other")
    assert done.returncode == 2 and words in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (checkout / ".venv").exists()


def test_another_python_than_that_of_the_environment_is_refused(checkout):
    run_setup(checkout)
    (checkout / "bin/other").write_text("#!/bin/sh\necho 3.10\n")
    (checkout / "bin/other").chmod(0o755)
    done = run_setup(checkout, python="bin/other")
    assert done.returncode == 2 and "delete .venv, or name another directory with VENV=" in done.stderr


def test_make_lists_its_targets_and_installs_through_the_same_script(checkout):
    listed = subprocess.run(["make"], cwd=checkout, capture_output=True, text=True, check=True).stdout
    for target in ("setup", "tour", "test", "lab", "lint", "bench-check", "clean"):
        assert f"make {target} " in listed
    done = subprocess.run(
        ["make", "setup", "PYTHON=bin/mypython", "VENV=env"], cwd=checkout, capture_output=True, text=True
    )
    assert done.returncode == 0 and (checkout / "env/bin/python").exists(), done.stderr
