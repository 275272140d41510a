"""Two panels for notebooks, thin shells over plain functions; both work without a browser and print as text."""

from __future__ import annotations

import dataclasses
import html
import io
from collections.abc import Callable, Mapping
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

from accelkit import advice
from accelkit.errors import AccelkitError, MissingPackage, ServerError

try:
    import ipywidgets
except ImportError:
    raise MissingPackage("ipywidgets", "lessons", "a panel") from None

if TYPE_CHECKING:
    from PIL.Image import Image

    from accelkit.machine import Machine
    from accelkit.serving import Server

Reader = Callable[["Image"], str]


@dataclasses.dataclass(frozen=True)
class Reading:
    """A word drawn as a picture, what each path read in it, and why a path read nothing."""

    word: str
    picture: Image
    read: dict[str, str]
    failed: dict[str, str] = dataclasses.field(default_factory=dict)


def reader(server: Server, name: str, model: Any) -> Reader:
    """Return a function that reads one picture through the served model `name`, whatever its tensors are called there."""

    def read(picture: Image) -> str:
        config = server.config(name)
        outputs = server.infer(name, {config["input"][0]["name"]: model.preprocess([picture])})
        return model.decode(outputs[config["output"][0]["name"]])[0]

    return read


def recognise(word: str, readers: Mapping[str, Reader]) -> Reading:
    """Draw a word and let every path read it; raises ModelError for a word with nothing to draw, ServerError without a server.

    A path whose request fails has its reason, the others are read.
    """
    from accelkit.models.text_recognition.render import render

    reading = Reading(word, render(word), {})
    for path, read in readers.items():
        try:
            reading.read[path] = read(reading.picture)
        except ServerError:
            raise
        except AccelkitError as error:
            reading.failed[path] = str(error)
    return reading


def differences(word: str, read: str) -> tuple[str, str]:
    """Align what was read with the word, case and signs aside: its letters (· if missing), and ^ under what differs."""
    wanted = "".join(letter for letter in word.lower() if letter.isascii() and letter.isalnum())
    letters, marks = "", ""
    for kind, start, end, begin, stop in SequenceMatcher(None, wanted, read, autojunk=False).get_opcodes():
        width = max(end - start, stop - begin)
        letters += read[begin:stop].ljust(width, "·")
        marks += (" " if kind == "equal" else "^") * width
    return letters, marks


def reading_text(reading: Reading) -> str:
    """Return a reading as text: one line for each path, with a line of ^ under letters that differ."""
    lines = [f"{'you typed':<24} {reading.word}"]
    for path, read in reading.read.items():
        letters, marks = differences(reading.word, read)
        wrong = marks.count("^")
        verdict = "all letters agree" if not wrong else f"{wrong} differ{'s' if wrong == 1 else ''}"
        lines.append(f"{path:<24} {letters}   {verdict}" + (f"\n{'':<24} {marks}" if wrong else ""))
    lines += [f"{path:<24} nothing: {reason}" for path, reason in reading.failed.items()]
    return "\n".join(lines)


def reading_html(reading: Reading) -> str:
    """Return a reading as HTML: letters that differ are bold, underlined and in brackets, so no colour is needed."""
    rows = []
    for path, read in reading.read.items():
        pairs = zip(*differences(reading.word, read), strict=True)
        shown = "".join(f"<b><u>[{html.escape(a)}]</u></b>" if mark == "^" else html.escape(a) for a, mark in pairs)
        rows.append((html.escape(path), shown))
    rows += [
        (html.escape(path), f"<small>nothing: {html.escape(reason)}</small>") for path, reason in reading.failed.items()
    ]
    cells = [("you typed", html.escape(reading.word)), *rows]
    style = "font-family:monospace;font-size:1.4em;text-align:left;padding-left:2em"
    table = "".join(f"<tr><td>{name}</td><td style='{style}'>{word}</td></tr>" for name, word in cells)
    return f"<table>{table}</table>"


class Panel(ipywidgets.VBox):
    """A box of widgets that prints as `fallback` where there is no browser."""

    fallback = ""

    def _repr_mimebundle_(self, **options: Any) -> dict[str, str]:
        return {**(super()._repr_mimebundle_(**options) or {}), "text/plain": self.fallback}


def recognise_panel(readers: Mapping[str, Reader], word: str = "Triton") -> Panel:
    """Return a panel: type a word (or set `panel.word.value`), see it drawn, see what each path reads."""
    field = ipywidgets.Text(word, description="Word", continuous_update=False, placeholder="letters and digits")
    natural = {"height": "48px", "width": "max-content", "align_self": "flex-start", "margin": "4px 0 8px 90px"}
    picture, answer = ipywidgets.Image(format="png", layout=natural), ipywidgets.HTML()
    panel = Panel([field, picture, answer])
    panel.word = field

    def show(_: Any = None) -> None:
        try:
            reading = recognise(field.value.strip(), readers)
        except AccelkitError as error:
            ended = isinstance(error, ServerError)
            panel.fallback = "The server has ended: run the cells from the one that starts it." if ended else str(error)
            picture.value, answer.value = b"", html.escape(panel.fallback)
            return
        stream = io.BytesIO()
        reading.picture.save(stream, "png")
        picture.value, answer.value, panel.fallback = stream.getvalue(), reading_html(reading), reading_text(reading)

    field.observe(show, "value")
    show()
    return panel


def decision_panel(machine: Machine | None = None) -> Panel:
    """Return a panel that asks the questions of the decision tree; GPU and CPU are filled in from the machine."""
    from accelkit import machine as probing

    found = machine or probing.probe()
    start = advice.known(len(found.gpus), found.isa)
    fields = {
        key: ipywidgets.Dropdown(
            options=[(label, answer) for answer, label in about["answers"].items()],
            value=start.get(key, next(iter(about["answers"]))),
            description=about["ask"],
            style={"description_width": "280px"},
            layout={"width": "640px"},
        )
        for key, about in advice.QUESTIONS.items()
    }
    shown = ipywidgets.HTML()
    panel = Panel([*fields.values(), shown])
    panel.fields = fields

    def show(_: Any = None) -> None:
        asked = advice.walk({key: field.value for key, field in fields.items()})
        for key, field in fields.items():
            field.disabled = key != "goal" and advice.QUESTIONS[key]["ask"] not in dict(asked.trail)
        panel.fallback = advice.text(asked)
        shown.value = f"<pre style='white-space:pre-wrap'>{html.escape(panel.fallback)}</pre>"

    for field in fields.values():
        field.observe(show, "value")
    show()
    return panel
