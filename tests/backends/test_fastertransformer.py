"""The fastertransformer stand-in on real servers: every cut answers as the reference does, and what it refuses and how."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

import gpts
import numpy as np
import pytest
import small

from accelkit import lint, models
from accelkit.backends.fastertransformer import keys
from accelkit.backends.key import Key
from accelkit.errors import AccelkitError, RequestError, ServerError
from accelkit.measure import evidence
from accelkit.models.gpt import forward, sizing
from accelkit.serving import Server

pytest.importorskip("torch")
CUTS = {"t1": (1, 1), "t2": (2, 1), "p2": (1, 2), "t2p2": (2, 2)}
COUNT = 64


def edited(old: str, new: str):
    """A change of config.ini."""

    def change(directory):
        path = directory / "config.ini"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return change


def cut_short(directory):
    path = directory / "model.layers.2.mlp.dense_h_to_4h.weight.1.bin"
    path.write_bytes(path.read_bytes()[:-4])


def missing(directory):
    (directory / "model.layers.2.attention.dense.weight.1.bin").unlink()


def replaced(old: str, new: str):
    """A change of config.pbtxt."""
    return {"text": lambda config: config.replace(old, new)}


# Model: what differs from a good one of two ranks, and what the refusal says.
REFUSED = {
    "heads": ({"ranks": 3, "cut": 1, "change": lambda path: path.rename(path.parent / "3-gpu")}, "cut for tensor_para_size 1, the"),
    "heads_ini": (
        {"ranks": 3, "cut": 2, "change": lambda path: (edited("tensor_para_size = 2", "tensor_para_size = 3")(path),
                                                       path.rename(path.parent / "3-gpu"))},
        "heads 4 cannot be cut into 3 parts for tensor parallelism: take one of 1, 2, 4",
    ),
    "stages": ({"stages": 3}, "layers 4 cannot be cut into 3 parts for pipeline parallelism: take one of 1, 2, 4"),
    "other_cut": ({"ranks": 4, "cut": 2}, "no checkpoint directory .*/4-gpu; 2-gpu is there, cut for another tensor_para_size"),
    "missing": ({"change": missing}, "dense.weight.1.bin cannot be read: No such file or directory; every rank of every layer"),
    "cut_short": ({"change": cut_short}, "dense_h_to_4h.weight.1.bin has 131068 bytes, but config.ini means 128 x 256 in fp32, 131072"),
    "head_size": (
        {"change": edited("size_per_head = 32", "size_per_head = 64")}, "model.wte.bin has 262144 bytes, but config.ini means 512 x 256",
    ),
    "no_ini": ({"change": lambda path: (path / "config.ini").unlink()}, "config.ini cannot be read as FasterTransformer's: No such"),
    "int8_files": ({"change": edited("= fp32", "= int8")}, "weight_data_type int8 is not offered"),
    "no_tensor_para": (replaced('key: "tensor_para_size"', 'key: "tensor_para"'), "Invalid configuration argument 'tensor_para_size'"),
    "zero_ranks": ({"parameters": {"tensor_para_size": "0"}}, "Invalid configuration argument 'tensor_para_size': 0 is below 1"),
    "letters": ({"parameters": {"tensor_para_size": "two"}}, "failed to convert 'two' to integral number"),
    "int8": ({"parameters": {"int8_mode": "1"}}, "int8_mode 1 is not in this stand-in"),
    "fp8": ({"data_type": "fp8"}, "^Invalid configuration argument 'data_type': fp8$"),
    "gptj": ({"parameters": {"model_type": "GPT-J"}}, "model_type GPT-J is not in this stand-in: it serves checkpoints of GPT$"),
    "nonsense": ({"parameters": {"model_type": "RNN"}}, '^Unknown model "RNN"$'),
    "two_groups": (
        replaced("instance_group {", "instance_group { kind: KIND_CPU count: 1 }\ninstance_group {"), "Only supports one instance group !",
    ),
    "elsewhere": ({"parameters": {"model_checkpoint_path": "/nowhere/2-gpu"}}, "^no checkpoint directory /nowhere/2-gpu$"),
    "int32": (replaced("TYPE_UINT32", "TYPE_INT32"), "input 'input_ids' is UINT32 with this backend, the configuration has TYPE_INT32"),
    "old_names": (replaced('"output_ids"', '"OUTPUT0"'), "the configuration has no output 'output_ids'"),
    "kind_gpu": (replaced("KIND_CPU", "KIND_GPU"), "KIND_GPU but no GPUs are available|only KIND_CPU supports"),
}  # fmt: skip


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """A server with every cut, a streaming one and those that are refused; none is loaded. Then the folder of profiles."""
    folder, profiles = tmp_path_factory.mktemp("repository"), tmp_path_factory.mktemp("profiles")
    for name, (ranks, stages) in CUTS.items():
        gpts.add(folder, name, ranks, stages)
    gpts.add(folder, "streaming", 2, streaming=True)
    gpts.add(folder, "gathering", text=lambda text: text.replace(
        "dynamic_batching {", "dynamic_batching {\n  max_queue_delay_microseconds: 500000\n"))  # fmt: skip
    for name, (options, _) in REFUSED.items():
        gpts.add(folder, name, **{"ranks": 2, **options})
    with Server(folder, models=[], profile=profiles, env={"ACCELKIT_MEMORY_MB": "48"}) as server:
        yield server, folder, profiles


@pytest.fixture(scope="module")
def served(loaded):
    """The server with the uncut GPT and the one of two ranks."""
    server, *_ = loaded
    for name in ("t1", "t2"):
        server.load(name)
    return server


@pytest.fixture(scope="module")
def prompts():
    return models.get("gpt").prompts("test", 16)


@pytest.mark.parametrize("name", CUTS)
def test_every_cut_writes_what_the_reference_writes(loaded, prompts, name):
    server, folder, profiles = loaded
    gpt, (ranks, stages) = models.get("gpt"), CUTS[name]
    server.load(name)
    found = server.infer(name, gpts.inputs(prompts, COUNT))
    wanted = gpt.reference("test", 16)
    assert np.array_equal(found["output_ids"][:, :, :112], wanted["output_ids"])
    assert np.array_equal(found["sequence_length"], wanted["sequence_length"])
    assert found["response_input_lengths"].ravel().tolist() == [len(prompt) for prompt in prompts]
    processes = gpts.ranks(folder / name)
    assert len(processes) == ranks * stages
    instance = re.search(r"PPid:\s*(\d+)", Path(f"/proc/{processes[0]}/status").read_text())[1]
    assert "libtorch" not in Path(f"/proc/{instance}/maps").read_text()  # nothing that ranks say brings it in
    server.unload(name)
    assert gpts.gone(processes)

    (report,) = (profiles / name).glob("*.transformer")
    facts, sizes = json.loads(report.read_text()), gpt.sizes
    every = 4 * sizing.cut(sizes)
    rows, one = 16, sizing.said(sizes, ranks, stages)
    # Prompts at once, padded to the longest, then one id of every row.
    passed = rows * (max(map(len, prompts)) + COUNT - 1)
    times = {"all_reduce": passed, "send": passed, "all_gather": rows * COUNT, "broadcast": rows * COUNT}
    for rank in facts["ranks"]:
        assert rank["split"] * ranks * stages == every and rank["steps"] == COUNT and rank["ids"] == rows * COUNT
        assert rank["cache"] * ranks * stages == sizing.cache(sizes, rows, max(map(len, prompts)) + COUNT)
        last = rank["stage"] == stages - 1
        calls = {
            "all_reduce": 2 * sizes.layers // stages * COUNT * (ranks > 1), "all_gather": COUNT * (ranks > 1 and last),
            "send": COUNT * (not last), "broadcast": COUNT * (stages > 1 and last),
        }  # fmt: skip
        assert rank["calls"] == {kind: count for kind, count in calls.items() if count}
        assert rank["bytes"] == {kind: one[kind] * times[kind] for kind in rank["calls"]}
        # Between two ranks all-reduce and all-gather send a rank's part once; what TCP brought over is that, and headers.
        total, messages = sum(rank["bytes"].values()), sum(rank["calls"].values()) + 2 * COUNT * (stages > 1)
        assert total <= rank["wire"] <= total + 640 * messages, (total, messages)
    held = evidence.READERS["fastertransformer"](profiles / name)
    assert held.observed == "fp32" and held.nodes == {"cpu layer float32": sizes.layers * ranks}
    assert f"tensor parallel {ranks}, pipeline parallel {stages}, gloo" in held.how


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_served_is_refused_in_one_line(loaded, name):
    server, folder, _ = loaded
    with pytest.raises(ServerError) as caught:
        server.load(name)
    said = str(caught.value)
    assert "\n" not in said
    reason = said.partition(f"'{name}'")[2].partition(": ")[2]
    assert re.search(REFUSED[name][1], reason), said
    assert gpts.gone(gpts.ranks(folder / name))


def test_what_is_refused_for_its_config_the_linter_finds(loaded):
    _, folder, _ = loaded
    elsewhere = {
        "missing",
        "cut_short",
        "head_size",
        "int8",
        "gptj",
        "elsewhere",
    }  # in files' sizes, or the stand-in's alone
    for name in REFUSED:
        errors = {found.rule for found in lint.file(folder / name / "config.pbtxt") if found.severity == "error"}
        assert (not errors) == (name in elsewhere), (name, errors)
    for name in (*CUTS, "streaming", "gathering"):
        assert {found.rule for found in lint.file(folder / name / "config.pbtxt")} == {"ft-compiled"}


def test_the_instance_itself_needs_no_pytorch():
    """Its ranks do; a model that is refused is refused seconds sooner."""
    modules = ", ".join(f"accelkit.backends.fastertransformer.{name}" for name in ("run", "ranks", "settings"))
    code = f"import sys, {modules}; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_every_key_is_described_and_named_in_the_table_alone():
    assert {id(key) for key in vars(keys).values() if isinstance(key, Key)} == {id(key) for key in keys.KEYS}
    names = "|".join(key.name for key in keys.KEYS if key.name != "data_type")
    for path in Path(keys.__file__).parent.glob("*.py"):
        assert path.name == "keys.py" or not re.findall(f'"(?:{names})"', path.read_text()), path
    for key in keys.KEYS:
        assert key.type in ("int", "string") and key.effect and key.source


LONG = [[5] * 200]
BAD = {
    "context": (
        LONG,
        {"count": 57},
        r"200 ids and request_output_len 57 make 257, more than the 256 positions \(max_pos_seq_len\)",
    ),
    "no_output": ([[5, 6]], {"count": 0}, "request_output_len is 0: ask for one id at least"),
    "beams": ([[5, 6]], {"beam_width": 4}, "beam_width 4 is not in this stand-in: write 1"),
    "vocabulary": ([[5, 512]], {}, "input_ids holds 512, the vocabulary ends at 511"),
    "top_p": ([[5, 6]], {"runtime_top_p": 1.5}, "runtime_top_p is 1.5: it is a probability"),
    "top_k": ([[5, 6]], {"runtime_top_k": 2000}, "runtime_top_k is 2000: the largest is 1024"),
    "temperature": ([[5, 6]], {"temperature": 0}, "temperature 0 and repetition_penalty 1 must be above 0"),
    "words": ([[5, 6]], {"stop_words_list": [[[1], [1], [1]]]}, "stop_words_list has shape|unexpected shape for input"),
    "memory": (
        [[5] * 100] * 60,
        {"count": 100},
        r"out of memory: the key-value cache and the activations of 60 rows take \d+",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_request_that_cannot_be_met_is_refused_in_one_line(served, name, prompts):
    ids, more, said = BAD[name]
    with pytest.raises(RequestError, match=said) as caught:
        served.infer("t2", gpts.inputs(ids, **more))
    assert "\n" not in str(caught.value)
    assert len(gpts.answers(served.infer("t2", gpts.inputs(prompts[:1], 3)), prompts[:1])[0]) == 3  # it goes on


def test_lengths_that_are_not_those_of_the_ids_are_refused(served):
    for length in (0, 3):
        asked = gpts.inputs([[5, 6]], 4)
        asked["input_lengths"][:] = length
        with pytest.raises(RequestError, match=f"input_lengths is {length}, but input_ids holds 2 ids"):
            served.infer("t2", asked)


def test_weights_that_do_not_fit_are_refused_before_they_are_read(tmp_path):
    gpts.add(tmp_path, "large", 2)
    with Server(tmp_path, models=[], env={"ACCELKIT_MEMORY_MB": "2"}) as server, pytest.raises(ServerError) as caught:
        server.load("large")
    assert "out of memory: the weights of all ranks take 4." in str(caught.value) and "\n" not in str(caught.value)


def test_rows_of_a_request_may_ask_for_different_numbers(served, prompts):
    gpt = models.get("gpt")
    asked = gpts.inputs(prompts[:4], 1)
    asked["request_output_len"] = np.array([[5], [64], [1], [30]], np.uint32)
    found = served.infer("t2", asked)
    reference = gpts.answers(gpt.reference("test", 4), prompts[:4])
    assert gpts.answers(found, prompts[:4]) == [told[:count] for told, count in zip(reference, (5, 64, 1, 30))]
    assert set(found["output_ids"][2, 0, len(prompts[2]) + 1 :].tolist()) == {gpt.sizes.end}


def test_a_seed_gives_the_same_ids_again_whatever_stands_beside(served, prompts):
    drawn = {"runtime_top_k": 20, "temperature": 1.5, "random_seed": 7}
    alone = gpts.answers(served.infer("t2", gpts.inputs(prompts[:1], 30, **drawn)), prompts[:1])
    beside = gpts.inputs(prompts[:3], 30, **drawn | {"random_seed": [7, 8, 9]})
    among = gpts.answers(served.infer("t2", beside), prompts[:3])
    uncut = gpts.answers(served.infer("t1", beside), prompts[:3])
    other = gpts.answers(served.infer("t2", gpts.inputs(prompts[:1], 30, **drawn | {"random_seed": 8})), prompts[:1])
    assert alone[0] == among[0] == uncut[0] and among == uncut and other != alone
    greedy = gpts.answers(served.infer("t2", gpts.inputs(prompts[:1], 30)), prompts[:1])
    assert alone != greedy
    for only in ({"runtime_top_k": 1}, {"runtime_top_p": 1e-6}, {"runtime_top_k": 5, "runtime_top_p": 1e-6}):
        assert gpts.answers(served.infer("t2", gpts.inputs(prompts[:1], 30, **only)), prompts[:1]) == greedy


def test_a_penalty_an_end_and_words_change_what_is_written(served, prompts):
    one = prompts[:1]

    def ask(**more):
        return gpts.answers(served.infer("t2", gpts.inputs(one, 40, **more)), one)[0]

    plain = ask()
    assert len(set(ask(repetition_penalty=5.0))) > len(set(plain))
    end = plain[9]
    assert ask(end_id=end) == plain[: plain.index(end) + 1]
    pair = plain[4:6]
    first = next(index for index in range(1, 40) if plain[index - 1 : index + 1] == pair)
    assert ask(stop_words_list=[[pair, [2, -1]]]) == plain[: first + 1]
    without = ask(bad_words_list=[[[plain[0]], [1]]])
    assert plain[0] not in without and without != plain
    apart = ask(bad_words_list=[[pair, [2, -1]]])
    assert all(apart[index : index + 2] != pair for index in range(39))


def test_all_rows_at_once_are_chosen_as_each_alone():
    """What is drawn or penalised is chosen row by row; with the same numbers that is no other choice, whatever stands beside."""
    import torch

    from accelkit.backends.fastertransformer import sampling
    from accelkit.backends.fastertransformer.contract import Row

    rows = [Row((1, 2), 9, 0, top_k=number % 2, temperature=0.5 + number / 4) for number in range(8)]
    drawn = Row((3, 4), 9, 0, top_k=20, temperature=2.0, seed=7, repetition_penalty=1.5, bad=((5,),))
    logits = torch.randn((3, 9, 600), generator=torch.Generator().manual_seed(0))
    together, mixed = sampling.Chooser(rows), sampling.Chooser([*rows, drawn])
    only = sampling.Chooser([drawn])
    alone = [sampling.Chooser([Row(**{**vars(row), "bad": ((1, 1, 1, 599),)})]) for row in rows]  # never comes true
    for step in logits:
        ids, chances = together.choose(step[:8])
        each = [chooser.choose(values[None]) for chooser, values in zip(alone, step)]
        assert ids.tolist() == [int(index) for index, _ in each]
        assert np.allclose(chances, [float(chance) for _, chance in each], atol=1e-6)
        beside, theirs = mixed.choose(step)
        last, its = only.choose(step[8:])
        assert beside.tolist() == [*ids.tolist(), *last.tolist()]
        assert np.allclose(theirs, [*chances, *its], atol=1e-6)


def test_log_probabilities_are_those_of_the_reference(served, prompts):
    gpt = models.get("gpt")
    found = served.infer("t2", gpts.inputs(prompts[:2], 6, is_return_log_probs=True))
    for row, prompt in enumerate(prompts[:2]):
        told = [*prompt, *gpts.answers(found, prompts[:2])[row]]
        logits = forward.logits(gpt.state(), gpt.sizes, np.array([told[:-1]]))[0, len(prompt) - 1 :].astype(np.float64)
        chances = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        wanted = chances[np.arange(6), told[len(prompt) :]]
        assert np.allclose(found["output_log_probs"][row, 0], wanted, atol=1e-4)
        assert np.allclose(found["cum_log_probs"][row, 0], wanted.sum(), atol=1e-3)


def test_requests_of_different_lengths_run_as_one_batch(loaded, prompts):
    server, *_ = loaded
    server.load("gathering")
    wanted = gpts.answers(models.get("gpt").reference("test", 6), prompts[:6])
    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(server.infer, "gathering", gpts.inputs([prompt])) for prompt in prompts[:6]]
        told = [gpts.answers(one.result(), [prompt])[0] for one, prompt in zip(asked, prompts)]
    assert told == wanted
    assert small.counted(server, "gathering", 6)["execution_count"] < 4
    server.unload("gathering")


def test_streaming_sends_every_id_when_it_is_there(loaded, prompts):
    import tritonclient.grpc as grpc

    server, *_ = loaded
    server.load("streaming")
    heard: Queue = Queue()
    client = grpc.InferenceServerClient(server.grpc)
    client.start_stream(lambda result, error: heard.put((result, error)))
    inputs = []
    for name, array in gpts.inputs(prompts[:1], 12).items():
        inputs.append(grpc.InferInput(name, list(array.shape), {"uint32": "UINT32"}[array.dtype.name]))
        inputs[-1].set_data_from_numpy(array)
    client.async_stream_infer("streaming", inputs, enable_empty_final_response=True)
    lengths, last = [], None
    while True:
        result, error = heard.get(timeout=60)
        assert error is None, error
        if result.as_numpy("output_ids") is None:
            break
        last = {name: result.as_numpy(name) for name in ("output_ids", "sequence_length")}
        lengths.append(int(last["sequence_length"][0, 0]) - len(prompts[0]))
    assert lengths == list(range(1, 13))
    assert (
        gpts.answers(last, prompts[:1])[0] == gpts.answers(models.get("gpt").reference("test", 1), prompts[:1])[0][:12]
    )
    bad = [grpc.InferInput("request_output_len", [1, 1], "UINT32")]
    bad[0].set_data_from_numpy(np.array([[0]], np.uint32))
    client.async_stream_infer("streaming", [*inputs[:2], *bad])
    _, error = heard.get(timeout=60)
    assert "request_output_len is 0" in str(error)
    client.stop_stream()
    server.unload("streaming")


def test_a_killed_rank_ends_the_request_and_nothing_else(served, loaded, prompts):
    _, folder, _ = loaded
    before = gpts.ranks(folder / "t2")
    assert len(before) == 2
    said: list[Exception] = []

    def ask() -> None:
        try:
            for _ in range(20):
                served.infer("t2", gpts.inputs(prompts[:8], 200))
        except AccelkitError as error:
            said.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(0.7)
    os.kill(before[1], signal.SIGKILL)
    assert len(gpts.answers(served.infer("t1", gpts.inputs(prompts[:2], 8)), prompts[:2])[0]) == 8  # others go on
    thread.join(60)
    assert len(said) == 1 and isinstance(said[0], RequestError)
    text = f"the request was given up: rank 1 of 2 (process {before[1]}) was ended by signal 9 (SIGKILL); the ranks start anew"
    assert text in str(said[0]) and "\n" not in str(said[0])
    assert gpts.gone(before)
    wanted = gpts.answers(models.get("gpt").reference("test", 4), prompts[:4])
    assert gpts.answers(served.infer("t2", gpts.inputs(prompts[:4])), prompts[:4]) == wanted
    after = gpts.ranks(folder / "t2")
    assert len(after) == 2 and not set(after) & set(before)
    # One that dies while nothing is asked is replaced with the next request, which notices nothing.
    os.kill(after[0], signal.SIGKILL)
    assert gpts.gone(after[:1])
    assert gpts.answers(served.infer("t2", gpts.inputs(prompts[:4])), prompts[:4]) == wanted
    assert gpts.gone(after) and len(gpts.ranks(folder / "t2")) == 2


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_no_rank_outlives_its_server(tmp_path, end):
    """And nothing stays of what they found each other by."""
    models, folder = tmp_path / "models", tmp_path / "scratch"
    folder.mkdir()
    gpts.add(models, "left", 2, 2)
    with Server(models, env={"TMPDIR": str(folder)}) as server:
        held = gpts.ranks(models / "left")
        assert len(held) == 4
        os.kill(server.pid, end)
        assert gpts.gone(held)
    assert not list(folder.iterdir())


WAITS = """
import os, signal, sys, time
import torch
from accelkit.backends.fastertransformer import links

