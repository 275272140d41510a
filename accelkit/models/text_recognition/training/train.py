"""Train the small variant on rendered text.

`python -m accelkit.models.text_recognition.training.train --fonts DIR --words FILE... --out DIR --minutes M`: DIR/fonts.csv is the
table that `fonts` writes. Processes render pictures without end into a pool on the GPU; the optimizer draws batches from it.
The learning rate follows the elapsed time, so a run ends when it should on any machine.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing as mp
import platform
import queue
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from accelkit.models.text_recognition import charset, preprocess, weights
from accelkit.models.text_recognition.training import fonts, styles, words
from accelkit.models.text_recognition.training.network import TextRecognizer

CHUNK = 256
HARD_SHARE = 0.4
RANDOM_SHARE = 0.45


def picture(
    generator: np.random.Generator, faces: list[fonts.Face], vocabulary: list[str], test: bool, hard: bool, share: float
):
    """One random picture as grey values [32, 100] and its text."""
    text, _ = words.draw(generator, vocabulary, test, share)
    style = (styles.hard if hard else styles.plain)(generator)
    face = faces[generator.integers(len(faces))]
    return preprocess.pixels(styles.draw(text, fonts.load(face.path, style.size), style)), text


def by_family(faces: list[fonts.Face]) -> list[fonts.Face]:
    """The faces repeated so that every family comes up about equally often."""
    members: dict[str, list[fonts.Face]] = {}
    for face in faces:
        members.setdefault(face.family, []).append(face)
    most = max(map(len, members.values()))
    return [face for group in members.values() for face in group for _ in range(round(most / len(group)))]


def produce(seed: int, faces: list[fonts.Face], vocabulary: list[str], pictures: mp.Queue) -> None:
    """Render chunks of training pictures into a queue for ever."""
    generator = np.random.default_rng([20261123, seed])
    while True:
        drawn = [
            picture(generator, faces, vocabulary, False, generator.random() < HARD_SHARE, RANDOM_SHARE)
            for _ in range(CHUNK)
        ]
        pictures.put((np.stack([grey for grey, _ in drawn]), *encode([text for _, text in drawn])))


def encode(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """CTC targets int16 [N, 26], padded with 0, and their lengths."""
    targets = np.zeros((len(texts), charset.STEPS), np.int16)
    for row, text in zip(targets, texts, strict=True):
        codes = charset.encode(text)
        row[: len(codes)] = codes
    return targets, (targets > 0).sum(1).astype(np.int16)


class Pool:
    """The newest pictures, on the GPU: a ring that the renderers fill and batches are drawn from."""

    def __init__(self, capacity: int, device: str):
        self.grey = torch.zeros(capacity, preprocess.HEIGHT, preprocess.WIDTH, dtype=torch.uint8, device=device)
        self.targets = torch.zeros(capacity, charset.STEPS, dtype=torch.int16, device=device)
        self.lengths = torch.zeros(capacity, dtype=torch.int16, device=device)
        self.seen = 0

    def fill(self, pictures: mp.Queue, at_least: int = 0) -> None:
        """Take what is waiting, and wait until `at_least` pictures were ever taken."""
        while True:
            try:
                chunk = pictures.get(timeout=60) if self.seen < at_least else pictures.get_nowait()
            except queue.Empty:
                if self.seen < at_least:
                    raise
                return
            rows = torch.arange(self.seen, self.seen + CHUNK, device=self.grey.device) % len(self.grey)
            for store, values in zip((self.grey, self.targets, self.lengths), chunk, strict=True):
                store[rows] = torch.from_numpy(values).to(store.device, non_blocking=True)
            self.seen += CHUNK

    def batch(self, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Inputs [N, 1, 32, 100], targets and lengths of random pictures."""
        rows = torch.randint(min(self.seen, len(self.grey)), (size,), device=self.grey.device)
        return self.grey[rows][:, None].float() / 127.5 - 1, self.targets[rows].long(), self.lengths[rows].long()


def augment(x: torch.Tensor) -> torch.Tensor:
    """Each picture [N, 1, 32, 100] shifted, scaled and sheared a little, its contrast changed, blurred and made noisy by chance."""
    count, device = len(x), x.device

    def uniform(low: float, high: float) -> torch.Tensor:
        return torch.empty(count, device=device).uniform_(low, high)

    theta = torch.zeros(count, 2, 3, device=device)
    theta[:, 0, 0], theta[:, 1, 1] = uniform(0.94, 1.06), uniform(0.88, 1.12)
    theta[:, 0, 1], theta[:, 1, 0] = uniform(-0.04, 0.04), uniform(-0.12, 0.12)
    theta[:, 0, 2], theta[:, 1, 2] = uniform(-0.04, 0.04), uniform(-0.1, 0.1)
    theta[torch.rand(count, device=device) < 0.4] = torch.eye(2, 3, device=device)
    x = F.grid_sample(
        x, F.affine_grid(theta, list(x.shape), align_corners=False), padding_mode="border", align_corners=False
    )
    soft = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    x = torch.lerp(x, soft, (uniform(-1.5, 1).clamp(min=0))[:, None, None, None])
    x = x * uniform(0.6, 1.1)[:, None, None, None] + uniform(-0.2, 0.2)[:, None, None, None]
    return x + torch.randn_like(x) * uniform(-0.1, 0.1).clamp(min=0)[:, None, None, None]


