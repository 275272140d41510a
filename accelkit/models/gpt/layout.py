"""The GPT-2 architecture: sizes, and the names and shapes of its weights as Hugging Face writes them."""

from __future__ import annotations

from dataclasses import dataclass

EPSILON = 1e-5
PREFIX = "transformer."


@dataclass(frozen=True)
class Sizes:
    """Sizes of a GPT-2: `width` is heads times the size of a head, `inner` that of the hidden layer of the MLP."""

    layers: int
    heads: int
    width: int
    inner: int
    positions: int
    vocabulary: int
    end: int
    epsilon: float = EPSILON

    @property
    def head(self) -> int:
        """Size of a head."""
        return self.width // self.heads


SIZES = {
    "tiny": Sizes(4, 4, 128, 512, 256, 512, 511),
    "124m": Sizes(12, 12, 768, 3072, 1024, 50257, 50256),
    "355m": Sizes(24, 16, 1024, 4096, 1024, 50257, 50256),
    "1.3b": Sizes(24, 32, 2048, 8192, 2048, 50257, 50256),
    "1.5b": Sizes(48, 25, 1600, 6400, 1024, 50257, 50256),
}
"""By variant; 124m, 355m and 1.5b are GPT-2, GPT-2 Medium and GPT-2 XL, whose 25 heads no two ranks can share; 1.3b has 32."""


def block(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Names and shapes of one layer's weights; a matrix is [in, out]."""
    width, inner = sizes.width, sizes.inner
    return {
        "ln_1.weight": (width,), "ln_1.bias": (width,),
        "attn.c_attn.weight": (width, 3 * width), "attn.c_attn.bias": (3 * width,),
        "attn.c_proj.weight": (width, width), "attn.c_proj.bias": (width,),
        "ln_2.weight": (width,), "ln_2.bias": (width,),
        "mlp.c_fc.weight": (width, inner), "mlp.c_fc.bias": (inner,),
        "mlp.c_proj.weight": (inner, width), "mlp.c_proj.bias": (width,),
    }  # fmt: skip


def shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all weights; the output layer is the embedding wte."""
    width = sizes.width
    found: dict[str, tuple[int, ...]] = {
        "wte.weight": (sizes.vocabulary, width),
        "wpe.weight": (sizes.positions, width),
    }
    for layer in range(sizes.layers):
        found |= {f"h.{layer}.{name}": shape for name, shape in block(sizes).items()}
    return {**found, "ln_f.weight": (width,), "ln_f.bias": (width,)}


def parameters(sizes: Sizes) -> int:
    """How many numbers the weights are."""
    total = 0
    for shape in shapes(sizes).values():
        total += shape[0] * (shape[1] if len(shape) > 1 else 1)
    return total
