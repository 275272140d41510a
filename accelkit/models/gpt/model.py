"""The GPT behind the interface of `accelkit.models`, as far as what generates has inputs, outputs and a right answer."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from accelkit.errors import ModelError
from accelkit.models import Samples, Tensor, files
from accelkit.models.gpt import ASSETS, KIND, corpus, forward, layout, tokenizer, weights

HERE = Path(__file__).parent
CODE = ("layout.py", "forward.py", "tokenizer.py", "corpus.py")
PROMPT, ANSWER, PROMPTS = 48, 64, 64
"""Longest prompt of the samples, ids that are generated for each, and how many samples there are."""


@dataclass(frozen=True)
class Gpt:
    """A GPT-2; `directory` is that of a Hugging Face checkpoint, None for what the kit ships or makes."""

    variant: str
    directory: Path | None = None
    name: str = "gpt"
    kind: str = KIND
    precisions: tuple[str, ...] = ("fp32",)
    max_batch: int = PROMPTS
    metric: str | None = "token_agreement"
    inputs: tuple[Tensor, ...] = (
        Tensor("input_ids", "uint32", (PROMPT,)), Tensor("input_lengths", "uint32", (1,)),
        Tensor("request_output_len", "uint32", (1,)),
    )  # fmt: skip
    outputs: tuple[Tensor, ...] = (
        Tensor("output_ids", "uint32", (1, PROMPT + ANSWER)), Tensor("sequence_length", "uint32", (1,)),
    )  # fmt: skip

    @cached_property
    def sizes(self) -> layout.Sizes:
        """The sizes; ModelError where a checkpoint is none that the kit runs."""
        return weights.sizes_of(self.directory) if self.directory else layout.SIZES[self.variant]

    @property
    def seeded(self) -> bool:
        """Whether the weights are drawn from a seed: good for speed, and what comes out says nothing."""
        return self.directory is None and self.variant != next(iter(layout.SIZES))

    @cached_property
    def tokenizer(self) -> tokenizer.Tokenizer:
        """The tokenizer of the checkpoint, or the kit's own, whose ids every size of GPT-2 has."""
        return tokenizer.load(self.directory or ASSETS)

    @cached_property
    def code_hash(self) -> str:
        """16 hexadecimal digits over the weights and the code that computes with them."""
        where = (
            [self.directory / "config.json", *sorted(self.directory.glob("*.safetensors"))] if self.directory else []
        )
        shipped = [ASSETS / "merges.txt", corpus.FILE, *([] if self.seeded else [ASSETS / "tiny.safetensors"])]
        own = where or [*shipped, HERE / "weights.py"]
        return files.digest(*own, *(HERE / name for name in CODE), repr(self.sizes).encode())

    def state(self) -> dict[str, np.ndarray]:
        """The weights float32 by the names of `layout`; ModelError where they cannot be read."""
        return _state(self.variant, self.directory)

    def onnx(self) -> NoReturn:
        """Raise ModelError: a loop over a growing cache is no graph of one file."""
        raise ModelError(f"{self.name} has no ONNX file: it generates id by id; the path fastertransformer serves it")

    def samples(self, split: str = "test", limit: int | None = None) -> Samples:
        """The first `limit` prompts of test or train: starts of paragraphs, 4 to 48 ids, padded on the right by the end."""
        prompts = self.prompts(split, limit)
        told = self._answers(split)[: len(prompts)]
        labels = tuple((len(prompt), *answer) for prompt, answer in zip(prompts, told))
        return Samples(self.padded(prompts), labels, tuple(map(self.tokenizer.decode, prompts)))

    def prompts(self, split: str = "test", limit: int | None = None) -> list[list[int]]:
        """The first `limit` prompts as ids, of different lengths."""
        lines = [line for text in corpus.split(split) for line in text.split("\n") if len(line) > 5 * PROMPT]
        chosen = lines[:: max(1, len(lines) // PROMPTS)][:PROMPTS]
        lengths = 4 + np.random.default_rng(0).permutation(len(chosen)) % (PROMPT - 3)
        found = [self.tokenizer.encode(line)[:length] for line, length in zip(chosen, lengths.tolist())]
        return found[:limit]

    def padded(
        self, prompts: Sequence[Sequence[int]], answer: int = ANSWER, length: int = PROMPT
    ) -> dict[str, np.ndarray]:
        """The three inputs for prompts, which are padded to `length` by the end."""
        ids = np.full((len(prompts), max(length, *map(len, prompts))), self.sizes.end, np.uint32)
        for row, prompt in enumerate(prompts):
            ids[row, : len(prompt)] = prompt
        lengths = np.array([[len(prompt)] for prompt in prompts], np.uint32)
        return {"input_ids": ids, "input_lengths": lengths, "request_output_len": np.full_like(lengths, answer)}

    def score(self, outputs: np.ndarray, labels: Sequence[Any]) -> float:
        """Token agreement: the share of generated ids that are the reference's, 0 to 1, for output_ids [N, 1, length]."""
        same = total = 0
        for row, (start, *answer) in zip(np.asarray(outputs)[:, 0], labels):
            got = row[start : start + len(answer)]
            same, total = same + int((got == answer[: len(got)]).sum()), total + len(answer)
        return same / max(1, total)

    def perplexity(self, split: str = "test") -> float:
        """Perplexity over the ids of a split of the kit's text."""
        ids = corpus.stream(split, self.tokenizer.encode, self.tokenizer.end)
        return forward.perplexity(self.state(), self.sizes, ids)

    def decode(self, outputs: np.ndarray) -> list[str]:
        """The texts in output_ids [N, 1, length], prompts included."""
        return [self.tokenizer.decode(row[0]) for row in np.asarray(outputs)]

    def open(self, path: str | Path) -> str:
        """The text in a file; ModelError when it is none."""
        try:
            return Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ModelError(f"{path}: {files.reason(error)}: give a file of text") from None

    def preprocess(self, images: Any) -> Any:
        """The three inputs from one text or a sequence of texts."""
        texts = [images] if isinstance(images, str) else list(images)
        room = self.sizes.positions - ANSWER
        return self.padded([self.tokenizer.encode(text)[-room:] or [self.sizes.end] for text in texts])

    def reference(self, split: str = "test", limit: int | None = None) -> dict[str, np.ndarray]:
        """output_ids and sequence_length of the samples under greedy decoding (NumPy, FP32)."""
        prompts, answers = self.prompts(split, limit), self._answers(split)
        ids = np.full((len(prompts), 1, PROMPT + ANSWER), self.sizes.end, np.uint32)
        lengths = np.zeros((len(prompts), 1), np.uint32)
        for row, (prompt, answer) in enumerate(zip(prompts, answers)):
            ids[row, 0, : len(prompt) + len(answer)] = [*prompt, *answer]
            told = answer.index(self.sizes.end) + 1 if self.sizes.end in answer else len(answer)
            lengths[row] = len(prompt) + told
        return {"output_ids": ids, "sequence_length": lengths}

    def _answers(self, split: str) -> list[list[int]]:
        """What greedy decoding writes on after each prompt, cached on disk; ids after the end are the end."""
        stem = f"{self.name}_{self.variant}_{split}-{self.code_hash}"
        if found := files.find(stem, ".npy"):
            return np.load(found).tolist()
        state, end = self.state(), self.sizes.end
        told = [forward.greedy(state, self.sizes, prompt, ANSWER, end) for prompt in self.prompts(split)]
        padded = [[*answer, *[end] * (ANSWER - len(answer))] for answer in told]
        content = io.BytesIO()
        np.save(content, np.array(padded, np.int64))
        files.write(files.cache() / f"{stem}-{files.digest(content.getvalue())}.npy", content.getvalue())
        return padded


@lru_cache(maxsize=1)
def _state(variant: str, directory: Path | None) -> dict[str, np.ndarray]:
    if directory is not None:
        return weights.import_directory(directory)
    if variant == next(iter(layout.SIZES)):
        return weights.load(ASSETS / "tiny.safetensors", layout.SIZES[variant])
    return weights.seeded(layout.SIZES[variant])
