"""The shipped pictures: test, hard and calibration splits in one archive, so that everybody computes the same accuracy."""

from __future__ import annotations

import csv
import io
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image

from accelkit.errors import ModelError
from accelkit.models import files

ARCHIVE = Path(__file__).parent / "assets" / "images.zip"
SPLITS = ("test", "hard", "calibration")
DAMAGE = (OSError, KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Record:
    """One picture: its file in the archive, its split, the text as drawn, the kind of text, the font family."""

    file: str
    split: str
    text: str
    kind: str
    family: str


def digest() -> str:
    """16 hexadecimal digits of the archive's content."""
    return files.digest(ARCHIVE)


@cache
def _table(archive: Path) -> tuple[Record, ...]:
    try:
        with zipfile.ZipFile(archive) as stored:
            return tuple(Record(**row) for row in csv.DictReader(io.StringIO(stored.read("pictures.csv").decode())))
    except DAMAGE as error:
        raise _damaged(archive, error) from error


def _damaged(archive: Path, error: Exception) -> ModelError:
    return ModelError(f"the picture archive {archive} is missing or damaged ({files.reason(error)}): reinstall the kit")


def records(split: str) -> tuple[Record, ...]:
    """The pictures of a split in their fixed, shuffled order; ModelError for an unknown split or a damaged archive."""
    if split not in SPLITS:
        raise ModelError(f"no split {split!r}: there are {', '.join(SPLITS)}")
    return tuple(record for record in _table(ARCHIVE) if record.split == split)


def images(chosen: Sequence[Record]) -> Iterator[Image.Image]:
    """The RGB pictures of records, in natural size; ModelError where the archive is damaged."""
    try:
        with zipfile.ZipFile(ARCHIVE) as stored:
            for record in chosen:
                yield Image.open(io.BytesIO(stored.read(record.file))).convert("RGB")
    except DAMAGE as error:
        raise _damaged(ARCHIVE, error) from error
