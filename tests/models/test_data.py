"""The shipped pictures: counts, split between training and test, licences; and damaged archives."""

from __future__ import annotations

import zipfile
from collections import Counter

import pytest

from accelkit.errors import ModelError
from accelkit.models.text_recognition import charset, data
from accelkit.models.text_recognition.training import archive, fonts, words


def test_splits_have_what_the_card_says():
    for split, count in (("test", 4096), ("hard", 1024), ("calibration", 512)):
        records = data.records(split)
        kinds = Counter(record.kind for record in records)
        assert len(records) == count and {record.split for record in records} == {split}
        assert kinds["word"] / count == pytest.approx(0.7, abs=0.005) and set(kinds) == set(words.KINDS)
        assert len({record.text.lower() for record in records}) == count
        assert all(charset.fits(record.text) and record.text.isalnum() and record.text.isascii() for record in records)


def test_no_text_and_no_family_of_test_or_hard_is_in_training():
    unseen = data.records("test") + data.records("hard")
    assert all(words.held_out(record.text) for record in unseen)
    assert not any(words.held_out(record.text) for record in data.records("calibration"))
    package = {font.family: font.package for font in archive.listed()}
    families = {record.family for record in unseen}
    assert len(families) >= 20 and {package[family] for family in families} <= fonts.TEST_PACKAGES
    known = {record.family for record in data.records("calibration")}
    assert len(known) >= 80 and not known & families and not {package[family] for family in known} & fonts.TEST_PACKAGES


def test_every_family_names_its_licence():
    listed = {font.family: font for font in archive.listed()}
    for split in data.SPLITS:
        for record in data.records(split):
            assert split in listed[record.family].splits.split() and listed[record.family].licence


def test_every_picture_opens_in_natural_size():
    sizes = [picture.size for picture in data.images(data.records("test")[:200])]
    assert len(set(sizes)) > 100 and all(width < 900 and 10 < height < 90 for width, height in sizes)


def test_unknown_split():
    with pytest.raises(ModelError, match="test, hard, calibration"):
        data.records("train")


@pytest.mark.parametrize("damage", ["missing", "text", "cut", "no table", "flipped"])
def test_damaged_archive_is_one_clear_error(tmp_path, monkeypatch, damage):
    content, path = data.ARCHIVE.read_bytes(), tmp_path / "images.zip"
    if damage == "text":
        path.write_text("no archive")
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "no table":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("pictures.csv", "file,split\ntest/0000.webp,test\n")
    elif damage == "flipped":
        path.write_bytes(content[:200] + bytes(100) + content[300:])
    monkeypatch.setattr(data, "ARCHIVE", path)
    with pytest.raises(ModelError, match="images.zip") as caught:
        list(data.images(data.records("test")[:3]))
    assert "\n" not in str(caught.value)
