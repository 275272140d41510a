"""The fil stand-in, case by case, on one real server: what it loads, what it refuses and how, and what it answers."""

from __future__ import annotations

import dataclasses
import json
import pickle
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import forests
import numpy as np
import pytest
import small
from forests import config, lightgbm, regressor, sklearn, xgboost
from google.protobuf import json_format

from accelkit import repository
from accelkit.backends.fil import forest, keys, settings
from accelkit.backends.key import ERAS, Refused
from accelkit.measure import evidence
from accelkit.models.trees import nodes
from accelkit.serving import Server

CLASSES = {"predict_proba": None, "output": "[ 1 ]"}
SHAP = 'output [ { name: "treeshap_output" data_type: TYPE_FP32 dims: [ %d ] } ]'


class Trap:
    """An object whose pickle leaves a file behind when it is read."""

    def __reduce__(self):
        return Path("/tmp/accelkit-was-unpickled").touch, ()


def single(text: str) -> str:
    """The configuration without a word."""
    return config("xgboost_json").replace(text, "")


JSON, UBJ = xgboost(), xgboost(form="ubj")
# Name: config.pbtxt, None when it loads or what the refusal says (a regular expression), content and name of the file.
CASES: dict[str, tuple] = {
    "json": (config("xgboost_json"), None, JSON),
    "ubj": (config("xgboost_ubj"), None, UBJ),
    "lightgbm": (config("lightgbm"), None, lightgbm()),
    "sklearn": (config("treelite_checkpoint"), None, sklearn()),
    "legacy": (config(None), None, forests.LEGACY, "xgboost.model"),
    "one_column": (config("xgboost_json", output="[ 1 ]"), None, JSON),
    "class": (config("xgboost_json", **CLASSES), None, JSON),
    "class_low": (config("xgboost_json", threshold="0.05", **CLASSES), None, JSON),
    "class_old_names": (
        config("xgboost_json", is_classifier=None, output_class="true", algo="BATCH_TREE_REORG", storage_type="SPARSE",
               threads_per_tree="2", blocks_per_sm="0", **CLASSES), None, JSON,
    ),
    "old_wins": (config("xgboost_json", is_classifier="false", output_class="true", **CLASSES), None, JSON),
    "old_wins_back": (
        config("xgboost_json", is_classifier="true", output_class="false", threshold=None, **CLASSES), None, JSON
    ),
    "old_is_no_boolean": (config("xgboost_json", output_class="yes", **CLASSES), None, JSON),
    "old_alone_is_no_boolean": (
        config("xgboost_json", is_classifier=None, output_class="1"), "^{}Required parameter is_classifier not found in config$", JSON
    ),
    "not_a_classifier": (config("xgboost_json", is_classifier="false", threshold=None, **CLASSES), None, JSON),
    "multi": (config("xgboost_json", output="[ 3 ]"), None, xgboost("multi:softprob")),
    "multi_ids": (config("xgboost_json", **CLASSES), None, xgboost("multi:softprob")),
    "multi_softmax_proba": (config("xgboost_json", output="[ 3 ]"), None, xgboost("multi:softmax")),
    "multi_lightgbm": (config("lightgbm", output="[ 3 ]"), None, lightgbm("multiclass")),
    "multi_sklearn": (config("treelite_checkpoint", output="[ 3 ]"), None, sklearn(3)),
    "multi_sklearn_ids": (config("treelite_checkpoint", **CLASSES), None, sklearn(3)),
    "categories": (config("lightgbm"), None, lightgbm(categories=(2,))),
    "number": (
        config("xgboost_json", is_classifier="false", threshold=None, **CLASSES), None, xgboost("reg:squarederror")
    ),
    "number_sklearn": (
        config("treelite_checkpoint", is_classifier="false", threshold=None, **CLASSES), None, regressor()
    ),
    "shap": (config("xgboost_json", SHAP % 4), None, JSON),
    "shap_lightgbm": (config("lightgbm", SHAP % 4), None, lightgbm()),
    "shap_multi": (config("xgboost_json", SHAP % 12, output="[ 3 ]"), None, xgboost("multi:softprob")),
    "shap_sklearn": (config("treelite_checkpoint", SHAP % 8), None, sklearn()),
    "without_effect": (
        config("xgboost_json", layout="x", chunk_size="abc", transfer_threshold="x", cpu_nthread="abc", nonsense="1"), None, JSON
    ),
    "threads": (config("xgboost_json", cpu_nthread="1"), None, JSON),
    "experimental": (config("xgboost_json", use_experimental_optimizations="true"), None, JSON),
    "other_name": (config("xgboost_json", 'default_model_filename: "mine.bin"'), None, JSON, "mine.bin"),
    "unbatched": (config("xgboost_json", batch=0, features="[ -1, 3 ]", output="[ -1, 2 ]"), None, JSON),
    "reshaped": (config("xgboost_json", features="[ 3, 1 ]", output="[ 2, 1 ]"), None, JSON),
    "dynamic": (config("xgboost_json", "dynamic_batching { max_queue_delay_microseconds: 200000 }"), None, JSON),
    "unknown_field": (
        config("xgboost_json"), "cannot be loaded as xgboost_json: Provided JSON could not be parsed as XGBoost model",
        JSON.content.replace(b'{"learner":{', b'{"learner":{"novelty":{"a":1},'),
    ),
    "unknown_field_allowed": (
        config("xgboost_json", xgboost_allow_unknown_field="true"), None,
        JSON.content.replace(b'{"learner":{', b'{"learner":{"novelty":{"a":1},'),
    ),
    "no_threshold": (config("xgboost_json", threshold=None), "^{}Required parameter threshold not found in config$", JSON),
    "threshold_empty": (config("xgboost_json", threshold=""), "^{}Bad input for parameter threshold$", JSON),
    "threshold_letters": (config("xgboost_json", threshold="half"), "^{}Bad input for parameter threshold$", JSON),
    "no_classifier": (
        config("xgboost_json", is_classifier=None), "^{}Required parameter is_classifier not found in config$", JSON
    ),
    "boolean_1": (
        config("xgboost_json", is_classifier="1"), "Expected 'true' or 'false' for parameter 'is_classifier', got: '1'$", JSON
    ),
    "boolean_True": (
        config("xgboost_json", predict_proba="True"), "Expected 'true' or 'false' for parameter 'predict_proba', got: 'True'$", JSON
    ),
    "boolean_empty": (
        config("xgboost_json", predict_proba=""), "Expected 'true' or 'false' for parameter 'predict_proba', got: ''$", JSON
    ),
    "experimental_yes": (
        config("xgboost_json", use_experimental_optimizations="yes"),
        "Expected 'true' or 'false' for parameter 'use_experimental_optimizations', got: 'yes'$", JSON,
    ),
    "allow_maybe": (
        config("xgboost_json", xgboost_allow_unknown_field="maybe"),
        "Expected 'true' or 'false' for parameter 'xgboost_allow_unknown_field', got: 'maybe'$", JSON,
    ),
    "type_unknown": (config("catboost"), "^{}catboost not recognized as a valid serialization format.$", JSON, "x"),
    "type_default_for_ubj": (
        config(None), r'Could not open model file ".*/1/xgboost.model"; xgboost.ubj is there, for which model_type must be '
        "xgboost_ubj$", UBJ,
    ),
    "ubj_as_legacy": (
        config("xgboost"), r"xgboost.model is an XGBoost UBJSON file \(XGBoost 2.1 and later write this form unless the name ends in "
        r".json\), not an XGBoost file in the legacy binary form: set model_type to xgboost_ubj$", UBJ, "xgboost.model",
    ),
    "ubj_as_json": (config("xgboost_json"), "not an XGBoost JSON file: set model_type to xgboost_ubj$", UBJ, "xgboost.json"),
    "json_as_ubj": (config("xgboost_ubj"), "is an XGBoost JSON file, .*: set model_type to xgboost_json$", JSON, "xgboost.ubj"),
    "json_as_lightgbm": (config("lightgbm"), "set model_type to xgboost_json$", JSON, "model.txt"),
    "lightgbm_as_json": (config("xgboost_json"), "set model_type to lightgbm$", lightgbm(), "xgboost.json"),
    "checkpoint_as_json": (config("xgboost_json"), "set model_type to treelite_checkpoint$", sklearn(), "xgboost.json"),
    "legacy_as_json": (config("xgboost_json"), "set model_type to xgboost$", forests.LEGACY, "xgboost.json"),
    "missing": (config("xgboost_json"), r'Could not open model file ".*/missing/1/xgboost.json"$', None, "xgboost.json"),
    "empty": (config("xgboost_json"), "xgboost.json cannot be loaded as xgboost_json: the file is empty$", b"", "xgboost.json"),
    "cut_json": (config("xgboost_json"), "cannot be loaded as xgboost_json: Provided JSON could not", JSON.content[:999], "xgboost.json"),
    "cut_ubj": (config("xgboost_ubj"), "cannot be loaded as xgboost_ubj: ", UBJ.content[:999], "xgboost.ubj"),
    "cut_lightgbm": (
        config("lightgbm"), "cannot be loaded as lightgbm: the file ends before its last tree$",
        lightgbm().content[:3000], "model.txt",
    ),
    "cut_checkpoint": (
        config("treelite_checkpoint"), "cannot be loaded as treelite_checkpoint: ", sklearn().content[:1500], "checkpoint.tl"
    ),
    "cut_legacy": (config("xgboost"), "cannot be loaded as xgboost: ", forests.LEGACY[:500], "xgboost.model"),
    "noise": (config("xgboost_json"), "cannot be loaded as xgboost_json: ", bytes(range(7, 250)), "xgboost.json"),
    **{f"pickle_{kind}": (config(kind), "is a Python pickle, which this backend never loads: ", pickle.dumps(Trap()), name)
       for kind, name in keys.FILES.items()},
    "too_few_features": (
        config("xgboost_json", features="[ 2 ]"), "^{}the forest has 3 features, but the configuration's input has 2$", JSON
    ),
    "too_many_features": (
        config("xgboost_json", features="[ 4 ]"), "^{}the forest has 3 features, but the configuration's input has 4$", JSON
    ),
    "free_features": (config("xgboost_json", features="[ -1 ]"), "variable-shape .*'input__0' has dims", JSON),
    "output_3": (
        config("xgboost_json", output="[ 3 ]"),
        r"^{}output 'output__0' of this forest has 1 or 2 values for each row, but the configuration has \[3\]$", JSON,
    ),
    "class_2": (config("xgboost_json", predict_proba="false"), r"has 1 values for each row, .* \[2\]$", JSON),
    "multi_2": (config("xgboost_json"), r"has 3 values for each row, .* \[2\]$", xgboost("multi:softprob")),
    "sklearn_1": (config("treelite_checkpoint", output="[ 1 ]"), r"has 2 values for each row, .* \[1\]$", sklearn()),
    "number_2": (
        config("xgboost_json", is_classifier="false"), r"has 1 values for each row, .* \[2\]$", xgboost("reg:squarederror")
    ),
    "shap_3": (config("xgboost_json", SHAP % 3), r"'treeshap_output' of this forest has 4 values", JSON),
    "shap_categories": (
        config("lightgbm", SHAP % 4), "treeshap_output is not offered for this forest: a split that is not a comparison",
        lightgbm(categories=(2,)),
    ),
    "wrong_input": (single("input__0"), "model input must specify 'name'|No input with name input__0", JSON),
    "other_input": (config("xgboost_json").replace("input__0", "x"), "^{}No input with name input__0 in configuration.$", JSON),
    "other_output": (
        config("xgboost_json").replace("output__0", "y"), "^{}No output with name output__0 in configuration.$", JSON
    ),
    "second_output": (
        config("xgboost_json", 'output [ { name: "more" data_type: TYPE_FP32 dims: [ 1 ] } ]'), "unexpected output 'more'", JSON
    ),
    "double_input": (
        config("xgboost_json").replace("TYPE_FP32", "TYPE_FP64", 1),
        "^{}incorrect type TYPE_FP64 for input 'input__0' with required type TYPE_FP32$", JSON,
    ),
    "integer_output": (
        config("xgboost_json").replace("FP32 dims: [ 2", "INT32 dims: [ 2"),
        "incorrect type TYPE_INT32 for output 'output__0' with required type TYPE_FP32$", JSON,
    ),
    "unbatched_rows": (config("xgboost_json", batch=0), "must begin with -1, the rows, when max_batch_size is 0$", JSON),
    "nothing_said": ('backend: "fil"', "^{}Required parameter is_classifier not found in config$", JSON),
    "kind_gpu": (
        config("xgboost_json").replace("KIND_CPU", "KIND_GPU"), "has kind KIND_GPU but no GPUs are available$", JSON
    ),
    "warmup_above_max": (
        config("xgboost_json", 'model_warmup [ { name: "w" batch_size: 65 count: 1 inputs { key: "input__0" '
               'value: { data_type: TYPE_FP32 dims: [ 3 ] random_data: true } } } ]'), "max allowed is 64$", JSON,
    ),
}  # fmt: skip


