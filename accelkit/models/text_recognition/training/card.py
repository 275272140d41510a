"""The model card's figures, computed: `python -m accelkit.models.text_recognition.training.card` writes them into MODEL_CARD.md."""

from __future__ import annotations

import json

from accelkit.models import files
from accelkit.models.text_recognition import ASSETS, charset, data, get
from accelkit.models.text_recognition.training import words

CARD = ASSETS / "MODEL_CARD.md"
TRAINING = ASSETS / "training.json"


def hits(split: str) -> list[tuple[data.Record, bool]]:
    """Every picture of a split and whether `small` reads it right."""
    model, records = get("small"), data.records(split)
    answers = model.decode(model.reference(split))
    return [(record, answer == charset.canonical(record.text)) for record, answer in zip(records, answers, strict=True)]


def share(right: list[bool]) -> str:
    """Hits as a percentage of how many."""
    return f"{100 * sum(right) / len(right):.2f} % of {len(right)}"


def accuracy_table() -> str:
    """The accuracies of all splits by kind of text, and the weakest font families, as Markdown."""
    lines = ["| split | families | " + " | ".join(("all", *words.KINDS, "weakest families")) + " |", "|---" * 8 + "|"]
    for split in data.SPLITS:
        found = hits(split)
        kinds = [
            share([hit for record, hit in found if kind in ("all", record.kind)]) for kind in ("all", *words.KINDS)
        ]
        families: dict[str, list[bool]] = {}
        for record, hit in found:
            families.setdefault(record.family, []).append(hit)
        worst = sorted(families, key=lambda family: (sum(families[family]) / len(families[family]), family))[:3]
        weakest = (
            ", ".join(f"{family} {share(families[family])}" for family in worst) if split != "calibration" else "-"
        )
        lines.append(f"| {split} | {len(families)} | " + " | ".join([*kinds, weakest]) + " |")
    return "\n".join(lines)


def training_table() -> str:
    """The facts of the training run as a Markdown table."""
    facts = json.loads(files.read(TRAINING))
    rows = [f"| {name.replace('_', ' ')} | {value} |" for name, value in facts.items() if not isinstance(value, dict)]
    return "\n".join(["| what | value |", "|---|---|", *rows])


def filled(text: str) -> str:
    """A card's text with both tables written anew between their marks."""
    for mark, table in (("accuracy", accuracy_table), ("training", training_table)):
        begin, end = f"<!-- {mark} -->\n", f"<!-- end of {mark} -->"
        text = text[: text.index(begin) + len(begin)] + table() + "\n" + text[text.index(end) :]
    return text


if __name__ == "__main__":
    files.write(CARD, filled(files.read(CARD).decode()).encode())
