"""accelkit/versions.toml is the only place of versions and image tags; what else names one is rendered or agrees."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from accelkit import versions

ROOT = Path(__file__).resolve().parents[1]
SOURCE = "accelkit/versions.toml"
TAG = re.compile(r"(?:nvcr\.io/[\w./-]+:|\b)(\d\d\.\d\d(?:-\w+)*-py3(?:-\w+)*)")
IMAGE = re.compile(r"nvcr\.io/[\w./-]+:[\w.-]+")
PIN = r"(?<![\w.-])({names})(?:\[[\w,]+\])?\s*(?:===?|~=)\s*['\"]?v?(\d+(?:\.\d+)+(?:\+\w+)?)"
PROSE = r"(?<![\w.-])({names}) (?:version )?`?v?(\d+(?:\.\d+){{1,3}})(?![\w.]*\d)"


def named() -> dict[str, set[str]]:
    """Return every package of versions.toml with its versions there."""
    table = versions.table()
    found: dict[str, set[str]] = {}
    for name, version in [*table["packages"].items(), *table["extras"].items()]:
        found.setdefault(name.lower(), set()).add(version)
    for stack in table["stacks"].values():
        for name, version in stack.get("packages", {}).items():
            found.setdefault(name.lower(), set()).add(version)
    for entry in table["toolchain"].values():
        if isinstance(entry, dict) and "package" in entry:
            found.setdefault(entry["package"], set()).add(entry["version"])
    return found


def rendered() -> set[str]:
    """Return the files that are rendered from versions.toml, which tests/test_docker.py checks."""
    return {f"docker/{template.stem}" for template in (ROOT / "docker" / "templates").glob("*.in")}


def texts() -> dict[str, str]:
    """Return every text file that may not hold a version of its own, notebooks without their outputs."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    found = {}
    for name in filter(None, names.split("\0")):
        path = ROOT / name
        if name == SOURCE or name.startswith("constraints/") or name in rendered() or not path.is_file():
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        if path.suffix == ".ipynb":
            text = "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
        found[name] = text
    return found


def problems(files: dict[str, str]) -> list[str]:
    """Name every image tag and pin in these texts, and every version in prose that is not the one of versions.toml."""
    packages = named()
    alternatives = "|".join(re.escape(name) for name in sorted(packages, key=len, reverse=True))
    pin, prose = (re.compile(pattern.format(names=alternatives), re.IGNORECASE) for pattern in (PIN, PROSE))
    found = []
    for name, text in files.items():
        found += [f"{name}: image tag {match[0]}" for match in [*TAG.finditer(text), *IMAGE.finditer(text)]]
        found += [f"{name}: pin {match[0]}" for match in pin.finditer(text)]
        if name.endswith((".md", ".ipynb")):
            found += [
                f"{name}: {match[0]}"
                for match in prose.finditer(text)
                if not agrees(match[2], packages[match[1].lower()])
            ]
    return found


def agrees(version: str, known: set[str]) -> bool:
    """Say whether a version, whole or its beginning, is one of the known ones."""
    return any((entry.split("+")[0] + ".").startswith(version + ".") for entry in known)


def test_no_other_file_holds_a_version_or_a_tag():
    files = texts()
    assert "README.md" in files and "pyproject.toml" in files and not any(name in files for name in rendered())
    files.pop("tests/test_version_strings.py")
    assert not problems(files)


@pytest.mark.parametrize(
    "text",
    [
        "FROM nvcr.io/nvidia/x:99.01-py3",
        "the 99.01-py3-sdk",
        "onnxruntime==9.9.9",
        "numpy ~= 9.9",
        "ONNXRuntime 9.9.9",
    ],
)
def test_a_version_elsewhere_is_found(text):
    assert problems({"x.md": text})


@pytest.mark.parametrize("text", ["onnxruntime >= 9", "Python 3.11", "the container of 99.01"])
def test_what_is_no_pin_is_left_alone(text):
    assert not problems({"x.md": text})


def test_the_readme_states_the_versions_of_the_file():
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert f"Triton {versions.get('toolchain.server.triton')}" in text
    assert f"glibc {versions.get('toolchain.server.glibc')} or newer" in text
    minors = versions.get("python.minors")
    assert f"Python {minors[0]} to {minors[-1]}" in text
