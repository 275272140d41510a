"""The table of settings: complete, read through itself alone, and light enough for the linter to import."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from accelkit.backends import host
from accelkit.backends.key import ERAS, Refused
from accelkit.backends.onnxruntime import keys

DIRECTORY = Path(keys.__file__).parent


def test_every_setting_is_described_and_stands_once():
    assert len({(key.where, key.name) for key in keys.KEYS}) == len(keys.KEYS)
    assert {id(key) for name, key in vars(keys).items() if isinstance(key, keys.Key)} == {id(key) for key in keys.KEYS}
    for key in keys.KEYS:
        assert key.type in ("int", "bool", "string") and key.effect and key.source and set(key.eras) <= set(ERAS)


def test_no_setting_is_named_outside_the_table():
    names = sorted((key.name for key in keys.KEYS if key.name != "level"), key=len, reverse=True)
    named = re.compile(f"""["'](?:{"|".join(map(re.escape, names))})["']""")
    sources = [path for path in DIRECTORY.glob("*.py") if path.name != "keys.py"]
    assert len(sources) > 4 and not {path.name: found for path in sources if (found := named.findall(path.read_text()))}


def test_the_table_needs_no_package_beyond_the_standard_library():
    code = (
        "import sys, accelkit.backends.onnxruntime.keys; print('numpy' in sys.modules or 'onnxruntime' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


@pytest.mark.parametrize(
    ("text", "number"), [("2", 2), (" 2", 2), ("2.5", 2), ("2abc", 2), ("-1", -1), ("+3", 3), (None, 0)]
)
def test_integers_are_read_as_stoi_reads_them(text, number):
    parameters = {} if text is None else {keys.INTRA_OP_THREADS.name: {"string_value": text}}
    assert keys.INTRA_OP_THREADS.integer({"parameters": parameters}) == number


def test_settings_are_found_where_they_stand():
    config = {
        "optimization": {
            "graph": {"level": -1},
            "execution_accelerators": {"cpu_execution_accelerator": [{"name": "x"}]},
        },
        "parameters": {keys.MEM_ARENA.name: {"string_value": "On"}},
    }
    assert keys.GRAPH_LEVEL.integer(config) == -1 and keys.GRAPH_LEVEL.integer({}) == 0
    assert keys.CPU_ACCELERATORS.items(config) == [{"name": "x"}] and keys.CUSTOM_OPS.items(config) == []
    assert keys.MEM_ARENA.boolean(config) is True and keys.MEM_PATTERN.boolean(config) is None
    with pytest.raises(
        Refused, match="^failed to convert '3000000000' to integral number: .* does not fit into 32 bits$"
    ):
        keys.DEFAULT_MAX_BATCH.integer({keys.DEFAULT_MAX_BATCH.name: "3000000000"})


def test_the_command_line_is_read_in_both_spellings():
    arguments = [
        "--backend-config=onnxruntime,enable-global-threadpool=1", "--backend-config", "default-max-batch-size=8",
        "--backend-config=other,intra_op_thread_count=9", "--log-verbose=1",
    ]  # fmt: skip
    assert host.settings("onnxruntime", arguments) == {"enable-global-threadpool": "1", "default-max-batch-size": "8"}
    assert host.verbose(arguments) and not host.verbose(["--log-verbose=0"]) and not host.verbose([])


def test_a_warmup_batch_above_the_largest_is_refused_before_the_server_meets_it():
    host.check_warmup("m", {"max_batch_size": 4, "model_warmup": [{"name": "w", "batch_size": 4}]})
    with pytest.raises(Refused, match="failed to run warmup sample 'w': batch size 2 for 'm', max allowed is 1"):
        host.check_warmup("m", {"max_batch_size": 0, "model_warmup": [{"name": "w", "batch_size": 2}]})
