"""The shipped pictures: test, hard and calibration splits in one archive, so that everybody computes the same accuracy."""

from __future__ import annotations

import csv
import io
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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


@contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    """The archive, open; whatever is wrong with it or with what is read from it is a ModelError."""
    try:
        with zipfile.ZipFile(archive) as stored:
            yield stored
    except DAMAGE as error:
        reason = files.reason(error)
        raise ModelError(
            f"the picture archive {archive} is missing or damaged ({reason}): reinstall the kit"
        ) from error


@cache
def _table(archive: Path) -> tuple[Record, ...]:
    with _opened(archive) as stored:
        return tuple(Record(**row) for row in csv.DictReader(io.StringIO(stored.read("pictures.csv").decode())))


def records(split: str) -> tuple[Record, ...]:
    """The pictures of a split in their fixed, shuffled order; ModelError for an unknown split or a damaged archive."""
    if split not in SPLITS:
        raise ModelError(f"no split {split!r}: there are {', '.join(SPLITS)}")
    return tuple(record for record in _table(ARCHIVE) if record.split == split)


def images(chosen: Sequence[Record]) -> Iterator[Image.Image]:
    """The RGB pictures of records, in natural size; ModelError where the archive is damaged."""
    with _opened(ARCHIVE) as stored:
        for record in chosen:
            yield Image.open(io.BytesIO(stored.read(record.file))).convert("RGB")
