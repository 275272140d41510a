"""The path onnxruntime-openvino: its config is the baseline's and one line, its answers are right, its evidence is real."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from accelkit import machine, models, paths, repository
from accelkit.comparison import compare
from accelkit.errors import ConfigError
from accelkit.measure import bench, evidence, parity
from accelkit.serving import Server

pytest.importorskip("onnxruntime_ep_openvino")
PATH = paths.get("onnxruntime-openvino")


def test_it_is_the_baseline_with_one_line_more():
    settings = {"threads": 2, "max_batch_size": 8, "name": "mine"}
    made, plain = (path.config(models.get(), **settings) for path in (PATH, paths.get(paths.BASELINE)))
    more = set(repository.text(made).splitlines()) - set(repository.text(plain).splitlines())
    assert {line.strip() for line in more} >= {'name: "openvino"', "cpu_execution_accelerator {"}
    made.ClearField("optimization")
    assert repository.equal(made, plain)
    assert PATH.config(models.get(), precision="int8").name == "text_recognition_onnxruntime_openvino_int8"


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        ({}, "network", None),
        ({"runtimes": {"onnxruntime-gpu": "1", "onnxruntime-ep-openvino": "1"}}, "network", None),
        ({"runtimes": {"onnxruntime": "1"}}, "network", "pip install 'accelkit[cpu]'"),
        ({"runtimes": {"onnxruntime-ep-openvino": "1"}}, "network", "pip install 'accelkit[cpu]'"),
        ({"vendor": "GenuineIntel"}, "network", None),
        (
            {"vendor": "AuthenticAMD", "cpu": "AMD EPYC"},
            "network",
            "on Intel processors only, this is AMD EPYC; NVIDIA's",
        ),
        ({"vendor": "AuthenticAMD", "runtimes": {}}, "network", "on Intel processors only"),
        ({"arch": "aarch64"}, "network", "exists for x86 only, this is aarch64"),
        ({}, "forest", "no operator for trees"),
    ],
)
def test_it_says_what_it_needs(made_up, change, kind, said):
    reason = PATH.unavailable(made_up(**change), SimpleNamespace(kind=kind))
    assert (reason is None) == (said is None) and (said or "") in (reason or "") and "\n" not in (reason or "")


def test_without_the_device_nothing_is_built(made_up, monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "probe", lambda: made_up(vendor="AuthenticAMD", cpu="AMD EPYC"))
    monkeypatch.setattr(PATH, "build", None)
    with pytest.raises(ConfigError, match="onnxruntime-openvino is unavailable: .*on Intel processors only"):
        paths.place(PATH, models.get(), tmp_path / "models")
    assert list(tmp_path.iterdir()) == []


# What this CPU computes fp32 in: OpenVINO takes BF16 for it where the CPU multiplies that.
RAN_IN = parity.held_to("fp32", PATH.REDUCED if machine.bf16(machine.probe().isa) else None)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """What the path's model answered for parity, and its evidence."""
    if missing := PATH.unavailable(machine.probe()):
        pytest.skip(missing)
    model, store = models.get(), tmp_path_factory.mktemp("repository")
    paths.place(PATH, model, store)
    name, profile = PATH.config(model).name, store.parent / "profile"
    with Server(store, profile=profile) as server:
        verdict = parity.check(model, parity.served(server, name, model), RAN_IN, 64)
    return verdict, evidence.READERS[PATH.EVIDENCE](Path(profile))


def test_its_answers_are_those_of_the_reference(served):
    verdict, _ = served
    assert verdict.passed and verdict.reason is None and verdict.samples == 64


def test_every_node_moved_and_ran_in_the_precision_of_this_cpu(served):
    _, found = served
    assert found.nodes["OpenVINOExecutionProvider subgraph"] == 1 and found.observed == RAN_IN
    assert found.nodes[f"OpenVINO layer {RAN_IN}"] > 20 and not any(
        "CPUExecutionProvider" in kind for kind in found.nodes
    )
    assert "OpenVINO took 79 of 79 nodes" in found.how


def test_a_run_in_which_everything_fell_back_has_no_number(tmp_path, monkeypatch):
    """The baseline's config under the path's name: it loads and answers right, and OpenVINO has no part in it."""
    monkeypatch.setattr(PATH, "unavailable", lambda machine, model=None: None)
    monkeypatch.setattr(PATH, "config", lambda model, precision, **settings: paths.get(paths.BASELINE).config(
        model, name="text_recognition_onnxruntime_openvino", **settings
    ))  # fmt: skip
    names = [f"{PATH.NAME}:fp32"]
    rows = compare(models.get(), names, load=bench.Load(batch=4, concurrency=1), out=tmp_path, progress=False)
    row = next(row for row in rows if row.path == PATH.NAME)
    assert (row.status, row.speed) == ("rejected", None)
    assert "no node ran on OpenVINO" in row.reason and "CPUExecutionProvider float32" in row.why