def accuracy(model: torch.nn.Module, inputs: np.ndarray, texts: list[str], device: str) -> float:
    """Word accuracy of a network in float32."""
    model.eval()
    with torch.no_grad():
        outputs = [model(torch.from_numpy(part).to(device)).float().cpu().numpy() for part in np.array_split(inputs, 4)]
    model.train()
    return charset.word_accuracy(np.concatenate(outputs), texts)


def rate(progress: float, peak: float) -> float:
    """One cycle: linear warm-up over 4 % of the run, cosine to nearly zero."""
    return peak * (
        progress / 0.04 if progress < 0.04 else 0.5 * (1 + math.cos(math.pi * (progress - 0.04) / 0.96)) + 1e-4
    )


def train(options: argparse.Namespace) -> dict:
    """Train and write OUT/small.safetensors (float16) and OUT/training.json, which it returns; checkpoints on the way."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = True
    faces = by_family(fonts.read_table(options.fonts, "train"))
    vocabulary = words.vocabulary(options.words, test=False)
    pictures: mp.Queue = mp.Queue(maxsize=512)
    sources = [(seed, faces, vocabulary, pictures) for seed in range(options.workers)]
    renderers = [mp.Process(target=produce, args=source, daemon=True) for source in sources]
    for renderer in renderers:
        renderer.start()
    checks = _checks(options)
    pool = Pool(options.pool, device)
    model = TextRecognizer(options.width).to(device, memory_format=torch.channels_last).train()
    forward = torch.compile(model) if options.compile else model
    decayed = [p for p in model.parameters() if p.ndim > 1]
    groups = [
        {"params": decayed, "weight_decay": 0.02},
        {"params": [p for p in model.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=options.rate, betas=(0.9, 0.98), fused=device == "cuda")
    pool.fill(pictures, at_least=options.first)
    start, reported, step, seconds = time.monotonic(), time.monotonic(), 0, options.minutes * 60
    steps_input = torch.full((options.batch,), charset.STEPS, device=device)
    while (elapsed := time.monotonic() - start) < seconds:
        for group in optimizer.param_groups:
            group["lr"] = rate(elapsed / seconds, options.rate)
        inputs, targets, lengths = pool.batch(options.batch)
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            logits = forward(augment(inputs).contiguous(memory_format=torch.channels_last))
        loss = F.ctc_loss(
            logits.float().log_softmax(2).transpose(0, 1), targets, steps_input, lengths, zero_infinity=True
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        step += 1
        if step % 4 == 0:
            pool.fill(pictures)
        if time.monotonic() - reported > options.report:
            reported = time.monotonic()
            scores = " ".join(f"{name} {accuracy(model, *check, device):.4f}" for name, check in checks.items())
            print(f"{elapsed:6.0f} s step {step} pictures {pool.seen} loss {loss.item():.4f} {scores}", flush=True)
            _save(model, options.out)
    for renderer in renderers:
        renderer.terminate()
    facts = {
        "minutes": round(options.minutes, 1),
        "steps": step,
        "batch": options.batch,
        "pictures_rendered": pool.seen,
        "pictures_seen": step * options.batch,
        "device": torch.cuda.get_device_name() if device == "cuda" else platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "families": len({face.family for face in faces}),
        "faces": len({face.path for face in faces}),
        "words": len(vocabulary),
        "held_out_check": {name: accuracy(model, *check, device) for name, check in checks.items()},
    }
    _save(model, options.out)
    (options.out / "training.json").write_text(json.dumps(facts, indent=1) + "\n")
    return facts


def _checks(options: argparse.Namespace) -> dict[str, tuple[np.ndarray, list[str]]]:
    """Pictures in test fonts with test words to watch a run by; they are not the shipped ones, and nothing is chosen by them."""
    generator = np.random.default_rng(7)
    faces, vocabulary = by_family(fonts.read_table(options.fonts, "test")), words.vocabulary(options.words, test=True)
    checks = {}
    for name in ("plain", "hard"):
        drawn = [
            picture(generator, faces, vocabulary, True, name == "hard", words.RANDOM_SHARE)
            for _ in range(options.check)
        ]
        checks[name] = (preprocess.normalize(np.stack([grey for grey, _ in drawn])), [text for _, text in drawn])
    return checks


def _save(model: TextRecognizer, out: Path) -> None:
    state = {key: value.detach().float().cpu().contiguous().numpy() for key, value in model.state_dict().items()}
    out.mkdir(parents=True, exist_ok=True)
    (out / "small.safetensors").write_bytes(weights.save(state, "float16"))


def main() -> None:
    """Run a training from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fonts", type=Path, required=True)
    parser.add_argument("--words", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--pool", type=int, default=8_000_000)
    parser.add_argument("--first", type=int, default=65536, help="pictures to wait for before the first step")
    parser.add_argument("--check", type=int, default=2048, help="pictures of each held-out check")
    parser.add_argument("--report", type=float, default=30.0, help="seconds between reports and checkpoints")
    parser.add_argument("--compile", action="store_true")
    print(json.dumps(train(parser.parse_args()), indent=1))


if __name__ == "__main__":
    main()
