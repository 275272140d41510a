"""Byte-level BPE in the form of GPT-2's files: merges.txt, from which every id follows, and vocab.json where there is one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from accelkit.errors import ModelError

END = "<|endoftext|>"
HEADER = "#version: 0.2"
# As GPT-2 cuts text before merging; Python's re has no \p{L}, and digits and letters of all scripts are told apart as it can.
_WORDS = re.compile(r"'(?:s|t|re|ve|m|ll|d)| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+")


def _printable() -> dict[int, str]:
    """Every byte as the one character that GPT-2's files write it as: itself where it can be seen."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in seen]
    return {byte: chr(byte) for byte in seen} | {byte: chr(256 + index) for index, byte in enumerate(hidden)}


BYTES = _printable()


class Tokenizer:
    """Text to ids and back; ids are the bytes, then the merges in their order, then the end, unless `ids` says otherwise."""

    def __init__(self, merges: Iterable[tuple[str, str]], ids: dict[str, int] | None = None):
        self.merges = {pair: rank for rank, pair in enumerate(merges)}
        names = [*BYTES.values(), *("".join(pair) for pair in self.merges), END]
        self.ids = ids or {name: index for index, name in enumerate(names)}
        self._known: dict[str, list[int]] = {}

    @cached_property
    def _names(self) -> dict[int, str]:
        return {index: name for name, index in self.ids.items()}

    @cached_property
    def _bytes(self) -> dict[str, int]:
        return {name: byte for byte, name in BYTES.items()}

    @property
    def end(self) -> int:
        """Id of the end of a text."""
        return self.ids[END]

    def encode(self, text: str) -> list[int]:
        """The ids of a text."""
        return [index for word in _WORDS.findall(text) for index in self._word(word)]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids; bytes that are no UTF-8 become the replacement character, the end and unknown ids nothing."""
        names = (self._names.get(int(index), END) for index in ids)
        return bytes(self._bytes[one] for name in names if name != END for one in name).decode(errors="replace")

    def _word(self, word: str) -> list[int]:
        if word not in self._known:
            parts = [BYTES[byte] for byte in word.encode()]
            while len(parts) > 1:
                ranks = [self.merges.get(pair, len(self.merges)) for pair in zip(parts, parts[1:])]
                best = min(ranks)
                if best == len(self.merges):
                    break
                parts = joined(parts, best, ranks)
            self._known[word] = [self.ids[part] for part in parts]
        return self._known[word]

    def save(self, path: Path) -> None:
        """Write merges.txt."""
        path.write_text("\n".join([HEADER, *(" ".join(pair) for pair in self.merges)]) + "\n", encoding="utf-8")


def joined(parts: list[str], rank: int, ranks: list[int]) -> list[str]:
    """Parts with every pair of this rank made one; `ranks` are those of neighbours."""
    found, index = [], 0
    while index < len(parts):
        pair = index < len(ranks) and ranks[index] == rank
        found.append(parts[index] + parts[index + 1] if pair else parts[index])
        index += 2 if pair else 1
    return found


def words(text: str) -> list[str]:
    """The parts of a text that merges never cross."""
    return _WORDS.findall(text)


def load(directory: Path) -> Tokenizer:
    """The tokenizer in a directory: merges.txt, and vocab.json if it is there; ModelError when they cannot be read."""
    path = directory / "merges.txt"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        pairs = [tuple(line.split(" ")) for line in lines if line and not line.startswith(HEADER[:8])]
        ids = directory / "vocab.json"
        known = json.loads(ids.read_text(encoding="utf-8")) if ids.is_file() else None
        return Tokenizer([(one, other) for one, other in pairs], known)
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: no tokenizer of GPT-2's form: {error}") from None
