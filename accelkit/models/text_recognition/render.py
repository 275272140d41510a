"""Words as pictures, clean or spoiled as their style says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from accelkit.errors import ModelError

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Style:
    """How a word is drawn: font size, padding (left, top, right, bottom) in pixels, colours, and what spoils it."""

    size: int = 32
    padding: tuple[int, int, int, int] = (6, 4, 6, 4)
    ink: Colour = (20, 20, 20)
    paper: Colour = (245, 245, 245)
    corners: tuple[float, ...] = ()  # 8 shifts of the corners as shares of the height, upper left first, clockwise
    blur: float = 0.0  # Gaussian radius as a share of the height
    noise: float = 0.0  # standard deviation in grey levels
    seed: int = 0  # of the noise


def default_font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font that comes with Pillow, at that size in pixels."""
    return ImageFont.load_default(size=size)


def render(text: str, font: ImageFont.FreeTypeFont | None = None, style: Style | None = None) -> Image.Image:
    """An RGB picture of one line of text, in natural size; `font` None means Pillow's own at the style's size."""
    style = style or Style()
    drawn_in = font or default_font(style.size)
    left, top, right, bottom = (round(edge) for edge in drawn_in.getbbox(text))
    if right <= left or bottom <= top:
        raise ModelError(f"nothing to draw in the text {text!r}: give letters or digits")
    before, above, after, below = style.padding
    size = (right - left + before + after, bottom - top + above + below)
    image = Image.new("RGB", size, style.paper)
    ImageDraw.Draw(image).text((before - left, above - top), text, style.ink, drawn_in)
    if style.corners:
        image = _bend(image, style)
    if style.blur:
        image = image.filter(ImageFilter.GaussianBlur(style.blur * image.height))
    if style.noise:
        grain = np.random.default_rng(style.seed).normal(0, style.noise, (image.height, image.width, 1))
        image = Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))
    return image


def _bend(image: Image.Image, style: Style) -> Image.Image:
    """The picture seen from aside: its corners moved inwards by the style's shifts, paper around it."""
    width, height = image.size
    shift = np.abs(np.array(style.corners).reshape(4, 2)) * height * [[1, 1], [-1, 1], [-1, -1], [1, -1]]
    source = np.array([[0, 0], [width, 0], [width, height], [0, height]], float)
    rows, values = [], []
    for (x, y), (u, v) in zip(source + shift, source, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    coefficients = np.linalg.solve(np.array(rows), np.array(values)).tolist()
    bicubic = Image.Resampling.BICUBIC
    return image.transform(image.size, Image.Transform.PERSPECTIVE, coefficients, bicubic, fillcolor=style.paper)
