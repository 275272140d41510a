"""Random styles of pictures: plain as a clean scan or screen shows words, hard as a bad photograph does."""

from __future__ import annotations

import numpy as np

from accelkit.models.text_recognition.render import Colour, Style


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
