"""A GPT as the directory that Hugging Face's libraries, and with them vLLM and TensorRT-LLM, read."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from accelkit.errors import ModelError
from accelkit.models import files
from accelkit.models.gpt import ASSETS
from accelkit.models.gpt.layout import PREFIX
from accelkit.models.gpt.tokenizer import END

if TYPE_CHECKING:
    from accelkit.models.gpt.model import Gpt


def directory(gpt: Gpt) -> Path:
    """The checkpoint's own directory, or one in the kit's cache that is complete; ModelError where it cannot be written."""
    if gpt.directory:
        return gpt.directory
    target = files.cache() / f"gpt_{gpt.variant}-{gpt.code_hash}"
    if target.is_dir():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=target.parent) as scratch:
            _write(gpt, Path(scratch, "made"))
            os.replace(Path(scratch, "made"), target)
    except OSError as error:
        if not target.is_dir():  # another process was quicker
            raise ModelError(f"cannot write {target}: {error.strerror or error}") from None
    return target


def about(gpt: Gpt) -> dict[str, object]:
    """What config.json says."""
    sizes = gpt.sizes
    return {
        "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_layer": sizes.layers, "n_head": sizes.heads,
        "n_embd": sizes.width, "n_inner": sizes.inner, "n_positions": sizes.positions, "vocab_size": sizes.vocabulary,
        "bos_token_id": sizes.end, "eos_token_id": sizes.end, "activation_function": "gelu_new",
        "layer_norm_epsilon": sizes.epsilon, "dtype": "float32", "tie_word_embeddings": True,
    }  # fmt: skip


def _write(gpt: Gpt, folder: Path) -> None:
    from safetensors.numpy import save_file

    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(about(gpt), indent=1))
    state = {f"{PREFIX}{name}": value for name, value in gpt.state().items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    shutil.copyfile(ASSETS / "merges.txt", folder / "merges.txt")
    (folder / "vocab.json").write_text(json.dumps(gpt.tokenizer.ids, ensure_ascii=False), encoding="utf-8")
    told = {"tokenizer_class": "GPT2Tokenizer", "bos_token": END, "eos_token": END, "unk_token": END}
    (folder / "tokenizer_config.json").write_text(json.dumps(told, indent=1))