links.PATIENCE_S = 5
store, ranks = sys.argv[1], int(sys.argv[2])
silent = os.fork()
mine = links.Links(0 if silent else 1, ranks, 2 // ranks, store, False)
if not silent:
    time.sleep(60)
    sys.exit()
try:
    (mine.sum if ranks == 2 else mine.tell)(torch.ones(4))
except RuntimeError:
    print("failed")
finally:
    os.kill(silent, signal.SIGKILL)
"""


@pytest.mark.parametrize("ranks", [2, 1])
def test_a_rank_waits_for_another_only_so_long(tmp_path, ranks):
    """In the groups too, that of a layer's ranks and that of the stages: each has a timeout of its own."""
    command = [sys.executable, "-c", WAITS, str(tmp_path / "store"), str(ranks)]
    assert subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60).stdout == "failed\n"


@pytest.mark.parametrize("data_type", ["fp16", "bf16"])
def test_half_precision_is_computed_in_half_precision(tmp_path, prompts, data_type):
    gpts.add(tmp_path, "half", 2, data_type=data_type)
    with Server(tmp_path, profile=tmp_path / "profiles") as server:
        found = gpts.answers(server.infer("half", gpts.inputs(prompts)), prompts)
    wanted = gpts.answers(models.get("gpt").reference("test", 16), prompts)
    same = sum(one[:8] == other[:8] for one, other in zip(found, wanted))
    assert same >= 10
    assert evidence.READERS["fastertransformer"](tmp_path / "profiles" / "half").observed == data_type
