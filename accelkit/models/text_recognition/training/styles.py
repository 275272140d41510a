"""Random styles of pictures: plain as a clean scan or screen shows words, hard as a bad photograph does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter, ImageFont

from accelkit.models.text_recognition.render import Colour, default_font, render


@dataclass(frozen=True)
class Style:
    """How a word is drawn: font size, padding (left, top, right, bottom) in pixels, colours, and what spoils it."""

    size: int
    padding: tuple[int, int, int, int]
    ink: Colour
    paper: Colour
    corners: tuple[float, ...] = ()  # 8 shifts of the corners as shares of the height, upper left first, clockwise
    blur: float = 0.0  # Gaussian radius as a share of the height
    noise: float = 0.0  # standard deviation in grey levels
    seed: int = 0  # of the noise


def draw(text: str, font: ImageFont.FreeTypeFont | None, style: Style) -> Image.Image:
    """An RGB picture of one line of text in that style; `font` None means Pillow's own at the style's size."""
    image = render(text, font or default_font(style.size), style.padding, style.ink, style.paper)
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


def _colours(generator: np.random.Generator, low: float, high: float) -> tuple[Colour, Colour]:
    """Ink and paper whose grey levels differ by low to high (of 255), either one the darker."""
    gap = generator.uniform(low, high)
    dark = generator.uniform(0, 255 - gap)
    pair = []
    for level in (dark, dark + gap):
        tint = generator.uniform(-28, 28, 3) * generator.integers(0, 2)
        tint -= tint @ [0.299, 0.587, 0.114]
        red, green, blue = np.clip(level + tint, 0, 255).astype(int)
        pair.append((int(red), int(green), int(blue)))
    return (pair[0], pair[1]) if generator.random() < 0.7 else (pair[1], pair[0])


def plain(generator: np.random.Generator) -> Style:
    """A random clean style: size, padding and well contrasting colours vary mildly."""
    left, top, right, bottom = (int(edge) for edge in generator.integers(1, 8, 4))
    ink, paper = _colours(generator, 110, 250)
    return Style(int(generator.integers(24, 41)), (left, top, right, bottom), ink, paper)


def hard(generator: np.random.Generator) -> Style:
    """A random spoiled style: perspective, blur, noise and low contrast at once."""
    left, top, right, bottom = (int(edge) for edge in generator.integers(2, 12, 4))
    ink, paper = _colours(generator, 40, 100)
    return Style(
        int(generator.integers(24, 41)),
        (left, top, right, bottom),
        ink,
        paper,
        corners=tuple(float(shift) for shift in generator.uniform(0, 0.22, 8)),
        blur=float(generator.uniform(0.01, 0.045)),
        noise=float(generator.uniform(3, 12)),
        seed=int(generator.integers(2**31)),
    )
