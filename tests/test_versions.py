"""versions.toml, the constraints and pyproject.toml say the same; test_version_strings.py looks at all other files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from accelkit import versions
from accelkit.errors import ConfigError

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "constraints").glob("py*.txt"))
PROJECT = versions.tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
INSTALLED = ("cpu", "trees", "lessons", "test")


def pins(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    return dict(line.split("==") for line in lines)


def test_get_returns_strings_and_tables_and_names_a_missing_key():
    assert re.fullmatch(r"\d+\.\d+\.\d+", versions.get("packages.onnxruntime"))
    assert versions.get("toolchain.server")["package"] == versions.table()["toolchain"]["server"]["package"]
    for key in ("packages.nothing", "packages.onnxruntime.deeper", ""):
        with pytest.raises(ConfigError, match=r"versions\.toml"):
            versions.get(key)


def test_there_is_a_constraint_file_for_every_python():
    assert [path.name for path in FILES] == [
        f"py{minor.replace('.', '')}.txt" for minor in versions.get("python.minors")
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_constraints_hold_the_versions_of_the_file_and_pin_exactly(path):
    pinned = pins(path)
    assert {name: pinned[name] for name in versions.get("packages")} == versions.get("packages")
    assert pinned.pop("torch") == versions.get("extras.torch-cpu")
    assert len(pinned) > 100 and all(re.fullmatch(r"[\d.]+(?:post\d+)?", version) for version in pinned.values())
    assert not [name for name in pinned if name.startswith("nvidia-") and name != "nvidia-ml-py"]


@pytest.mark.parametrize("minor", versions.get("python.minors"))
def test_a_gpu_has_pins_of_its_own_for_every_python(minor):
    pinned = pins(ROOT / f"constraints/gpu-py{minor.replace('.', '')}.txt")
    known = {**versions.get("packages"), **versions.get("extras"), "torch": versions.get("extras.torch-gpu")}
    wanted = [text for extra in ("gpu", "trees", "lessons", "test") for text in PROJECT["optional-dependencies"][extra]]
    names = {entry.name for entry in map(Requirement, [*PROJECT["dependencies"], *wanted])} - {"tomli"}
    assert {name: pinned[name] for name in names} == {name: known[name] for name in names}
    assert "onnxruntime" not in pinned and not [version for version in pinned.values() if "+cpu" in version]


@pytest.mark.parametrize("name", versions.get("stacks"))
def test_a_stack_pins_what_the_file_says_and_all_below_it(name):
    stack, pinned = versions.get(f"stacks.{name}"), pins(ROOT / f"constraints/stack-{name}.txt")
    direct = dict(stack.get("packages", {}))
    if "extras" in stack:
        known = {**versions.get("packages"), **versions.get("extras")}
        texts = [*PROJECT["dependencies"], *stack["also"]]
        texts += [text for extra in stack["extras"] for text in PROJECT["optional-dependencies"][extra]]
        direct |= {entry.name: known[entry.name] for entry in map(Requirement, texts) if entry.name != "tomli"}
    assert direct and direct.items() <= pinned.items() and len(pinned) > len(direct)


def test_direct_dependencies_are_versioned_in_the_file_only():
    known = {**versions.get("packages"), **versions.get("extras")}
    wanted = [Requirement(text) for text in PROJECT["dependencies"]]
    installed = list(wanted)
    for extra, texts in PROJECT["optional-dependencies"].items():
        wanted += [Requirement(text) for text in texts]
        if extra in INSTALLED:
            installed += [Requirement(text) for text in texts]
    assert not [str(entry) for entry in wanted if entry.specifier]
    assert {entry.name for entry in wanted} - {"tomli"} <= set(known)
    assert {entry.name for entry in installed} - {"tomli"} | {"setuptools"} == set(versions.get("packages"))


@pytest.mark.parametrize("name", ["server", "analyzer", "analyzer_older"])
def test_what_the_toolchain_fetches_is_pinned_by_hash(name):
    entry = versions.get(f"toolchain.{name}")
    assert set(entry["sha256"]) == {"x86_64", "aarch64"}
    assert all(re.fullmatch(r"[0-9a-f]{64}", value) for value in entry["sha256"].values())


def test_images_are_those_of_the_eras():
    images, eras = versions.get("images"), versions.get("eras")
    for era, entry in eras.items():
        tags = images if era == "current" else images[era]
        assert f":{entry['container']}-py3" in tags["server"]
        assert tags["sdk"] == tags["server"] + "-sdk"
        assert entry.get("first", "00") <= entry["container"] <= entry.get("last", "99")


def test_the_pythons_differ_in_few_pins():
    shared = set.intersection(*({*pins(path).items()} for path in FILES))
    assert len(shared) > 140
