"""The tokenizer's merges, learnt from the training chapters: the most frequent pair of neighbours, again and again.

`python -m accelkit.models.gpt.training.merges` writes assets/merges.txt.
"""

from __future__ import annotations

from collections import Counter

from accelkit.models.gpt import ASSETS, corpus, tokenizer

VOCABULARY = 512


def learn(texts: list[str], count: int) -> list[tuple[str, str]]:
    """So many merges; of equally frequent pairs the first in the order of characters."""
    seen = Counter(word for text in texts for word in tokenizer.words(text))
    parts = {word: [tokenizer.BYTES[byte] for byte in word.encode()] for word in seen}
    merges: list[tuple[str, str]] = []
    while len(merges) < count:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, times in seen.items():
            for pair in zip(parts[word], parts[word][1:]):
                pairs[pair] += times
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        for word, known in parts.items():
            if best[0] in known:
                ranks = [int(pair != best) for pair in zip(known, known[1:])]
                parts[word] = tokenizer.joined(known, 0, ranks)
    return merges


def main() -> None:
    """Learn and write them: 256 bytes, the merges and the end make the vocabulary."""
    tokenizer.Tokenizer(learn(corpus.split("train"), VOCABULARY - 257)).save(ASSETS / "merges.txt")


if __name__ == "__main__":
    main()
