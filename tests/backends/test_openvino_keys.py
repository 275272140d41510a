"""The table of the openvino backend's settings: complete, read through itself alone, light, and yes alone is true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from accelkit import models, paths
from accelkit.backends.key import ERAS
from accelkit.backends.openvino import keys

DIRECTORY = Path(keys.__file__).parent


def test_every_setting_is_described_and_stands_once():
    assert {id(key) for key in vars(keys).values() if isinstance(key, keys.Key)} == {id(key) for key in keys.KEYS}
    assert len({key.name for key in keys.KEYS}) == len(keys.KEYS)
    assert all(key.effect and key.source and key.eras and set(key.eras) <= set(ERAS) for key in keys.KEYS)


def test_no_setting_is_named_outside_the_table():
    named = re.compile(f"""["'](?:{"|".join(key.name for key in keys.KEYS)})["']""")
    sources = [path for path in DIRECTORY.glob("*.py") if path.name != "keys.py"]
    assert len(sources) > 4 and not {path.name: found for path in sources if (found := named.findall(path.read_text()))}


def test_the_table_needs_no_package_beyond_the_standard_library():
    code = "import sys, accelkit.backends.openvino.keys; print('numpy' in sys.modules or 'openvino' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


@pytest.mark.parametrize(
    ("text", "truth"),
    [("yes", True), ("YES", True), ("Yes", True), ("true", False), ("1", False), ("", False), (None, False)],
)
def test_only_yes_is_true(text, truth):
    parameters = {} if text is None else {keys.PADDING.name: {"string_value": text}}
    assert keys.yes(keys.PADDING, {"parameters": parameters}) is truth


def test_keys_that_the_recipe_writes_are_in_the_table():
    made = paths.get("openvino").config(models.get(), threads=2, streams="AUTO", hint="LATENCY").parameters
    assert len(made) == 4 and set(made) <= {key.name for key in keys.KEYS}
