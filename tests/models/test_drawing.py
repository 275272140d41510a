"""Rendering, texts, fonts, the archive writer and a training run of seconds, in Pillow's own font."""

from __future__ import annotations

import argparse
import csv
import io
import sys

import numpy as np
import pytest
from PIL import Image

from accelkit import models
from accelkit.errors import ModelError
from accelkit.models.text_recognition import charset, data, render, weights
from accelkit.models.text_recognition.training import archive, fonts, styles, words


@pytest.fixture
def packages(tmp_path):
    """Two unpacked packages, one of them a test package, each with Pillow's own font and a copyright file."""
    for name, licence in (("fonts-somewhere", "CC0-1.0"), ("fonts-cabin", "OFL-1.1")):
        folder = tmp_path / "packages" / name / "usr" / "share"
        (folder / "doc" / name).mkdir(parents=True)
        (folder / "fonts").mkdir()
        (folder / "fonts" / f"{name}.ttf").write_bytes(render.default_font(20).font_bytes)
        (folder / "fonts" / "broken.ttf").write_bytes(b"no font")
        text = f"Format: 1\n\nFiles: *\nLicense: {licence}\n\nFiles: debian/*\nLicense: GPL-2\n"
        (folder / "doc" / name / "copyright").write_text(text)
    return tmp_path / "packages"


@pytest.fixture
def word_list(tmp_path):
    path = tmp_path / "words.txt"
    generator = np.random.default_rng(0)
    made_up = ["".join(generator.choice(list("aeioubcdfgst"), 6)) for _ in range(2000)]
    path.write_text("\n".join([*made_up, "It's", "naïve", "a", "x" * 20]))
    return path


def test_render_draws_what_the_model_reads():
    model = models.get()
    pytest.importorskip("onnxruntime")
    from accelkit.models.text_recognition.model import infer

    texts = ["Triton", "kernel42", "ACCELERATE", "x7q9"]
    inputs = model.preprocess([render.render(text) for text in texts])
    assert model.decode(infer(model.onnx(), inputs)) == [text.lower() for text in texts]


def test_nothing_to_draw_is_an_error():
    for text in ("", "   "):
        with pytest.raises(ModelError, match="nothing to draw"):
            render.render(text)


def test_styles_are_seeded_and_hard_differs():
    plain, hard = (make(np.random.default_rng(5)) for make in (styles.plain, styles.hard))
    assert plain == styles.plain(np.random.default_rng(5)) and not plain.corners and not plain.noise
    assert len(hard.corners) == 8 and hard.blur > 0 and hard.noise > 0
    again = [np.asarray(styles.draw("Word", None, hard)) for _ in range(2)]
    assert np.array_equal(*again)
    grey = [
        abs(int(Image.new("RGB", (1, 1), s.ink).convert("L").getpixel((0, 0))) - sum(s.paper) / 3)
        for s in (plain, hard)
    ]
    assert grey[0] > 60


def test_texts_of_the_splits_never_meet(word_list):
    train, test = words.vocabulary([word_list], False), words.vocabulary([word_list], True)
    assert train and test and not set(train) & set(test) and "naïve" not in train + test and "a" not in train + test
    generator = np.random.default_rng(2)
    for is_test, vocabulary in ((False, train), (True, test)):
        drawn = [words.draw(generator, vocabulary, is_test, 0.5) for _ in range(400)]
        assert {kind for _, kind in drawn} == set(words.KINDS)
        for text, kind in drawn:
            assert words.held_out(text) == is_test and charset.fits(text)
            assert text in (text.lower(), text.upper(), text.capitalize())
            if kind == "mixed":
                assert not set(text.lower()) & words.ALIKE and not text.isalpha() and not text.isdigit()
            elif kind != "word":
                assert not set(text.lower()) <= words.ALIKE


def test_fonts_are_found_split_by_package_with_licence(packages, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["fonts", str(packages), str(packages)])
    fonts.main()
    train, test = fonts.read_table(packages, "train"), fonts.read_table(packages, "test")
    assert [(face.package, face.licence) for face in train] == [("fonts-somewhere", "CC0-1.0")]
    assert [(face.package, face.licence) for face in test] == [("fonts-cabin", "OFL-1.1")]
    assert fonts.usable(train[0].path)


def test_archive_is_written_again_the_same(packages, word_list, tmp_path, monkeypatch):
    fonts.write_table(fonts.scan(packages), packages / "fonts.csv")
    monkeypatch.setattr(archive, "COUNTS", {"test": 20, "hard": 10, "calibration": 10})
    monkeypatch.setattr(
        sys, "argv", ["archive", "--fonts", str(packages), "--words", str(word_list), "--out", str(tmp_path / "a.zip")]
    )
    archive.main()
    archive.write(packages, [word_list], tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    monkeypatch.setattr(data, "ARCHIVE", tmp_path / "a.zip")
    assert [len(data.records(split)) for split in data.SPLITS] == [20, 10, 10]
    assert len(list(data.images(data.records("test")))) == 20
    assert sum(record.kind == "word" for record in data.records("test")) == 14
    rows = list(
        csv.DictReader(
            io.StringIO("\n".join(",".join((f.family, f.splits)) for f in archive.listed())), ["family", "splits"]
        )
    )
    assert len(rows) == len(archive.listed())


def test_training_runs_and_writes_float16_weights(packages, word_list, tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    from accelkit.models.text_recognition.training import train

    monkeypatch.setattr(train, "CHUNK", 32)
    fonts.write_table(fonts.scan(packages), packages / "fonts.csv")
    options = argparse.Namespace(
        fonts=packages, words=[word_list], out=tmp_path / "out", minutes=0.02, width=16, batch=8, rate=1e-3,
        workers=1, pool=512, first=32, check=8, report=0.5, compile=False,
    )  # fmt: skip
    facts = train.train(options)
    assert facts["steps"] > 0 and facts["torch"] == torch.__version__ and (tmp_path / "out" / "training.json").is_file()
    state = weights.load(tmp_path / "out" / "small.safetensors")
    assert state["Prediction.weight"].shape == (37, 16) and all(np.isfinite(value).all() for value in state.values())
    x = torch.rand(4, 1, 32, 100) * 2 - 1
    assert train.augment(x).shape == x.shape
    assert train.rate(0, 1) < train.rate(0.04, 1) and train.rate(1, 1) < 0.01
    targets, lengths = train.encode(["ab0", "Z"])
    assert targets[0, :4].tolist() == [11, 12, 1, 0] and lengths.tolist() == [3, 1]
