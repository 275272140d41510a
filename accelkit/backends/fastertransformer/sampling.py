"""How the next id is chosen: penalties, then the likeliest, or a draw among the top k and within the top p.

The steps and their order are the official ones (FasterTransformer src/fastertransformer/kernels/sampling_topk_kernels.cu and
sampling_topp_kernels.cu); the random numbers are PyTorch's and not those of cuRAND: a seed gives the same ids again, but
not the ids of the official backend.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from accelkit.backends.fastertransformer.contract import Row


class Chooser:
    """Chooses for the rows of one batch; every row draws from a generator of its own, whatever stands beside it."""

    def __init__(self, rows: Sequence[Row]):
        self.rows = rows
        # What a row alone needs to know: what was told so far, and its generator. The others are chosen for all at once.
        self._alone = {
            number: (list(row.ids), torch.Generator().manual_seed(row.seed % 2**63))
            for number, row in enumerate(rows)
            if row.repetition_penalty != 1 or row.bad or not _greedy(row)
        }
        self._temperatures = torch.tensor([[row.temperature] for row in rows])

    def choose(self, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The next ids [N] and their log probabilities [N] for logits [N, vocabulary], where the logits are."""
        self._temperatures = self._temperatures.to(logits.device)
        values = logits.float() / self._temperatures
        ids = values.argmax(1)
        chances = values.log_softmax(1).gather(1, ids[:, None])[:, 0]
        for number, (told, draw) in self._alone.items():
            row, mine = self.rows[number], values[number].cpu()
            mine = self._penalised(row, told, mine)
            index = self._drawn(row, mine, draw)
            told.append(index)
            ids[number], chances[number] = index, mine.log_softmax(0)[index]
        return ids, chances

    @staticmethod
    def _penalised(row: Row, told: list[int], values: torch.Tensor) -> torch.Tensor:
        values = values.clone()
        if row.repetition_penalty != 1:
            seen = torch.tensor(sorted(set(told)))
            had = values[seen]
            values[seen] = torch.where(had < 0, had * row.repetition_penalty, had / row.repetition_penalty)
        for word in row.bad:
            if len(word) == 1 or told[-len(word) + 1 :] == list(word[:-1]):
                values[word[-1]] = -torch.inf
        return values

    @staticmethod
    def _drawn(row: Row, values: torch.Tensor, draw: torch.Generator) -> int:
        if _greedy(row):
            return int(values.argmax())
        count = row.top_k or len(values)
        best, ids = values.topk(min(count, len(values)))
        total = best.softmax(0).cumsum(0)
        limit = torch.rand((), generator=draw) * (row.top_p or 1.0) * total[-1]
        return int(ids[min(int((total <= limit).sum()), len(ids) - 1)])


def _greedy(row: Row) -> bool:
    return row.top_k == 1 or (not row.top_k and not row.top_p)
