"""The model card says what is measured."""

from __future__ import annotations

import re

import pytest

from accelkit.models.text_recognition.training import card

pytest.importorskip("onnxruntime")


def test_card_states_the_measured_accuracies():
    text = card.CARD.read_text()
    stated, measured = (re.findall(r"(\d+\.\d\d) % of (\d+)", part) for part in (text, card.accuracy_table()))
    assert len(stated) == len(measured) > 15
    for (said, of), (found, total) in zip(stated, measured, strict=True):
        # another processor rounds differently: at most two words may change sides
        assert of == total and abs(float(said) - float(found)) <= 200 / int(total) + 0.01
    overall = [float(value) for value, total in measured if total in ("4096", "1024")]
    assert overall[0] >= 95 and overall[1] >= 60


def test_card_states_the_training_run_and_the_inheritance():
    text = card.CARD.read_text()
    assert card.training_table() in text
    assert "inherited" in text and "44,282,885" in text and "2,775,965" in text
