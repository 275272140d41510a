"""Words as pictures, as a clean scan or a screen shows them."""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFont

from accelkit.errors import ModelError

Colour = tuple[int, int, int]


def default_font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font that comes with Pillow, at that size in pixels."""
    return ImageFont.load_default(size=size)


def render(
    text: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont | None = None,
    padding: tuple[int, int, int, int] = (6, 4, 6, 4),
    ink: Colour = (20, 20, 20),
    paper: Colour = (245, 245, 245),
) -> Image.Image:
    """An RGB picture of one line of text, in natural size; `font` None means Pillow's own, `padding` is left to bottom."""
    drawn_in = font or default_font(32)
    left, top, right, bottom = (round(edge) for edge in drawn_in.getbbox(text))
    if right <= left or bottom <= top:
        raise ModelError(f"nothing to draw in the text {text!r}: give letters or digits")
    before, above, after, below = padding
    image = Image.new("RGB", (right - left + before + after, bottom - top + above + below), paper)
    ImageDraw.Draw(image).text((before - left, above - top), text, ink, drawn_in)
    return image
