"""Draw the shipped pictures: `python -m accelkit.models.text_recognition.training.archive --fonts DIR --words FILE... --out FILE`.

DIR/fonts.csv is the table that `fonts` writes. Test and hard pictures are drawn in families and words that training never
saw, calibration pictures in those of training. The same fonts, word lists and library versions give the same archive.
"""

from __future__ import annotations

import argparse
import csv
import io
import zipfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from accelkit.models.text_recognition import data
from accelkit.models.text_recognition.training import fonts, styles, words

COUNTS = {"test": 4096, "hard": 1024, "calibration": 512}
QUALITY = 60
SEED = 20261201


@dataclass(frozen=True)
class Font:
    """A font family that pictures are drawn in: the splits that use it, its Debian package, its licence."""

    family: str
    splits: str
    package: str
    licence: str


def listed() -> tuple[Font, ...]:
    """The font families of all pictures in the archive, with package and licence."""
    with zipfile.ZipFile(data.ARCHIVE) as stored:
        return tuple(Font(**row) for row in csv.DictReader(io.StringIO(stored.read("fonts.csv").decode())))


def draw(split: str, faces: list[fonts.Face], vocabulary: list[str]) -> Iterable[tuple[data.Record, bytes]]:
    """The pictures of a split as WebP files: families in turn, no text twice, 30 % random strings exactly."""
    generator = np.random.default_rng([SEED, data.SPLITS.index(split)])
    families = sorted({face.family for face in faces})
    style = styles.hard if split == "hard" else styles.plain
    taken: set[str] = set()
    order = generator.permutation(COUNTS[split])
    for number, place in enumerate(order):
        family = families[place % len(families)]
        members = [face for face in faces if face.family == family]
        face = members[generator.integers(len(members))]
        share = float(place % 10 < 10 * words.RANDOM_SHARE)
        text, kind = words.draw(generator, vocabulary, split != "calibration", share)
        while text.lower() in taken:
            text, kind = words.draw(generator, vocabulary, split != "calibration", share)
        taken.add(text.lower())
        chosen = style(generator)
        stored = io.BytesIO()
        styles.draw(text, fonts.load(face.path, chosen.size), chosen).save(stored, "WEBP", quality=QUALITY, method=6)
        yield data.Record(f"{split}/{number:04}.webp", split, text, kind, family), stored.getvalue()


def write(directory: Path, lists: list[Path], out: Path) -> None:
    """The archive of all splits, with its tables pictures.csv and fonts.csv."""
    faces = {side: fonts.read_table(directory, side) for side in ("train", "test")}
    vocabulary = {side: words.vocabulary(lists, side == "test") for side in faces}
    records: list[data.Record] = []
    with zipfile.ZipFile(out, "w") as archive:
        for split in data.SPLITS:
            side = "train" if split == "calibration" else "test"
            for record, picture in draw(split, faces[side], vocabulary[side]):
                archive.writestr(zipfile.ZipInfo(record.file), picture)
                records.append(record)
        used: dict[str, Font] = {}
        for face in faces["test"] + faces["train"]:
            splits = sorted({record.split for record in records if record.family == face.family})
            if splits:
                used.setdefault(face.family, Font(face.family, " ".join(splits), face.package, face.licence))
        for name, rows in (("pictures.csv", records), ("fonts.csv", list(used.values()))):
            text = io.StringIO()
            table = csv.DictWriter(text, [field.name for field in fields(rows[0])], lineterminator="\n")
            table.writeheader()
            table.writerows(asdict(row) for row in rows)
            archive.writestr(zipfile.ZipInfo(name), text.getvalue(), zipfile.ZIP_DEFLATED)


def main() -> None:
    """Write the archive from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fonts", type=Path, required=True)
    parser.add_argument("--words", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, default=data.ARCHIVE)
    options = parser.parse_args()
    write(options.fonts, options.words, options.out)


if __name__ == "__main__":
    main()
