"""Font families for training and for the shipped pictures, found in unpacked Debian packages and kept apart.

`python -m accelkit.models.text_recognition.training.fonts PACKAGES OUT` reads PACKAGES/<package>/ (each unpacked with `dpkg -x`) and
writes OUT/fonts.csv: one row a face. The split goes by package, so that no family, and none of its relatives, is in both.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path

import numpy as np
from PIL import ImageFont

from accelkit.models.text_recognition.charset import CHARSET

TEST_PACKAGES = frozenset(
    f"fonts-{name}"
    for name in """adf-accanthis adf-gillius allerta arapey b612 cabin cardo clear-sans comfortaa comic-neue courier-prime
    dosis ebgaramond ebgaramond-extra fantasque-sans inconsolata jetbrains-mono jura karla manrope national-park oldstandard
    opendin oxygen paratype play prociono quattrocento sil-andika sora tuffy vollkorn yanone-kaffeesatz""".split()
)
UNFIT = re.compile(  # symbols, Greek in the place of Latin letters, guide lines, keys, holes, ruled or small-capital duplicates
    r"Alfa-beta|Ellhnikh|D050000L|Symbol|Keyboard|Abecedario_|Wargames|oraeorae|Math| SC$|Monoisome|DkgHandwriting|Joscelyn"
)
FACES_PER_FAMILY = {"train": 8, "test": 4}
SYMBOLS = CHARSET + CHARSET[10:].upper()


@dataclass(frozen=True)
class Face:
    """A font file: the family it belongs to, its split (train or test), its Debian package, the family's licence."""

    path: str
    family: str
    split: str
    package: str
    licence: str


@cache
def load(path: str, size: int) -> ImageFont.FreeTypeFont:
    """The font in a file at a size in pixels, without ligatures."""
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


def glyph(path: str, symbol: str) -> np.ndarray:
    """Coverage 0 to 255 of one symbol at 48 pixels, cropped to its ink."""
    mask = load(path, 48).getmask(symbol)
    box = mask.getbbox()
    return (
        np.asarray(mask.crop(box), np.uint8).reshape(box[3] - box[1], box[2] - box[0])
        if box
        else np.empty((0, 0), np.uint8)
    )


def usable(path: str) -> bool:
    """Whether a font draws all 62 letters and digits, and the 36 symbols so that they can be told apart in lower case."""
    try:
        blank = glyph(path, "\ufffe").tobytes()
        drawn = {symbol: glyph(path, symbol).tobytes() for symbol in SYMBOLS}
    except OSError:
        return False
    lower = [drawn[symbol] for symbol in CHARSET]
    return all(drawn.values()) and blank not in drawn.values() and len(set(lower)) == len(lower)


def family_of(path: str) -> str:
    """The family's name in a font file, weight and width words left out."""
    name = load(path, 48).getname()[0] or Path(path).stem
    dull = r"\b(thin|hairline|extra|ultra|light|semi|demi|medium|bold|black|heavy|condensed|cond|narrow|italic|book|regular|\d+pt)\b"
    return re.sub(r"\s+", " ", re.sub(dull, "", name, flags=re.IGNORECASE)).strip(" -") or name


def licence_of(package: Path) -> str:
    """The licences that a package's copyright file names for its fonts, those of the packaging left out."""
    text = next(package.glob("usr/share/doc/*/copyright")).read_text(errors="replace")
    found: dict[str, None] = {}
    for stanza in re.split(r"\n\s*\n", text):
        if files := re.search(r"^Files:(.*(?:\n\s.*)*)", stanza, re.MULTILINE):
            licence = re.search(r"^License: *(\S.*)", stanza, re.MULTILINE)
            if licence and "debian/" not in files[1]:
                found[licence[1].strip()] = None
    if not found:
        known = {
            "sil open font": "OFL-1.1",
            "bitstream": "Bitstream-Vera",
            "gpl": "GPL",
            "public domain": "public-domain",
        }
        found = {name: None for words, name in known.items() if words in text.lower()} or {
            "see the package's copyright file": None
        }
    return " and ".join(found)


def _inspect(path: str) -> tuple[str, str] | None:
    return (path, family_of(path)) if usable(path) else None


def _rank(path: str) -> tuple[bool, bool, str]:
    """Plain styles of a family first."""
    style = (load(path, 48).getname()[1] or "").lower()
    return (style not in ("regular", "bold", "italic", "bold italic", "book", "roman"), "bold" not in style, path)


def scan(packages: Path) -> list[Face]:
    """The usable faces under PACKAGES/<package>/, a limited number of each family, in a fixed order."""
    paths = sorted(
        str(path) for path in packages.rglob("*") if path.suffix.lower() in (".ttf", ".otf") and path.is_file()
    )
    paths = [
        path
        for path in paths
        if not re.search(r"Noto(Sans|Serif|Naskh|Nasta|Kufi|Rashi|Music|Trad)(?!-|Mono-|Display-)", path)
    ]
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        found = [item for item in pool.map(_inspect, paths, chunksize=16) if item]
    families: dict[tuple[str, str], list[str]] = {}
    for path, family in found:
        if UNFIT.search(family):
            continue
        package = Path(path).relative_to(packages).parts[0]
        families.setdefault((package, family), []).append(path)
    faces = []
    for (package, family), members in sorted(families.items()):
        split = "test" if package in TEST_PACKAGES else "train"
        licence = licence_of(packages / package)
        for path in sorted(members, key=_rank)[: FACES_PER_FAMILY[split]]:
            faces.append(Face(str(Path(path).relative_to(packages)), family, split, package, licence))
    return faces


def write_table(faces: Iterable[Face], path: Path) -> None:
    """A CSV file of faces."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Face)])
        writer.writeheader()
        writer.writerows(asdict(face) for face in faces)


def read_table(directory: Path, split: str) -> list[Face]:
    """The faces of a split in DIRECTORY/fonts.csv, their paths made absolute."""
    with (directory / "fonts.csv").open(newline="") as file:
        faces = [Face(**row) for row in csv.DictReader(file)]
    return [Face(**(asdict(face) | {"path": str(directory / face.path)})) for face in faces if face.split == split]


def main() -> None:
    """Write the table of faces."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packages", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    write_table(scan(options.packages), options.out / "fonts.csv")


if __name__ == "__main__":
    main()
