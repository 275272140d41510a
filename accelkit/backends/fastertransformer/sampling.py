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
        self.rows, self.told = rows, [list(row.ids) for row in rows]
        self._draws = [torch.Generator().manual_seed(row.seed % 2**63) for row in rows]

    def choose(self, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The next ids [N] and their log probabilities [N] for logits [N, vocabulary]."""
        ids, chances = [], []
        for row, told, draw, values in zip(self.rows, self.told, self._draws, logits.float().cpu()):
            values = self._penalised(row, told, values)
            chance = values.log_softmax(0)
            index = self._drawn(row, values, draw)
            told.append(index)
            ids.append(index)
            chances.append(float(chance[index]))
        return torch.tensor(ids), torch.tensor(chances)

    @staticmethod
    def _penalised(row: Row, told: list[int], values: torch.Tensor) -> torch.Tensor:
        values = values / row.temperature
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
        if row.top_k == 1 or (not row.top_k and not row.top_p):
            return int(values.argmax())
        count = row.top_k or len(values)
        best, ids = values.topk(min(count, len(values)))
        total = best.softmax(0).cumsum(0)
        limit = torch.rand((), generator=draw) * (row.top_p or 1.0) * total[-1]
        return int(ids[min(int((total <= limit).sum()), len(ids) - 1)])


def over(row: Row, fresh: Sequence[int]) -> bool:
    """Whether a row is complete: its number of ids, its end, or a stop word, which may begin in the prompt."""
    if len(fresh) >= row.count or fresh[-1] == row.end:
        return True
    told = (*row.ids, *fresh)
    return any(told[-len(word) :] == word for word in row.stop)
