"""The GPT-2 architecture in PyTorch, for training; its weights bear the names of `accelkit.models.gpt.layout`."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from accelkit.models.gpt import layout


class Gpt(nn.Module):
    """Logits [N, L, vocabulary] for ids [N, L]; `drop` is the share of activations that training leaves out."""

    def __init__(self, sizes: layout.Sizes, drop: float, seed: int):
        super().__init__()
        self.sizes, self.drop = sizes, drop
        generator = torch.Generator().manual_seed(seed)
        self.names = {name: name.replace(".", "_") for name in layout.shapes(sizes)}
        for name, shape in layout.shapes(sizes).items():
            scale = 0.02 / (2 * sizes.layers) ** 0.5 if name.endswith("c_proj.weight") else 0.02
            value = torch.randn(shape, generator=generator) * scale
            if name.endswith("bias"):
                value = torch.zeros(shape)
            elif "ln_" in name:
                value = torch.ones(shape)
            self.register_parameter(self.names[name], nn.Parameter(value))

    def weight(self, name: str) -> torch.Tensor:
        """A weight by its name in the layout."""
        return getattr(self, self.names[name])

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Logits of the next id after every one."""
        sizes, (count, length) = self.sizes, ids.shape
        hidden = self._dropped(self.weight("wte.weight")[ids] + self.weight("wpe.weight")[:length])
        for layer in range(sizes.layers):
            at = f"h.{layer}."
            normed = self._norm(hidden, at + "ln_1")
            parts = self._linear(normed, at + "attn.c_attn").split(sizes.width, dim=2)
            query, key, value = (part.view(count, length, sizes.heads, -1).transpose(1, 2) for part in parts)
            drop = self.drop if self.training else 0.0
            mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True, dropout_p=drop)
            mixed = mixed.transpose(1, 2).reshape(count, length, -1)
            hidden = hidden + self._dropped(self._linear(mixed, at + "attn.c_proj"))
            inner = functional.gelu(self._linear(self._norm(hidden, at + "ln_2"), at + "mlp.c_fc"), approximate="tanh")
            hidden = hidden + self._dropped(self._linear(inner, at + "mlp.c_proj"))
        return self._norm(hidden, "ln_f") @ self.weight("wte.weight").T

    def _dropped(self, values: torch.Tensor) -> torch.Tensor:
        return functional.dropout(values, self.drop, self.training)

    def _linear(self, values: torch.Tensor, name: str) -> torch.Tensor:
        return values @ self.weight(name + ".weight") + self.weight(name + ".bias")

    def _norm(self, values: torch.Tensor, name: str) -> torch.Tensor:
        scale, shift = self.weight(name + ".weight"), self.weight(name + ".bias")
        return functional.layer_norm(values, scale.shape, scale, shift, self.sizes.epsilon)
