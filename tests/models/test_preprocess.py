"""Pictures to inputs, and files that are no pictures."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from accelkit.errors import ModelError
from accelkit.models.text_recognition import preprocess
from accelkit.models.text_recognition.render import render


def test_inputs_follow_the_definition():
    picture = render("Kit42")
    expected = np.asarray(picture.convert("L").resize((100, 32), Image.Resampling.BICUBIC), np.float64)
    inputs = preprocess.preprocess(picture)
    assert inputs.shape == (1, 1, 32, 100) and inputs.dtype == np.float32
    assert np.abs(inputs[0, 0] - ((expected / 255) - 0.5) / 0.5).max() < 1e-6
    assert inputs.min() >= -1 and inputs.max() <= 1


def test_several_pictures_and_none():
    pictures = [render("a1"), render("bb").convert("L"), render("c").convert("1")]
    assert np.array_equal(preprocess.preprocess(iter(pictures))[:1], preprocess.preprocess(pictures[0]))
    assert preprocess.preprocess([]).shape == (0, 1, 32, 100)


def test_transparency_is_drawn_on_white(tmp_path):
    picture = Image.new("RGBA", (60, 20), (0, 0, 0, 0))
    picture.save(tmp_path / "clear.png")
    assert preprocess.preprocess(preprocess.open_image(tmp_path / "clear.png")).min() == 1


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    grey = np.asarray(render("deep").convert("L"))
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    assert np.array_equal(np.asarray(preprocess.open_image(tmp_path / "deep.png")), grey)


@pytest.mark.parametrize("content", [b"", b"not a picture at all", b"\x89PNG\r\n\x1a\n" + b"\0" * 50])
def test_what_is_no_picture_is_one_clear_error(tmp_path, content):
    path = tmp_path / "word.png"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="word.png") as caught:
        preprocess.open_image(path)
    assert "\n" not in str(caught.value)


def test_cut_missing_and_directory(tmp_path):
    render("word").save(tmp_path / "cut.png")
    content = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    for path in (tmp_path / "cut.png", tmp_path / "missing.png", tmp_path):
        with pytest.raises(ModelError, match=path.name):
            preprocess.open_image(path)
