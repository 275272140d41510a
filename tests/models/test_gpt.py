"""The GPT: what ships is what its programs make, its answers are those of transformers, and it beats a 5-gram model."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

from accelkit import models
from accelkit.errors import ModelError
from accelkit.models.gpt import ASSETS, checkpoint, corpus, forward, layout, sizing, tokenizer, weights
from accelkit.models.gpt.training import card, merges, ngram

SMALL = layout.Sizes(2, 4, 32, 64, 32, 512, 511)


@pytest.fixture(scope="module")
def gpt():
    return models.get("gpt")


@pytest.fixture(scope="module")
def streams(gpt):
    """The ids of both splits."""
    return {name: corpus.stream(name, gpt.tokenizer.encode, gpt.tokenizer.end) for name in corpus.SPLITS}


@pytest.fixture(scope="module")
def folder(gpt, tmp_path_factory):
    """The tiny GPT as a Hugging Face checkpoint."""
    directory = tmp_path_factory.mktemp("hf")
    write(directory, gpt.state(), gpt.sizes)
    shutil.copy(ASSETS / "merges.txt", directory)
    (directory / "vocab.json").write_text(json.dumps(gpt.tokenizer.ids))
    return directory


def write(directory, state, sizes, **change):
    """A checkpoint as Hugging Face writes it."""
    facts = {
        "model_type": "gpt2", "n_layer": sizes.layers, "n_head": sizes.heads, "n_embd": sizes.width, "n_inner": sizes.inner,
        "n_positions": sizes.positions, "vocab_size": sizes.vocabulary, "eos_token_id": sizes.end, "bos_token_id": sizes.end,
        "activation_function": "gelu_new", "layer_norm_epsilon": sizes.epsilon, "architectures": ["GPT2LMHeadModel"], **change,
    }  # fmt: skip
    (directory / "config.json").write_text(json.dumps(facts))
    save_file({f"transformer.{name}": value for name, value in state.items()}, directory / "model.safetensors")


def test_it_beats_a_five_gram_model_on_text_that_neither_saw(gpt, streams):
    assert not set(corpus.split("train")) & set(corpus.split("test"))
    grams = ngram.KneserNey(streams["train"], gpt.sizes.vocabulary)
    mine, theirs = gpt.perplexity("test"), grams.perplexity(streams["test"])
    assert mine < 0.97 * theirs and 10 < theirs < 13
    text = card.CARD.read_text()
    assert f"{mine:.2f}" in text and f"{theirs:.2f}" in text, (mine, theirs)


def test_the_five_gram_model_is_one_of_probabilities(streams):
    grams = ngram.KneserNey(streams["train"], 512)
    for start in (5, 500, 5000):
        context = streams["test"][start : start + 4]
        chances = [grams.probabilities(np.append(context, index))[-1] for index in range(512)]
        assert min(chances) > 0 and abs(sum(chances) - 1) < 1e-9
    assert grams.perplexity(streams["train"][:20_000]) < 5  # what it saw, it knows


def test_a_short_stream_is_counted_by_hand():
    ids = np.array([0, 1, 0, 1, 0, 2] * 3 + [3] * 4)
    grams = ngram.KneserNey(ids, 4)
    assert [len(level.grams) for level in grams.levels[:2]] == [4, 6]
    assert grams.levels[-1].counts.sum() == len(ids) - 4


def test_perplexity_scores_every_id_once(gpt):
    ids = corpus.stream("test", gpt.tokenizer.encode, gpt.tokenizer.end)[:200]
    found = forward.logits(gpt.state(), gpt.sizes, ids[None, :-1])[0].astype(np.float64)
    chances = np.exp(found - found.max(1, keepdims=True))
    own = np.log(chances[np.arange(199), ids[1:]] / chances.sum(1))
    assert forward.perplexity(gpt.state(), gpt.sizes, ids) == pytest.approx(np.exp(-own.mean()), rel=1e-5)


def test_logits_and_generation_are_those_of_transformers(gpt, folder):
    torch, transformers = (pytest.importorskip(name) for name in ("torch", "transformers"))
    theirs = transformers.GPT2LMHeadModel.from_pretrained(folder).eval()
    prompts = gpt.prompts("test", 16)
    for prompt in prompts[:4]:
        with torch.no_grad():
            wanted = theirs(torch.tensor([prompt])).logits.numpy()
        assert np.abs(forward.logits(gpt.state(), gpt.sizes, np.array([prompt])) - wanted).max() < 1e-4
    told = gpt.reference("test", 16)
    for row, prompt in enumerate(prompts):
        with torch.no_grad():
            wanted = theirs.generate(
                torch.tensor([prompt]),
                max_new_tokens=64,
                do_sample=False,
                pad_token_id=511,
                attention_mask=torch.ones(1, len(prompt)),
            )[0].tolist()
        assert told["output_ids"][row, 0, : len(wanted)].tolist() == wanted


def test_tokens_are_those_of_transformers(gpt, folder):
    transformers = pytest.importorskip("transformers")
    theirs = transformers.GPT2TokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt"))
    odd = "Größe: 12 naïve_ x\u2028 \n\n  don't — 漢字 _a_ \t it's we'll 3.14"
    for text in (*corpus.split("test")[:2], odd, "", " "):
        assert (
            gpt.tokenizer.encode(text) == theirs.encode(text)
            and gpt.tokenizer.decode(gpt.tokenizer.encode(text)) == text
        )


def test_the_merges_are_what_the_program_learns(gpt):
    learnt = merges.learn(corpus.split("train"), 40)
    assert (
        learnt == list(gpt.tokenizer.merges)[:40]
        and len(gpt.tokenizer.ids) == merges.VOCABULARY == gpt.sizes.vocabulary
    )


def test_what_ships_is_small_and_says_where_it_comes_from():
    sizes = {path.name: path.stat().st_size for path in ASSETS.iterdir()}
    assert sum(sizes.values()) < 4_000_000 and sizes["tiny.safetensors"] < 2_000_000
    text = card.CARD.read_text()
    assert card.training_table() in text and "public domain" in text and "Jane Austen" in text
    assert "Gutenberg" not in "".join(corpus.chapters()) and all(map(str.isascii, corpus.chapters()))


def test_training_goes_on_where_it_stopped(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    from accelkit.models.gpt.training import train

    monkeypatch.setattr(train, "STEPS", 4)
    monkeypatch.setattr(train, "BATCH", 2)
    for name in ("merges.txt",):
        shutil.copy(ASSETS / name, tmp_path)
    monkeypatch.setattr(train, "ASSETS", tmp_path)
    content = []
    for parts in ((4,), (1, 3)):
        run = tmp_path / f"run{len(parts)}"
        for steps in parts:
            monkeypatch.setattr(sys, "argv", ["train", str(run), "--steps", str(steps)])
            train.main()
        content.append((tmp_path / "tiny.safetensors").read_bytes())
    assert content[0] == content[1]


def test_importing_it_is_light():
    code = "import accelkit.models.gpt, sys; print([m for m in ('torch', 'numpy', 'transformers') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_it_has_the_interface_of_a_model(gpt):
    assert models.names()["gpt"][0] == "tiny" and (gpt.kind, gpt.metric) == ("language model", "token_agreement")
    samples = gpt.samples("test", 16)
    lengths = samples.inputs["input_lengths"].ravel().tolist()
    assert len(set(lengths)) > 8 and min(lengths) >= 4 and max(lengths) <= 48 and len(samples.labels) == 16
    reference = gpt.reference("test", 16)
    assert reference["output_ids"].shape == (16, 1, 112) and gpt.score(reference["output_ids"], samples.labels) == 1
    wrong = reference["output_ids"].copy()
    wrong[:, 0, lengths[0] + 10] += 1
    assert 0.9 < gpt.score(wrong, samples.labels) < 1
    assert gpt.decode(reference["output_ids"])[0].startswith(samples.texts[0])
    made = gpt.preprocess("It is a truth")
    assert gpt.tokenizer.decode(made["input_ids"][0, : int(made["input_lengths"][0, 0])]) == "It is a truth"
    with pytest.raises(ModelError, match="no ONNX file: it generates id by id"):
        gpt.onnx()
    with pytest.raises(ModelError, match="there are train and test"):
        gpt.samples("hard")


def test_large_ones_are_there_for_speed_and_say_so():
    large = models.get("gpt", "124m")
    assert large.seeded and not models.get("gpt").seeded
    assert layout.parameters(large.sizes) == 124_439_808 and layout.parameters(layout.SIZES["1.5b"]) == 1_557_611_200
    one, two = (weights.seeded(SMALL) for _ in range(2))
    assert all(np.array_equal(one[name], two[name]) for name in layout.shapes(SMALL))
    assert 0.019 < one["wte.weight"].std() < 0.021


def test_the_arithmetic_of_gpt_2s_sizes():
    small, xl = layout.SIZES["124m"], layout.SIZES["1.5b"]
    # One rank holds the embedding twice, once for the logits.
    assert sizing.weights(small) == 4 * (layout.parameters(small) + 50257 * 768 - 2 * 768)
    assert sizing.cache(small, 1, 1024, "fp16") == 2 * 12 * 1024 * 768 * 2 == 37_748_736
    assert sizing.said(xl, 1, 1) == {} and sizing.said(xl, 1, 2) == {"send": 6400, "broadcast": 8}
    assert sizing.said(xl, 5, 2, "fp16") == {
        "all_reduce": 2 * 24 * 3200,
        "all_gather": 10052 * 4,
        "send": 3200,
        "broadcast": 8,
    }
    assert 0.94 < sizing.cut(xl) / layout.parameters(xl) < 0.95


def test_a_checkpoint_of_hugging_face_is_a_variant(gpt, folder, tmp_path):
    own = models.get("gpt", str(folder))
    assert (own.sizes, own.seeded) == (gpt.sizes, False)
    assert all(np.array_equal(own.state()[name], value) for name, value in gpt.state().items())
    assert own.tokenizer.encode("very much") == gpt.tokenizer.encode("very much")
    parts = weights.seeded(SMALL)
    write(tmp_path, parts, SMALL)
    names = [f"transformer.{name}" for name in parts]
    for number, half in enumerate((names[:9], names[9:])):
        save_file(
            {name: parts[name.removeprefix("transformer.")] for name in half}, tmp_path / f"part{number}.safetensors"
        )
    where = {name: f"part{number}.safetensors" for number, half in enumerate((names[:9], names[9:])) for name in half}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    (tmp_path / "model.safetensors").unlink()
    assert all(np.array_equal(weights.import_directory(tmp_path)[name], value) for name, value in parts.items())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_type": "llama"}, "not llama with gelu_new"), ({"activation_function": "relu"}, "not gpt2 with relu"),
        ({"n_head": 5}, "n_embd 32 is no multiple of n_head 5"), ({"n_layer": "x"}, "is no config.json of a GPT-2"),
        ({"scale_attn_by_inverse_layer_idx": True}, "not scale_attn_by_inverse_layer_idx"),
        ({"n_layer": 3}, "h.2.ln_1.weight is missing, and 11 more"), ({"n_inner": 48}, r"h.0.mlp.c_fc.weight is \[32, 64\]"),
        ({"n_layer": 1}, "h.1.attn.c_attn.bias does not belong there"),
    ],
)  # fmt: skip
def test_another_checkpoint_is_refused_in_one_line(tmp_path, change, said):
    write(tmp_path, weights.seeded(SMALL), SMALL, **change)
    with pytest.raises(ModelError, match=said) as caught:
        weights.import_directory(tmp_path)
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


def test_an_unknown_variant_names_those_there_are():
    with pytest.raises(
        ModelError, match="there are tiny, 124m, 355m, 1.3b, 1.5b, and every directory with config.json"
    ):
        models.get("gpt", "huge")


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_the_layout_of_fastertransformer_comes_back_bit_for_bit(gpt, folder, tmp_path, ranks):
    for state in (gpt.state(), weights.import_directory(folder)):
        target = checkpoint.write(state, gpt.sizes, tmp_path, ranks)
        found, back = checkpoint.read(target)
        assert (found.sizes, found.ranks, target.name) == (gpt.sizes, ranks, f"{ranks}-gpu")
        assert set(back) == set(state) and all(back[name].tobytes() == value.tobytes() for name, value in state.items())
        assert all(back[name].shape == value.shape for name, value in state.items())


def test_the_files_are_those_of_the_official_converter(gpt, tmp_path):
    target, state, wide = checkpoint.write(gpt.state(), gpt.sizes, tmp_path, 2), gpt.state(), gpt.sizes.width
    files = {path.name: path.stat().st_size // 4 for path in target.glob("*.bin")}
    layer = {re.sub(r"layers\.3\.", "", name): size for name, size in files.items() if "layers.3." in name}
    assert layer == {
        "model.input_layernorm.weight.bin": 128, "model.input_layernorm.bias.bin": 128,
        "model.attention.query_key_value.weight.0.bin": 128 * 3 * 64, "model.attention.query_key_value.weight.1.bin": 128 * 3 * 64,
        "model.attention.query_key_value.bias.0.bin": 3 * 64, "model.attention.query_key_value.bias.1.bin": 3 * 64,
        "model.attention.dense.weight.0.bin": 64 * 128, "model.attention.dense.weight.1.bin": 64 * 128,
        "model.attention.dense.bias.bin": 128, "model.post_attention_layernorm.weight.bin": 128,
        "model.post_attention_layernorm.bias.bin": 128, "model.mlp.dense_h_to_4h.weight.0.bin": 128 * 256,
        "model.mlp.dense_h_to_4h.weight.1.bin": 128 * 256, "model.mlp.dense_h_to_4h.bias.0.bin": 256,
        "model.mlp.dense_h_to_4h.bias.1.bin": 256, "model.mlp.dense_4h_to_h.weight.0.bin": 256 * 128,
        "model.mlp.dense_4h_to_h.weight.1.bin": 256 * 128, "model.mlp.dense_4h_to_h.bias.bin": 128,
    }  # fmt: skip
    assert {name: size for name, size in files.items() if "layers" not in name} == {
        "model.wte.bin": 512 * 128, "model.wpe.bin": 256 * 128, "model.final_layernorm.weight.bin": 128,
        "model.final_layernorm.bias.bin": 128,
    }  # fmt: skip
    part = np.fromfile(target / "model.layers.1.attention.query_key_value.weight.1.bin", "<f4").reshape(
        wide, 3, wide // 2
    )
    key = state["h.1.attn.c_attn.weight"][:, wide : 2 * wide]
    assert np.array_equal(part[:, 1], key[:, wide // 2 :])
    text = (target / "config.ini").read_text()
    for line in ("[gpt]", "head_num = 4", "size_per_head = 32", "inter_size = 512", "max_pos_seq_len = 256", "num_layer = 4",
                 "vocab_size = 512", "start_id = 511", "end_id = 511", "layernorm_eps = 1e-05", "weight_data_type = fp32",
                 "tensor_para_size = 2"):  # fmt: skip
        assert line in text.splitlines()


def test_a_head_of_its_own_and_half_precision_survive(tmp_path):
    state = weights.seeded(SMALL) | {"lm_head.weight": np.ones((512, 32), np.float32)}
    target = checkpoint.write(state, SMALL, tmp_path, 4, "fp16")
    found, back = checkpoint.read(target)
    assert found.dtype == "fp16" and (target / "model.lm_head.weight.bin").stat().st_size == 512 * 32 * 2
    assert all(np.array_equal(back[name], value.astype(np.float16)) for name, value in state.items())


def test_without_layernorm_eps_the_reader_takes_a_millionth(tmp_path):
    target = checkpoint.write(weights.seeded(SMALL), SMALL, tmp_path, 1)
    ini = target / "config.ini"
    ini.write_text(ini.read_text().replace("layernorm_eps = 1e-05\n", ""))
    assert checkpoint.header(target).sizes.epsilon == 1e-6


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("size_per_head = 8", "size_per_head = 16", r"model.wte.bin has 65536 bytes, but config.ini means 512 x 64 in fp32, 131072"),
        ("head_num = 4", "", "head_num is not there"), ("[gpt]", "[llama]", "gpt is not there"),
        ("num_layer = 2", "num_layer = two", "invalid literal"), ("num_layer = 2", "num_layer = 0", "a size below 1"),
        ("num_layer = 2", "num_layer = 3", "model.layers.2.input_layernorm.weight.bin cannot be read: No such file"),
        ("fp32", "int8", "weight_data_type int8 is not offered"), ("end_id", "activation_type = Relu\nend_id", "activation_type Relu"),
        ("tensor_para_size = 2", "tensor_para_size = 3", "heads 4 cannot be cut into 3 parts"),
    ],
)  # fmt: skip
def test_a_config_that_does_not_fit_its_files_is_one_line(tmp_path, old, new, said):
    target = checkpoint.write(weights.seeded(SMALL), SMALL, tmp_path, 2)
    ini = target / "config.ini"
    ini.write_text(ini.read_text().replace(old, new, 1))
    with pytest.raises(ModelError, match=said) as caught:
        checkpoint.read(target)
    assert "\n" not in str(caught.value)


def test_a_tokenizer_that_is_none_is_one_line(tmp_path):
    with pytest.raises(ModelError, match="no tokenizer of GPT-2's form"):
        tokenizer.load(tmp_path)
