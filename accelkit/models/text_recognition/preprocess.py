"""Pictures to model inputs: the one function that reference, client, benchmarks and training share."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from accelkit.errors import ModelError
from accelkit.models import files

WIDTH, HEIGHT = 100, 32


def open_image(path: str | Path) -> Image.Image:
    """The picture in a file, upright, transparency on white; ModelError where there is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                image.load()
                upright = ImageOps.exif_transpose(image)
    except FileNotFoundError:
        raise ModelError(f"no picture {path}: check the path") from None
    except Exception as error:  # Pillow's readers raise many kinds for damaged files
        reason = "it is not a picture" if isinstance(error, Image.UnidentifiedImageError) else files.reason(error)
        raise ModelError(f"cannot read the picture {path}: {reason}; give a PNG, JPEG or WebP file") from error
    if upright.mode.startswith("I"):  # 16 bits a pixel, which Pillow would clip rather than scale
        upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
    if upright.has_transparency_data:
        upright = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright)
    return upright


def pixels(image: Image.Image) -> np.ndarray:
    """Grey values uint8 [32, 100] of a picture of any size and mode, its proportions not kept."""
    return np.asarray(image.convert("L").resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))


def normalize(grey: np.ndarray) -> np.ndarray:
    """Model inputs float32 [N, 1, 32, 100] in -1 to 1 from grey values uint8 [N, 32, 100]."""
    return ((grey.astype(np.float32) / 255 - 0.5) / 0.5)[:, None]


def preprocess(images: Image.Image | Iterable[Image.Image]) -> np.ndarray:
    """Model inputs float32 [N, 1, 32, 100] from one picture or several."""
    several = [images] if isinstance(images, Image.Image) else list(images)
    if not several:
        return np.empty((0, 1, HEIGHT, WIDTH), np.float32)
    return normalize(np.stack([pixels(image) for image in several]))