# These the server itself refuses, or must survive; the other refusals are looked at without one, which is quicker.
SERVED = [name for name, case in CASES.items() if case[1] is None] + [
    "no_threshold", "boolean_1", "ubj_as_json", "cut_checkpoint", "pickle_treelite_checkpoint", "too_many_features",
    "missing", "nothing_said", "wrong_input", "kind_gpu", "warmup_above_max",
]  # fmt: skip


def parsed(text: str) -> dict:
    """A configuration as the server hands it to a backend."""
    return json_format.MessageToDict(
        repository.parse(text), preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def put(folder: Path, name: str) -> Path:
    """Write a case's file and configuration below a folder; return the model's directory."""
    text, _, made, *file = CASES[name]
    version = folder / name / "1"
    version.mkdir(parents=True)
    content = getattr(made, "content", made)
    default = keys.FILES[made.model_type] if isinstance(made, forests.Forest) else "xgboost.json"
    if content is not None:
        (version / (file[0] if file else default)).write_bytes(content)
    (version.parent / "config.pbtxt").write_text(text)
    return version.parent


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """The server, what each case's load said, and the directory of profiles."""
    folder, profiles = tmp_path_factory.mktemp("repository"), tmp_path_factory.mktemp("profiles")
    for name in SERVED:
        put(folder, name)
    with Server(folder, models=[], profile=profiles) as server:
        said = small.load_all(server, SERVED)
        yield server, said, profiles


def ask(loaded, name: str, rows: np.ndarray | None = None, output: str = "output__0") -> np.ndarray:
    """An output of a loaded model for the tests' rows."""
    return loaded[0].infer(name, {"input__0": forests.rows() if rows is None else rows})[output]


@pytest.mark.parametrize("name", SERVED)
def test_loads_or_refuses_as_the_official_backend(loaded, name):
    server, said, _ = loaded
    expected = CASES[name][1]
    if expected is None:
        assert said[name] is None
        assert server.ready(name)
    else:
        text = said[name] or "it loaded"
        assert re.search(expected.replace("^{}", "did not load: "), text), text
        assert "\n" not in text and f"model '{name}'" in text and "Traceback" not in text
        assert not server.ready(name)


@pytest.mark.parametrize("name", [name for name in CASES if name not in SERVED])
def test_refuses_as_the_official_backend(tmp_path, name):
    text, expected, *_ = CASES[name]
    directory, config = put(tmp_path, name), parsed(text)
    with pytest.raises(Refused) as refused:
        found = settings.read(config, "CPU", lambda line: None)
        forest.Forest(forest.locate(str(directory), "1", config, found), found)
    assert re.search(expected.replace("^{}", "^"), str(refused.value)), str(refused.value)
    assert "\n" not in str(refused.value)


def test_no_pickle_was_read(loaded):
    assert not Path("/tmp/accelkit-was-unpickled").exists()


@pytest.mark.parametrize("name", ["json", "ubj", "lightgbm", "sklearn", "multi", "multi_lightgbm", "multi_sklearn"])
def test_probabilities_are_the_librarys_own(loaded, name):
    native = np.asarray(CASES[name][2].answers)
    native = native if native.ndim == 2 else np.stack([1 - native, native], axis=1)
    answered = ask(loaded, name)
    assert answered.dtype == np.float32 and answered.shape == native.shape
    assert np.abs(answered - native).max() < 1e-5


def test_forms_beyond_the_usual_answer_as_their_libraries(loaded):
    rows = forests.rows()
    assert np.allclose(ask(loaded, "legacy", forests.LEGACY_ROWS)[:, 1], forests.LEGACY_ANSWERS, atol=1e-6)
    whole = np.where(np.isnan(rows), 0, rows) * [1, 1, 8] // [0.001, 0.001, 1] * [0.001, 0.001, 1]
    native = lightgbm(categories=(2,)).native.predict(whole.astype(np.float32))
    assert np.allclose(ask(loaded, "categories", whole.astype(np.float32))[:, 1], native, atol=1e-5)
    assert np.allclose(ask(loaded, "number"), xgboost("reg:squarederror").answers, atol=1e-5)
    assert np.allclose(ask(loaded, "number_sklearn"), regressor().answers, atol=1e-4)


def test_a_class_is_told_by_the_threshold_and_dims_of_one_vanish(loaded):
    fraud = JSON.answers
    assert ask(loaded, "class").shape == (64,) and np.array_equal(ask(loaded, "class"), fraud > 0.5)
    assert np.array_equal(ask(loaded, "class_low"), fraud > 0.05) and (fraud > 0.05).sum() != (fraud > 0.5).sum()
    assert np.allclose(ask(loaded, "one_column"), fraud, atol=1e-6) and ask(loaded, "one_column").shape == (64,)
    assert ask(loaded, "reshaped", forests.rows()[:, :, None]).shape == (64, 2) and ask(loaded, "unbatched").shape == (
        64,
        2,
    )


def test_a_probability_that_equals_the_threshold_is_not_above_it(tmp_path):
    file = put(tmp_path, "one_column") / "1" / "xgboost.json"
    wanted = settings.read(parsed(CASES["class"][0]), "CPU", lambda line: None)
    row = forests.rows()[:1]
    exact = float(forest.Forest(file, dataclasses.replace(wanted, probabilities=True)).answer(row)["output__0"][0])
    below = float(np.nextafter(np.float32(exact), np.float32(0)))
    told = [forest.Forest(file, dataclasses.replace(wanted, threshold=value)).answer(row) for value in (exact, below)]
    assert [float(answer["output__0"][0]) for answer in told] == [0.0, 1.0]


@pytest.mark.parametrize("name", ["shap", "shap_lightgbm", "shap_sklearn"])
def test_shap_values_of_rows_on_the_thresholds_add_up(tmp_path, name):
    found = settings.read(parsed(CASES[name][0]), "CPU", lambda line: None)
    explained = forest.Forest(forest.locate(str(put(tmp_path, name)), "1", {}, found), found)
    splits = nodes.read(explained.model)
    inner = splits.left >= 0
    rows = np.repeat(forests.rows(1), inner.sum(), axis=0)
    rows[np.arange(len(rows)), splits.feature[inner]] = splits.threshold[inner]
    answer = explained.answer(rows)
    margins = answer["treeshap_output"].reshape(len(rows), -1, 4).sum(axis=2)
    fraud = margins[:, 1] if margins.shape[1] == 2 else 1 / (1 + np.exp(-margins[:, 0]))
    assert len(np.unique(fraud)) > 3 and np.allclose(fraud, answer["output__0"][:, 1], atol=1e-5)


def test_the_class_of_several_is_the_likeliest(loaded):
    likeliest = xgboost("multi:softprob").answers.argmax(axis=1)
    assert len(set(likeliest)) == 3
    assert np.array_equal(ask(loaded, "multi_ids"), likeliest)
    assert np.allclose(ask(loaded, "multi_softmax_proba"), xgboost("multi:softprob").answers, atol=1e-5)
    assert np.array_equal(ask(loaded, "multi_sklearn_ids"), sklearn(3).answers.argmax(axis=1))


def test_the_old_names_are_honoured_and_win(loaded):
    classes = JSON.answers > 0.5
    for name in ("class_old_names", "old_wins", "old_is_no_boolean"):
        assert np.array_equal(ask(loaded, name), classes), name
    for name in ("old_wins_back", "not_a_classifier"):
        assert np.allclose(ask(loaded, name), JSON.answers, atol=1e-6), name


def test_what_was_renamed_or_removed_is_warned_of(loaded):
    log = loaded[0].log_tail(1_000_000)
    for old, new in {"algo": "layout", "threads_per_tree": "chunk_size", "output_class": "is_classifier"}.items():
        assert f"The `{old}` parameter has been removed in 25.09 release. Use `{new}` instead." in log
    for gone in ("storage_type", "blocks_per_sm"):
        assert f"The `{gone}` parameter has been removed in 25.09 release." in log
    assert "use_experimental_optimizations option is deprecated." in log
    assert "Traceback" not in log


def test_gathered_rows_run_as_one_batch_and_come_apart_again(loaded):
    server = loaded[0]
    parts = [
        forests.rows(64)[start : start + size] for start, size in ((0, 1), (1, 2), (3, 3), (6, 1), (7, 10), (17, 5))
    ]
    before = server.statistics("dynamic")
    with ThreadPoolExecutor(len(parts)) as pool:
        answers = list(pool.map(lambda rows: server.infer("dynamic", {"input__0": rows})["output__0"], parts))
    assert np.allclose(np.concatenate(answers)[:, 1], JSON.answers[:22], atol=1e-6)
    after = small.counted(server, "dynamic", before["inference_count"] + sum(map(len, parts)))
    assert after["execution_count"] - before["execution_count"] < len(parts)


def test_shap_values_are_those_of_the_libraries(loaded):
    import xgboost as library

    rows = forests.rows()
    matrix = library.DMatrix(rows)
    found = {
        name: ask(loaded, name, rows, "treeshap_output")
        for name in CASES
        if name in ("shap", "shap_lightgbm", "shap_multi")
    }
    native = xgboost("multi:softprob").native.predict(matrix, pred_contribs=True)
    assert np.allclose(found["shap"], JSON.native.predict(matrix, pred_contribs=True), atol=1e-5)
    assert np.allclose(found["shap_multi"], native.reshape(64, -1), atol=1e-5) and found["shap_multi"].shape == (64, 12)
    assert np.allclose(found["shap_lightgbm"], lightgbm().native.predict(rows, pred_contrib=True), atol=1e-5)
    assert np.abs(found["shap"][:, :3]).max() > 0.1


def test_shap_values_of_a_random_forest_are_shapleys(loaded):
    found = ask(loaded, "shap_sklearn", output="treeshap_output").reshape(64, 2, 4)
    assert np.allclose(found.sum(axis=2), ask(loaded, "shap_sklearn"), atol=1e-5)
    assert np.allclose(found[:, 0], np.array([0, 0, 0, 1]) - found[:, 1], atol=1e-5)
    row = forests.rows()[2]
    assert np.isfinite(row).all() and np.allclose(found[2, 1, :3], shapley(sklearn().native, row), atol=1e-5)


def shapley(forest, row: np.ndarray) -> list[float]:
    """Shapley's definition: the mean over all orders of what a feature adds when those before it are known."""
    from itertools import permutations

    def expected(tree, known: set[int], node: int = 0) -> float:
        left, right = tree.children_left[node], tree.children_right[node]
        if left < 0:
            return tree.value[node][0, 1]
        if tree.feature[node] in known:
            return expected(tree, known, left if row[tree.feature[node]] <= tree.threshold[node] else right)
        weights = tree.weighted_n_node_samples
        return sum(expected(tree, known, child) * weights[child] for child in (left, right)) / weights[node]

    added = np.zeros(3)
    for order in permutations(range(3)):
        for place, feature in enumerate(order):
            for tree in forest.estimators_:
                before, after = set(order[:place]), set(order[: place + 1])
                added[feature] += expected(tree.tree_, after) - expected(tree.tree_, before)
    return added / 6 / len(forest.estimators_)


def test_evidence_says_what_ran_and_how_often(loaded):
    server, _, profiles = loaded
    for name in ("threads", "experimental"):
        ask(loaded, name)
    for name in ("threads", "experimental", "without_effect"):
        server.unload(name)
    found = evidence.READERS["fil"](profiles / "threads")
    assert found.nodes == {"Treelite GTIL tree float32": 5} and found.observed == "fp32"
    assert "xgboost_json, 1 threads" in found.how
    facts = json.loads(next((profiles / "experimental").glob("*.forest")).read_text())
    assert (facts["rows"], facts["calls"], facts["file"]) == (64, 1, "xgboost.json")
    with pytest.raises(evidence.MeasureError, match="no answered row"):
        evidence.READERS["fil"](profiles / "without_effect")


def test_a_broken_report_is_one_clear_error(tmp_path):
    (tmp_path / "x.forest").write_text("{}")
    with pytest.raises(evidence.MeasureError, match="holds no report of a forest"):
        evidence.READERS["fil"](tmp_path)


def test_the_table_of_keys_is_complete_and_stands_alone():
    assert len({key.name for key in keys.KEYS}) == len(keys.KEYS) == 15
    assert {id(key) for key in vars(keys).values() if isinstance(key, keys.Key)} == {id(key) for key in keys.KEYS}
    assert all(key.effect and key.source and set(key.eras) <= set(ERAS) for key in keys.KEYS)
    names = "|".join(key.name for key in keys.KEYS)
    named = re.compile(f"""["'](?:{names})["']""")
    sources = [path for path in Path(keys.__file__).parent.glob("*.py") if path.name != "keys.py"]
    assert len(sources) > 4 and not [path.name for path in sources if named.search(path.read_text())]


def test_a_gpu_instance_is_refused_with_the_reason():
    with pytest.raises(Refused, match="^KIND_GPU cannot be used in CPU-only build: .* nvForest .*write KIND_CPU"):
        settings.read(parsed(CASES["json"][0]), "GPU", pytest.fail)


@pytest.mark.parametrize(("text", "threads"), [(None, -1), ("", -1), ("4", 4), (" 3x", 3), ("abc", -1), ("-2", -2)])
def test_numbers_are_read_as_a_stream_reads_them(text, threads):
    parameters = {"is_classifier": "false", **({} if text is None else {keys.CPU_THREADS.name: text})}
    tensors = {"data_type": "TYPE_FP32", "dims": [3]}
    found = settings.read(
        {
            "max_batch_size": 1,
            "input": [{"name": settings.INPUT, **tensors}],
            "output": [{"name": settings.OUTPUT, **tensors}],
            "parameters": {key: {"string_value": value} for key, value in parameters.items()},
        },
        "CPU",
        pytest.fail,
    )
    assert found.threads == threads


def test_settings_are_refused_with_the_backends_own_exception():
    with pytest.raises(Refused, match="valid serialization format"):
        settings.read({"parameters": {"model_type": {"string_value": "pickle"}}}, "CPU", pytest.fail)
