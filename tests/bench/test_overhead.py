"""Server-side time per request of near-empty models, the stand-in against a plain first backend, in one run."""

from statistics import median

import pytest
import small

from accelkit.serving import Server

ROUNDS, REQUESTS = 25, 60
MODELS = {"tiny": (small.tiny, [10]), "identity": (small.identity, small.IMAGE)}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Every model twice, under the stand-in and under the plain backend."""
    root = tmp_path_factory.mktemp("repository")
    for name, (make, dims) in MODELS.items():
        small.add(root, name, small.config(dims=dims), make())
        small.add_plain(root, f"plain_{name}", small.config("python", dims), make())
    with Server(root) as running:
        yield running


def spent(server: Server, name: str, image) -> float:
    """Microseconds that a request spends in the server, the mean of some requests one after the other."""
    before = server.statistics(name)["inference_stats"]["success"]
    for _ in range(REQUESTS):
        server.infer(name, {"input.1": image})
    after = server.statistics(name)["inference_stats"]["success"]
    return (after["ns"] - before["ns"]) / (after["count"] - before["count"]) / 1e3


@pytest.mark.parametrize("batch", [1, 16])
@pytest.mark.parametrize("name", MODELS)
def test_the_stand_in_spends_less_than_a_plain_backend(server, name, batch):
    image, ours, plain = small.image(batch), [], []
    for number in range(ROUNDS + 1):
        pairs = [(name, ours), (f"plain_{name}", plain)]
        for model, times in pairs if number % 2 else reversed(pairs):
            times.append(spent(server, model, image))
    ratio = median(a / b for a, b in zip(ours[1:], plain[1:], strict=True))
    print(f"{name}, batch {batch}: {min(ours):.0f} us (median {median(ours):.0f}), plain {min(plain):.0f} us "
          f"(median {median(plain):.0f}), paired ratio {ratio:.2f}")  # fmt: skip
    assert ratio < 1
