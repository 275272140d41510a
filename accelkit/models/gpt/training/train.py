"""Trains the tiny GPT on one CPU core: `python -m accelkit.models.gpt.training.train FOLDER` writes assets/tiny.safetensors.

It works in parts: every call goes on from FOLDER for --minutes or --steps, and the last one writes the weights and training.json. The
same seed and the same version of PyTorch on the same kind of CPU give the same weights, however the parts are cut.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from torch.nn import functional

from accelkit.models.gpt import ASSETS, corpus, layout, tokenizer
from accelkit.models.gpt.training.network import Gpt

SEED, STEPS, BATCH, WARM, DECAY, DROP = 1, 2400, 12, 60, 0.05, 0.0
RATES = {"muon": 0.02, "adam": 4e-3}
"""Muon for the matrices of the layers, AdamW for the embeddings and the vectors."""


def batch(ids: torch.Tensor, step: int, length: int) -> torch.Tensor:
    """Windows [BATCH, length + 1] of the stream, drawn anew for every step from the seed and the step alone."""
    starts = np.random.default_rng((SEED, step)).integers(0, len(ids) - length - 1, BATCH)
    return torch.stack([ids[start : start + length + 1] for start in starts.tolist()])


def share(step: int) -> float:
    """Of the learning rates: up in WARM steps, then down along a cosine to a hundredth."""
    if step < WARM:
        return (step + 1) / WARM
    return 0.01 + 0.99 * (1 + math.cos(math.pi * (step - WARM) / (STEPS - WARM))) / 2


def main() -> None:
    """Train for some minutes; at the end write what ships."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folder", type=Path)
    options.add_argument("--minutes", type=float, default=1e9)
    options.add_argument("--steps", type=int, default=STEPS)
    given = options.parse_args()
    torch.set_num_threads(1)
    sizes, tokens = layout.SIZES["tiny"], tokenizer.load(ASSETS)
    ids = torch.from_numpy(corpus.stream("train", tokens.encode, tokens.end))
    network = Gpt(sizes, DROP, SEED)
    matrices = [
        network.weight(name)
        for name in network.names
        if name.startswith("h.") and ".ln_" not in name and "weight" in name
    ]
    others = [value for value in network.parameters() if all(value is not one for one in matrices)]
    optimizers = {
        "muon": torch.optim.Muon(matrices, lr=RATES["muon"], weight_decay=DECAY),
        "adam": torch.optim.AdamW(others, lr=RATES["adam"], betas=(0.9, 0.98), weight_decay=0.0),
    }
    state, first, spent = given.folder / "state.pt", 0, 0.0
    if state.is_file():
        kept = torch.load(state, weights_only=True)
        network.load_state_dict(kept["network"])
        for name, optimizer in optimizers.items():
            optimizer.load_state_dict(kept[name])
        first, spent = kept["step"], kept["seconds"]
    started, step = time.monotonic(), first
    while step < min(STEPS, first + given.steps) and time.monotonic() - started < given.minutes * 60:
        torch.manual_seed(SEED * 1_000_003 + step)  # what dropout leaves out
        windows = batch(ids, step, sizes.positions)
        loss = functional.cross_entropy(network(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten())
        network.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        for name, optimizer in optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = RATES[name] * share(step)
            optimizer.step()
        step += 1
        if step % 50 == 0:
            print(f"step {step} of {STEPS}, loss {loss.item():.3f}, {time.monotonic() - started:.0f} s", flush=True)
    spent += time.monotonic() - started
    given.folder.mkdir(parents=True, exist_ok=True)
    kept = {"network": network.state_dict(), "step": step, "seconds": spent}
    torch.save(kept | {name: optimizer.state_dict() for name, optimizer in optimizers.items()}, state)
    if step == STEPS:
        half = {name: network.weight(name).detach().numpy().astype(np.float16) for name in layout.shapes(sizes)}
        save_file(half, ASSETS / "tiny.safetensors")
        facts = {
            "minutes": round(spent / 60, 1), "steps": STEPS, "batch": BATCH, "length": sizes.positions, "tokens seen":
            STEPS * BATCH * sizes.positions, "seed": SEED, "device": "one CPU core", "python": platform.python_version(),
            "torch": torch.__version__, "loss of the last batch": round(loss.item(), 3),
        }  # fmt: skip
        (ASSETS / "training.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
