"""The panels without a browser: setting a value fires the handlers, and text says the same as the widgets."""

from __future__ import annotations

import pytest

pytest.importorskip("ipywidgets")

from accelkit import machine, models, widgets
from accelkit.errors import RequestError


def read_as(word: str) -> widgets.Reader:
    """Return a path that always reads the same."""
    return lambda picture: word


@pytest.mark.parametrize(
    ("word", "read", "letters", "marks"),
    [
        ("Triton", "triton", "triton", "      "),
        ("Triton", "tritom", "tritom", "     ^"),
        ("Triton", "trton", "tr·ton", "  ^   "),
        ("Triton", "triiton", "triiton", None),
        ("a-b", "ab", "ab", "  "),
        ("abc", "", "···", "^^^"),
    ],
)
def test_letters_that_differ_are_aligned_and_marked(word, read, letters, marks):
    got, flags = widgets.differences(word, read)
    assert got == letters and len(flags) == len(got)
    assert flags == marks if marks is not None else flags.count("^") == 1


def test_a_reading_marks_letters_without_colour():
    reading = widgets.recognise("Triton", {"good": read_as("triton"), "bad": read_as("tritom")})
    assert reading.picture.width > 10 and reading.read == {"good": "triton", "bad": "tritom"}
    lines = widgets.reading_text(reading).splitlines()
    assert "all letters agree" in lines[1] and "1 differs" in lines[2] and lines[3].strip() == "^"
    page = widgets.reading_html(reading)
    assert "trito<b><u>[m]</u></b>" in page and "color" not in page


def test_a_path_that_reads_html_cannot_write_html():
    page = widgets.reading_html(widgets.recognise("<b>", {"<em>": read_as("<x>")}))
    assert "<em>" not in page and "<x>" not in page and "&lt;" in page


def test_typing_a_word_shows_it_and_what_is_read():
    seen = []
    panel = widgets.recognise_panel({"path": lambda picture: seen.append(picture.size) or "stop"}, "go")
    assert "go" in panel.fallback and "stop" in panel.fallback
    picture = panel.children[1].value
    panel.word.value = "stop"
    assert "all letters agree" in panel.fallback and panel.children[1].value != picture and len(seen) == 2
    assert bytes(panel.children[1].value).startswith(b"\x89PNG")
    assert panel._repr_mimebundle_()["text/plain"] == panel.fallback


def test_a_word_with_nothing_to_draw_says_so():
    panel = widgets.recognise_panel({"path": read_as("x")}, "go")
    panel.word.value = "   "
    assert "nothing to draw" in panel.fallback and "nothing to draw" in panel.children[2].value


def test_a_path_that_fails_costs_its_own_line_alone():
    def refuse(picture):
        raise RequestError("it <refused>")

    panel = widgets.recognise_panel({"one": refuse, "other": read_as("go")}, "go")
    lines = panel.fallback.splitlines()
    assert lines[1].split() == ["other", "go", "all", "letters", "agree"] and lines[2].endswith("nothing: it <refused>")
    assert "nothing: it &lt;refused&gt;" in panel.children[2].value


def test_a_reader_asks_the_server_for_the_model_by_name_and_its_tensors_by_theirs():
    model = models.get()
    asked = {}

    class Stub:
        def config(self, name):
            return {"input": [{"name": "INPUT__0"}], "output": [{"name": "OUTPUT__0"}]}

        def infer(self, name, inputs):
            asked[name] = {key: value.shape for key, value in inputs.items()}
            import numpy as np

            logits = np.zeros((1, 26, 37), "float32")
            logits[0, 3, 11], logits[0, [0, 1, 2, *range(4, 26)], 0] = 9, 9
            return {"OUTPUT__0": logits}

    read = widgets.reader(Stub(), "served_name", model)
    assert read(widgets.recognise("x", {}).picture) == "a"
    assert asked == {"served_name": {"INPUT__0": (1, 1, 32, 100)}}


def test_the_decision_panel_follows_the_answers():
    panel = widgets.decision_panel(machine.probe())
    assert panel.fields["gpu"].value == ("yes" if machine.probe().gpus else "no")
    panel.fields["kind"].value = "trees"
    assert "fil" in panel.fallback and "fil" in panel.children[-1].value
    assert panel.fields["framework"].disabled and not panel.fields["kind"].disabled
    panel.fields["kind"].value, panel.fields["gpu"].value = "network", "yes"
    panel.fields["operators"].value = "all"
    assert "Try first:       tensorrt" in panel.fallback and not panel.fields["operators"].disabled
