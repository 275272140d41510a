"""The model card's figures, computed: `python -m accelkit.models.gpt.training.card` writes them into MODEL_CARD.md."""

from __future__ import annotations

import json

from accelkit.models.gpt import ASSETS, corpus, get
from accelkit.models.gpt.training import ngram

CARD = ASSETS / "MODEL_CARD.md"


def perplexity_table() -> str:
    """The perplexities on the chapters that were held out, as Markdown."""
    gpt = get()
    streams = {name: corpus.stream(name, gpt.tokenizer.encode, gpt.tokenizer.end) for name in corpus.SPLITS}
    grams = ngram.KneserNey(streams["train"], gpt.sizes.vocabulary)
    ids = f"{len(streams['test']) - 1:,}"
    lines = [
        "| model | perplexity for each id | ids |",
        "|---|---|---|",
        f"| `tiny` | {gpt.perplexity('test'):.2f} | {ids} |",
    ]
    return "\n".join([*lines, f"| 5-gram, interpolated Kneser-Ney | {grams.perplexity(streams['test']):.2f} | {ids} |"])


def training_table() -> str:
    """What training.json says, as Markdown."""
    facts = json.loads((ASSETS / "training.json").read_text())
    return "\n".join(["| what | value |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts.items())])


def main() -> None:
    """Write both tables between their marks."""
    text = CARD.read_text()
    for name, table in (("perplexity", perplexity_table()), ("training", training_table())):
        before, begin, rest = text.partition(f"<!-- {name} -->")
        _, end, after = rest.partition(f"<!-- end of {name} -->")
        text = f"{before}{begin}\n{table}\n{end}{after}"
    CARD.write_text(text)


if __name__ == "__main__":
    main()
