"""The migration table: complete, and its names are those of the tables that the stand-ins read."""

import json
import re
from pathlib import Path

from accelkit import migration
from accelkit.backends.fastertransformer import keys as ft
from accelkit.backends.tensorrtllm import keys as trt
from accelkit.backends.tensorrtllm import tensors
from accelkit.backends.vllm import keys as vllm

FIXTURES = Path(__file__).parent / "fixtures"
NAMES = json.loads((FIXTURES / "made_up_vllm/0.24.0.json").read_text())


def test_every_row_has_every_cell():
    rows = migration.rows()
    assert len(rows) > 15 and {row["kind"] for row in rows} == set(migration.KINDS)
    for row in rows:
        assert set(row) == {"kind", "what", *migration.COLUMNS} and all(row.values())
    assert len({row["what"] for row in rows}) == len(rows)


def test_names_of_every_column_are_real():
    official = json.loads((FIXTURES / "tensorrt_llm.json").read_text())
    arguments = official["llm_arguments"]
    known = {
        "fastertransformer": {key.name for key in ft.KEYS} | {*ft.INPUTS, *ft.OUTPUTS, "max_pos_seq_len", "instance_group"},
        "tensorrt_llm": {key.name for key in trt.KEYS} | {*tensors.ENSEMBLE_INPUTS, *tensors.ENSEMBLE_OUTPUTS, *tensors.LLMAPI_INPUTS}
        | {*tensors.LLMAPI_OUTPUTS, *tensors.ENGINE_INPUTS, *arguments["names"], *arguments["kv_cache_config"], "tensorrt_llm"},
        "vllm": {*vllm.INPUTS, *vllm.OUTPUTS, *NAMES["AsyncEngineArgs"], *NAMES["SamplingParams"]},
    }  # fmt: skip
    for row in migration.rows():
        for column, names in known.items():
            assert set(re.findall(r"[a-z]+(?:_[a-z]+)+", row[column])) <= names, row


def test_it_is_a_table():
    lines = migration.markdown().splitlines()
    assert len(lines) == 2 + len(migration.rows()) and {line.count("|") for line in lines} == {6}
    assert len(migration.markdown(("request",)).splitlines()) < len(lines)
