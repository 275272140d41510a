"""recorded: what was measured elsewhere stays marked as such, can be recomputed, and is offered to machines like it."""

import dataclasses

import pytest

from accelkit import recorded, report
from accelkit.errors import MeasureError
from accelkit.measure import result
from tests.test_report import ABSENT, BASE, FAST

ISA = {
    "AVX2": ("avx2",),
    "AVX-512 VNNI": ("avx2", "avx512f", "avx512_vnni"),
    "AMX": ("avx2", "avx512f", "avx512_vnni", "amx_int8"),
}


@pytest.fixture
def folder(tmp_path, made_up):
    """Records of an AVX2 machine (1.5 times) and of a VNNI machine (3.41 times)."""
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "raw-m.json.gz").write_bytes(b"raw")
    for name, ratio in (("AVX2", 1.5), ("AVX-512 VNNI", 3.41)):
        here = made_up(isa=ISA[name])
        where = {**BASE.where, "machine": {"line": here.line(), "best_isa": name, **here.as_dict()}, "gpus": 0}
        rows = [
            dataclasses.replace(row, where=where, provenance={"raw": "raw-m.json.gz"}) for row in (BASE, FAST, ABSENT)
        ]
        rows[1] = dataclasses.replace(rows[1], versus={**FAST.versus, "ratio": ratio})
        recorded.keep(f"cpu_{ISA[name][-1]}", rows, tmp_path / "raw", tmp_path / "kept")
    return tmp_path / "kept"


def test_only_what_was_measured_is_kept_and_marked(folder):
    rows = result.read(folder / "cpu_avx2.json")
    assert [row.label for row in rows] == ["onnxruntime-cpu", "openvino int8"] and all(row.recorded for row in rows)
    assert {row.provenance["raw"] for row in rows} == {"cpu_avx2-raw-m.json.gz"} and (
        folder / "cpu_avx2-raw-m.json.gz"
    ).exists()
    with pytest.raises(MeasureError, match="nothing was measured"):
        recorded.keep("none", [ABSENT], folder, folder)


@pytest.mark.parametrize(
    ("isa", "cap", "ratio"),
    [
        ("AVX2", None, 1.5),
        ("AVX-512 VNNI", None, 3.41),
        ("AMX", None, 3.41),
        ("AMX", "AVX512_CORE", 1.5),
        ("AVX-512 VNNI", "AVX2", 1.5),
    ],
)
def test_a_machine_is_offered_the_record_of_its_set_or_the_next_lesser(folder, made_up, isa, cap, ratio):
    here = made_up(isa=ISA[isa], isa_cap=cap)
    origin, found = recorded.expect(here, folder)
    assert [(row.label, row.ratio) for row in found] == [("openvino int8", ratio)] and "2026" in origin
    said = recorded.text(here, folder)
    assert f"{ratio:.2f}" in said and ("most similar" in said) == (here.best_isa() not in ("AVX2", "AVX-512 VNNI"))


def test_of_two_with_the_same_set_the_one_that_computes_as_this_one_is_offered(folder, made_up):
    isa = (*ISA["AVX-512 VNNI"], "avx512_bf16")
    there = made_up(isa=isa)
    where = {
        **BASE.where,
        "machine": {"line": there.line(), "best_isa": there.best_isa(), **there.as_dict()},
        "gpus": 0,
    }
    result.write(folder / "a_bf16.json", [dataclasses.replace(row, where=where) for row in (BASE, FAST)])
    for mine, line in ((isa, there.line()), (ISA["AVX-512 VNNI"], made_up(isa=ISA["AVX-512 VNNI"]).line())):
        assert {row.where["machine"]["isa"][-1] for row in recorded.nearest(made_up(isa=mine), folder)} == {mine[-1]}
        assert line in recorded.expect(made_up(isa=mine), folder)[0]


def test_what_a_gpu_did_and_what_the_cap_did_not_reach_is_not_offered(folder, made_up):
    here = made_up(isa=ISA["AVX-512 VNNI"], isa_cap="AVX512_CORE_VNNI")
    where = {**BASE.where, "machine": {"line": here.line(), "best_isa": here.best_isa(), **here.as_dict()}, "gpus": 1}
    able = dataclasses.replace(FAST, where=where)
    rows = [
        dataclasses.replace(BASE, where=where),
        able,
        dataclasses.replace(able, path="onnxruntime-cpu"),
        dataclasses.replace(able, path="tensorrt"),
    ]
    result.write(folder / "a_first.json", rows)
    assert [row.label for row in recorded.nearest(made_up(isa=ISA["AMX"]), folder)] == [
        "onnxruntime-cpu",
        "openvino int8",
    ]


def test_gpu_paths_that_are_not_here_are_shown_as_recorded(folder, made_up):
    assert recorded.with_gpus([BASE, ABSENT], folder) == [BASE, ABSENT]
    where = {**BASE.where, "machine": {"line": "a GPU", "arch": "x86_64"}, "gpus": 1, "date": "2026-01-01"}
    plan = dataclasses.replace(
        FAST, path="tensorrt", variant="full", recorded=True, where=where,
        precision={"requested": "fp16", "observed": "fp16"},
    )  # fmt: skip
    newer = dataclasses.replace(plan, where={**where, "date": "2026-02-01"})
    other = dataclasses.replace(newer, speed={**plan.speed, "batch": 1})
    for name, row in (("h200_new", newer), ("h200_old", plan), ("h200_other", other)):
        result.write(folder / f"{name}.json", [row])
    assert recorded.with_gpus([BASE, ABSENT], folder) == [BASE, ABSENT, newer]
    here = dataclasses.replace(ABSENT, path="openvino")
    assert recorded.with_gpus([BASE, here], folder) == [BASE, here], "its path is none of a GPU"
    assert recorded.with_gpus([ABSENT], folder) == [ABSENT], "under no load"
    shown = report.table(recorded.with_gpus([BASE, ABSENT], folder))
    assert (
        "than onnxruntime-cpu there" in shown
        and "measured, recorded" in shown
        and "recorded, not measured here: a GPU" in shown
    )
    same = dataclasses.replace(newer, versus={**newer.versus, "verdict": "no difference"})
    assert "no difference from onnxruntime-cpu there" in report.table([same])
    page = report.html(recorded.with_gpus([BASE, ABSENT], folder), None, folder / "page.html").read_text()
    assert "Recorded on another machine, not measured in this run." in page


def test_without_a_record_nothing_is_promised(folder, made_up):
    assert "no record" in recorded.text(made_up(isa=("asimddp",), arch="aarch64"), folder)
    assert "no record" in recorded.text(made_up(isa=()), folder)
    assert "no record" in recorded.text(made_up(), folder / "nowhere")


def test_every_record_is_recomputed_from_its_raw_exports():
    for rows in recorded.read().values():
        for row in rows:
            assert row.recorded and row.where["machine"]["line"] and row.where["date"]
            assert result.recompute(row, recorded.FOLDER / row.provenance["raw"]) == (row.speed, row.versus)
