"""One rank's part of a GPT-2: its share of the layers of its stage, with a key-value cache of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from accelkit.backends.fastertransformer.links import Links
from accelkit.models.gpt import checkpoint
from accelkit.models.gpt.checkpoint import Header

TYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class Network:
    """Logits for ids, together with the ranks beside it and the stages before and after."""

    def __init__(self, header: Header, directory: Path, data_type: str, links: Links, device: torch.device):
        self.sizes, self.links, self.device, self.type = header.sizes, links, device, TYPES[data_type]
        each = self.sizes.layers // links.stages
        self.first, self.last = links.stage == 0, links.stage == links.stages - 1
        self.heads = self.sizes.heads // links.ranks
        self.whole: dict[str, torch.Tensor] = {}
        kept = checkpoint.whole(directory, header)
        names = [
            *(["wte.weight", "wpe.weight"] if self.first else []),
            *(["ln_f.weight", "ln_f.bias"] if self.last else []),
        ]
        for name in names:
            self.whole[name] = self._loaded(kept[name])
        if self.last:
            # As the official one does, every rank takes its part of the vocabulary for the logits.
            head = torch.from_numpy(np.ascontiguousarray(kept.get("lm_head.weight", kept["wte.weight"])))
            part = -(-len(head) // links.ranks)
            head = functional.pad(head, (0, 0, 0, part * links.ranks - len(head)))
            self.whole["head"] = head[links.place * part : (links.place + 1) * part].to(device, self.type).contiguous()
        numbers = range(links.stage * each, (links.stage + 1) * each)
        self.layers = [self._layer(directory, header, number) for number in numbers]
        self.cache: list[torch.Tensor] = []
        self.reach, self.every = 0, torch.arange(0)

    def _loaded(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values).to(self.device, self.type)

    def _layer(self, directory: Path, header: Header, number: int) -> dict[str, torch.Tensor]:
        part = checkpoint.layer_part(directory, header, number, self.links.place)
        layer = {name: self._loaded(values) for name, values in part.items()}
        for name in ("attn.c_attn.weight", "attn.c_attn.bias"):
            layer[name] = layer[name].flatten(-2)
        # As functional.linear takes them, which adds a bias in the same kernel.
        return {name: value.T if value.ndim == 2 else value for name, value in layer.items()}

    def holds(self) -> dict[str, int]:
        """Bytes of the weights that ranks and stages cut between them, and of those that are copies."""
        cut = [name for name, (_, axis) in checkpoint.LAYER.items() if axis is not None]
        split = sum(layer[name].nbytes for layer in self.layers for name in cut)
        copies = sum(layer[name].nbytes for layer in self.layers for name in layer if name not in cut)
        return {"split": split, "copies": copies + sum(value.nbytes for value in self.whole.values())}

    def begin(self, rows: int, reach: int) -> None:
        """Make an empty cache for so many rows of so many ids."""
        self.reach, self.every = reach, torch.arange(reach, device=self.device)
        dims = (len(self.layers), 2, rows, self.heads, reach, self.sizes.head)
        self.cache = list(torch.zeros(dims, dtype=self.type, device=self.device))

    def cached(self) -> int:
        """Bytes of the cache of this batch."""
        return sum(one.nbytes for one in self.cache)

    def end(self) -> None:
        """Let go of the cache."""
        self.cache = []

    def forward(self, ids: torch.Tensor, places: torch.Tensor, ends: torch.Tensor) -> torch.Tensor | None:
        """Logits float32 [N, vocabulary] after column `ends` [N] of ids [N, L] at `places` [N, L]; None before the last stage."""
        rows, length = ids.shape
        if self.first:
            hidden = self.whole["wte.weight"][ids] + self.whole["wpe.weight"][places]
        else:
            like = torch.empty((rows, length, self.sizes.width), dtype=self.type, device=self.device)
            hidden = self.links.receive(like)
        # As numbers, which every layer adds: of truths each would make them anew.
        seen = torch.where(self.every <= places[:, None, :, None], 0.0, -torch.inf).to(self.type)
        slots = places[:, None, :, None].expand(2, rows, self.heads, length, self.sizes.head)
        for layer, cache in zip(self.layers, self.cache):
            hidden = self._through(hidden, layer, cache, slots, seen)
        if not self.last:
            self.links.send(hidden)
            return None
        hidden = self._norm(hidden[torch.arange(rows, device=self.device), ends], self.whole, "ln_f")
        return self.links.join((hidden @ self.whole["head"].T).float())[:, : self.sizes.vocabulary]

    def _through(
        self,
        hidden: torch.Tensor,
        layer: dict[str, torch.Tensor],
        cache: torch.Tensor,
        slots: torch.Tensor,
        seen: torch.Tensor,
    ) -> torch.Tensor:
        rows, length, _ = hidden.shape
        normed = self._norm(hidden, layer, "ln_1")
        joined = functional.linear(normed, layer["attn.c_attn.weight"], layer["attn.c_attn.bias"])
        joined = joined.view(rows, length, 3, self.heads, self.sizes.head).permute(2, 0, 3, 1, 4)
        cache.scatter_(3, slots, joined[1:])  # key and value
        mixed = functional.scaled_dot_product_attention(joined[0], cache[0], cache[1], attn_mask=seen)
        mixed = mixed.transpose(1, 2).reshape(rows, length, -1)
        # The bias is whole on every rank and is added once, after the sum.
        mixed = self.links.sum(functional.linear(mixed, layer["attn.c_proj.weight"]))
        hidden = hidden + mixed + layer["attn.c_proj.bias"]
        normed = self._norm(hidden, layer, "ln_2")
        inner = functional.linear(normed, layer["mlp.c_fc.weight"], layer["mlp.c_fc.bias"])
        inner = functional.linear(functional.gelu(inner, approximate="tanh"), layer["mlp.c_proj.weight"])
        return hidden + self.links.sum(inner) + layer["mlp.c_proj.bias"]

    def _norm(self, values: torch.Tensor, state: dict[str, torch.Tensor], name: str) -> torch.Tensor:
        scale, shift = state[name + ".weight"], state[name + ".bias"]
        return functional.layer_norm(values, scale.shape, scale, shift, self.sizes.epsilon)
