"""The table of the tensorflow backend's settings: complete, read through itself alone, light; a session is made by it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from accelkit import models, paths
from accelkit.backends.key import Refused
from accelkit.backends.tensorflow import keys, settings

DIRECTORY = Path(keys.__file__).parent


def test_every_setting_is_described_and_stands_once():
    assert {id(key) for key in vars(keys).values() if isinstance(key, keys.Key)} == {id(key) for key in keys.KEYS}
    assert len({(key.where, key.name) for key in keys.KEYS}) == len(keys.KEYS)
    assert all(key.effect and key.source and key.eras == ("legacy",) for key in keys.KEYS)


def test_no_setting_is_named_outside_the_table():
    """But for those of TensorFlow's own optimizer that bear the same names, in the one function that makes a session."""
    names = {key.name for key in keys.KEYS} - {"level", "platform", "version"}
    named = re.compile(f"""["'](?:{"|".join(map(re.escape, names))})["']""")
    sources = [path for path in DIRECTORY.glob("*.py") if path.name != "keys.py"]
    assert len(sources) > 6
    found = {path.name: set(hits) for path in sources if (hits := named.findall(path.read_text()))}
    assert found == {
        "settings.py": {
            '"minimum_segment_size"',
            '"precision_mode"',
            '"max_workspace_size_bytes"',
            '"max_cached_engines"',
        }
    }


def test_the_table_needs_no_package_beyond_the_standard_library():
    code = "import sys, accelkit.backends.tensorflow.keys; print({'numpy', 'tensorflow'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"


def test_keys_that_the_recipe_writes_are_in_the_table():
    made = paths.get("tensorflow").config(models.get(), threads=2).parameters
    assert len(made) == 1 and set(made) <= {key.name for key in keys.KEYS}


class Log(list):
    """Keeps what is warned of."""

    log_warn = list.append


def accelerated(*entries, gpu=True, **more):
    node = {"gpu_execution_accelerator": list(entries), **more}
    log = Log()
    return settings.accelerated({"optimization": {"execution_accelerators": node}}, gpu, log), log


def test_the_accelerator_of_a_gpu_has_the_official_defaults():
    (engine, mixed), log = accelerated({"name": keys.TENSORRT})
    assert engine == settings.Engine("FP32", 3, 1 << 30, 100) and not mixed and not log
    given = {"precision_mode": "FP16", "minimum_segment_size": "5", "max_workspace_size_bytes": "4294967296",
             "max_cached_engines": "2x"}  # fmt: skip
    assert accelerated({"name": keys.TENSORRT, "parameters": given})[0][0] == settings.Engine("FP16", 5, 1 << 32, 2)
    assert accelerated({"name": keys.GPU_IO}, {"name": keys.MIXED})[0] == (None, True)
    assert settings.accelerated({}, True, Log()) == (None, False)


def test_a_cpu_ignores_them_with_a_warning():
    found, log = accelerated({"name": "nonsense"}, gpu=False)
    assert found == (None, False) and log == ["GPU Execution Accelerator will be ignored for model instance on CPU"]
    with pytest.raises(Refused, match="CPU Execution Accelerator is not supported"):
        accelerated(gpu=False, cpu_execution_accelerator=[{"name": "x"}])


SETTINGS = settings.Settings(False, 3, 2, True, "", "", "", 2, settings.Engine("FP16", 5, 1 << 31, 7), False)


def test_a_session_gets_what_the_official_backend_gives_it():
    tf = pytest.importorskip("tensorflow")
    made = settings.session(tf, SETTINGS, {}, 1, 16)
    assert (made.intra_op_parallelism_threads, made.inter_op_parallelism_threads, made.use_per_session_threads) == (
        3,
        2,
        True,
    )
    assert made.gpu_options.visible_device_list == "1" and made.gpu_options.allow_growth and made.allow_soft_placement
    assert made.graph_options.optimizer_options.global_jit_level == tf.compat.v1.OptimizerOptions.ON_2
    rewrite = made.graph_options.rewrite_options
    assert list(rewrite.optimizers) == ["constfold", "layout", "constfold"]
    first, second = rewrite.custom_optimizers
    assert (first.name, second.name) == ("TensorRTOptimizer", "constfold")
    given = {key: value.b or value.s or value.i for key, value in first.parameter_map.items()}
    assert given == {
        "is_dynamic_op": True, "minimum_segment_size": 5, "precision_mode": b"FP16", "max_batch_size": 16,
        "max_workspace_size_bytes": 1 << 31, "max_cached_engines": 7,
    }  # fmt: skip
    assert rewrite.meta_optimizer_iterations == type(rewrite).ONE


def test_a_session_on_a_cpu_and_one_wherever_the_graph_says():
    tf = pytest.importorskip("tensorflow")
    plain = settings.Settings(False, 0, 0, False, "", "", "", -1, None, True)
    command = {"allow-soft-placement": "off", "gpu-memory-fraction": "0.5"}
    cpu = settings.session(tf, plain, command, -1, 0)
    assert cpu.device_count["GPU"] == 0 and not cpu.allow_soft_placement
    assert (cpu.gpu_options.per_process_gpu_memory_fraction, cpu.gpu_options.allow_growth) == (0.5, False)
    assert cpu.graph_options.optimizer_options.global_jit_level == tf.compat.v1.OptimizerOptions.OFF
    rewrite = cpu.graph_options.rewrite_options
    assert rewrite.auto_mixed_precision == type(rewrite).ON and not rewrite.custom_optimizers
    free = settings.session(tf, plain, {}, None, 0)
    assert not free.device_count and not free.gpu_options.visible_device_list


def test_a_line_says_why_tensorflow_refused():
    from accelkit.backends.tensorflow import opening

    text = "Graph execution error:\n\nDetected at node 'w' defined at (most recent call last):\nno value\n\t [[{{node w}}]]\n"
    assert opening.reason(text) == "no value" and opening.reason("one\ntwo") == "one"
    tf = SimpleNamespace(errors=SimpleNamespace(OpError=ArithmeticError))
    with pytest.raises(Refused, match="^first$"):
        opening.attempt(tf, lambda: (_ for _ in ()).throw(OSError("first\nsecond")))
