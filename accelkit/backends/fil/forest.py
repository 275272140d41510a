"""A forest as the official backend loads it for a configuration, held against that configuration, and its answers."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import treelite

from accelkit.backends import host
from accelkit.backends.fil import keys
from accelkit.backends.fil.settings import OUTPUT, SHAP, Settings
from accelkit.backends.key import Refused

MULTICLASS = 2
_NAMES = {
    "xgboost": "an XGBoost file in the legacy binary form", "xgboost_json": "an XGBoost JSON file",
    "xgboost_ubj": "an XGBoost UBJSON file (XGBoost 2.1 and later write this form unless the name ends in .json)",
    "lightgbm": "a LightGBM text file", "treelite_checkpoint": "a Treelite checkpoint",
}  # fmt: skip
_PLACE = re.compile(r"^\[[\d:]+\] \S+:\d+: ")


def locate(repository: str, version: str, config: Mapping[str, Any], settings: Settings) -> Path:
    """The forest's file; Refused when it is not there, with the model_type that a file which is there would need."""
    path = host.model_file(repository, version, config, keys.FILES[settings.model_type])
    if path.is_dir():
        path = path / keys.FILES[settings.model_type]
    if path.is_file():
        return path
    there = [f"{name} is there, for which {keys.MODEL_TYPE.name} must be {kind}"
             for kind, name in keys.FILES.items() if (path.parent / name).is_file()]  # fmt: skip
    raise Refused("; ".join([f'Could not open model file "{path}"', *there]))


def load(path: Path, settings: Settings) -> treelite.Model:
    """The Treelite model in a file; Refused for what is no file of its model_type, and for every pickle, unread."""
    content = path.read_bytes()
    kind = _kind(content[:64])
    if kind == "pickle":
        raise Refused(
            f"{path} is a Python pickle, which this backend never loads: reading one runs the code in it. Convert the model where "
            f"it was trained, with treelite.sklearn.import_model(model).serialize('checkpoint.tl'), and set {keys.MODEL_TYPE.name} "
            "to treelite_checkpoint"
        )
    if kind and kind != settings.model_type:
        raise Refused(
            f"{path} is {_NAMES[kind]}, not {_NAMES[settings.model_type].partition(' (')[0]}: set {keys.MODEL_TYPE.name} to {kind}"
        )
    whole = settings.model_type != "lightgbm" or b"end of trees" in content
    try:
        if not content or not whole:
            raise treelite.TreeliteError("the file is empty" if not content else "the file ends before its last tree")
        if settings.model_type == "xgboost":
            return treelite.frontend.load_xgboost_model_legacy_binary(path)
        if settings.model_type == "lightgbm":
            return treelite.frontend.load_lightgbm_model(path)
        if settings.model_type == "treelite_checkpoint":
            return treelite.Model.deserialize(path)
        form = "json" if settings.model_type == "xgboost_json" else "ubjson"
        return treelite.frontend.load_xgboost_model(
            path, format_choice=form, allow_unknown_field=settings.unknown_fields
        )
    except (treelite.TreeliteError, UnicodeDecodeError) as error:
        reason = " ".join(_PLACE.sub("", str(error)).split())[:240]
        raise Refused(f"{path} cannot be loaded as {settings.model_type}: {reason}") from None


def _kind(head: bytes) -> str | None:
    """What a file looks like by its first bytes: a model_type, pickle, or None."""
    major, minor = (int.from_bytes(head[start : start + 4], "little") for start in (0, 4))
    signs = {
        "pickle": head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"),
        "xgboost_ubj": head[:1] == b"{" and head[1:2] in b"iUIlL$#" and len(head) > 1,
        "xgboost_json": head.split()[:1] == [b"{"] or head.lstrip()[:2] == b'{"',
        "lightgbm": head.startswith(b"tree\n"),
        "xgboost": head[:4] in (b"binf", b"bs64", b"\0\0\0\x3f"),
        "treelite_checkpoint": 3 <= major <= 9 and minor < 100 and len(head) >= 12,
    }
    return next((kind for kind, sure in signs.items() if sure), None)


class Forest:
    """Answers rows as the official backend does on a CPU."""

    def __init__(self, path: Path, settings: Settings):
        self._settings, self.model = settings, load(path, settings)
        header = self.model.get_header_accessor()
        if int(header.get_field("num_target")[0]) != 1:
            raise Refused("Multi-target model not supported")
        self.classes = int(header.get_field("num_class")[0])
        if settings.probabilities and header.get_field("task_type")[0] == MULTICLASS:
            vector = int(header.get_field("leaf_vector_shape")[1]) > 1
            header.set_field("postprocessor", "identity_multiclass" if vector else "softmax")
        self._check()
        if settings.shap is not None:
            from accelkit.backends.fil import shap

            self._explain = shap.Explainer(self.model).explain

    def _check(self) -> None:
        """Refuse dims that are not the forest's: the official backend would read and write beside its buffers."""
        settings, features = self._settings, self.model.num_feature
        if settings.features != features:
            raise Refused(f"the forest has {features} features, but the configuration's input has {settings.features}")
        allowed = [self.classes]
        if settings.classifier:
            allowed = ([1, 2] if self.classes == 1 else allowed) if settings.probabilities else [1]
        wanted = {OUTPUT: (settings.output, allowed), SHAP: (settings.shap, [self.classes * (features + 1)])}
        for name, (dims, sizes) in wanted.items():
            if dims is not None and math.prod(dims) not in sizes:
                able = " or ".join(map(str, sizes))
                raise Refused(
                    f"output '{name}' of this forest has {able} values for each row, but the configuration has {list(dims)}"
                )

    def answer(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Outputs float32 by name for rows float32 [N, features]; dims of 1 vanish, as they do in the official backend."""
        settings = self._settings
        raw = treelite.gtil.predict(self.model, rows, nthread=settings.threads)
        scores = raw.reshape(len(rows), self.classes).astype(np.float32, copy=False)
        if settings.classifier and not settings.probabilities:
            if self.classes > 1:
                scores = np.maximum(scores, 0).argmax(axis=1).astype(np.float32)
            else:
                scores = (scores > np.float32(settings.threshold)).astype(np.float32)
        elif math.prod(settings.output) > self.classes:
            scores = np.concatenate([1 - scores, scores], axis=1)
        found = {OUTPUT: _shaped(scores, settings.output)}
        if settings.shap is not None:
            found[SHAP] = _shaped(self._explain(rows), settings.shap)
        return found

    def facts(self) -> dict[str, Any]:
        """The engine and the forest as they are."""
        threads = self._settings.threads
        return {
            "engine": "Treelite GTIL", "treelite": treelite.__version__, "form": self._settings.model_type,
            "trees": self.model.num_tree, "features": self.model.num_feature, "classes": self.classes,
            "numbers": self.model.input_type, "threads": threads if threads > 0 else len(os.sched_getaffinity(0)),
        }  # fmt: skip


def _shaped(values: np.ndarray, dims: tuple[int, ...]) -> np.ndarray:
    return np.ascontiguousarray(values).reshape(len(values), *(dim for dim in dims if dim != 1))
