"""Read the words in picture files through a served model."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path


def recognize(
    images: Sequence[Path],
    *,
    path_name: str = "onnxruntime-cpu",
    variant: str | None = None,
    url: str | None = None,
    http_port: int | None = None,
) -> list[str]:
    """Read one word from each picture, in order.

    Starts an embedded server for the path, or uses the running one at `url` (gRPC host:port; HTTP is one port below
    unless `http_port` says otherwise), whose model must bear the name that the path's config gives it. Raises
    ModelError for a file that is no picture, ServerError and RequestError from serving.
    """
    from accelkit import interpreters, models, paths
    from accelkit.serving import Server

    model = models.get("text_recognition", variant)
    path, precision = paths.one(path_name, model)
    inputs = model.preprocess([model.open(image) for image in images])
    with tempfile.TemporaryDirectory(prefix="accelkit-") as folder:
        config = path.config(model, precision=precision)
        name, model = config.name, paths.as_served(model, config)
        if url is None:
            paths.place(path, model, Path(folder), precision)
        mode = "remote" if url else "embedded"
        own = interpreters.own(path)
        with Server(Path(folder), mode=mode, url=url, models=[name], http_port=http_port, interpreters=own) as server:
            batch = max(1, int(server.config(name)["max_batch_size"]))
            words: list[str] = []
            for start in range(0, len(inputs), batch):
                outputs = server.infer(name, {model.inputs[0].name: inputs[start : start + batch]})
                words += model.decode(outputs[model.outputs[0].name])
    return words
