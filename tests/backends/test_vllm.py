"""The vllm stand-in on a real server, with a made-up engine that takes only the names of the real one."""

from __future__ import annotations

import inspect
import json
import re
import sys
import time
import urllib.request
from pathlib import Path
from queue import Queue
from types import SimpleNamespace

import engines
import numpy as np
import pytest

from accelkit import lint, models
from accelkit.backends.vllm import contract, keys, texts
from accelkit.errors import MeasureError, ServerError
from accelkit.measure import evidence
from accelkit.models.gpt import huggingface
from accelkit.serving import Server

HOT = {"max_tokens": 24, "temperature": 0}


def replaced(old: str, new: str):
    return lambda text: text.replace(old, new)


# Model: what differs from a good one, and what the refusal says.
REFUSED = {
    "unknown": ({"arguments": {"tensor_para_size": 2}}, r"model.json: .*unexpected keyword argument 'tensor_para_size'"),
    "nowhere": ({"arguments": {"model": "/nowhere"}}, "the engine of vLLM does not come up: Can't load the configuration of '/nowhere'"),
    "lora": ({"arguments": {"enable_lora": True}}, "enable_lora with multi_lora.json is not in this stand-in"),
    "words": ({"arguments": {"tensor_parallel_size": "two"}}, "tensor_parallel_size and pipeline_parallel_size must be numbers"),
    "metrics": ({"parameters": {"REPORT_CUSTOM_METRICS": "true"}}, "REPORT_CUSTOM_METRICS is not in this stand-in"),
    "integers": ({"text": replaced("TYPE_UINT32", "TYPE_INT32")}, "output 'num_input_tokens' is UINT32 with this backend"),
    "renamed": ({"text": replaced('"text_input"', '"prompt"')}, "input 'prompt' is none of text_input"),
}  # fmt: skip


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """A server with good and refused models, and the folder of its profiles."""
    folder = tmp_path_factory.mktemp("vllm")
    for name, options in {
        "two": {"tensor_para": 2},
        "short": {"text": lambda text: 'backend: "vllm"\ninstance_group [ { kind: KIND_MODEL } ]\n'},
        "watched": {"parameters": {"ENABLE_VLLM_HEALTH_CHECK": "true"}},
        "bare": {},
        "broken": {},
        **{name: options for name, (options, _) in REFUSED.items()},
    }.items():
        engines.add(folder / "models", name, **options)
    (folder / "models/bare/1/model.json").unlink()
    (folder / "models/broken/1/model.json").write_text("{")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCELKIT_PYTHON_VLLM", engines.python(folder))
        with Server(folder / "models", models=[], profile=folder / "profiles") as server:
            for name in ("two", "short", "watched"):
                server.load(name)
            yield server, folder


@pytest.fixture(scope="module")
def prompts():
    gpt = models.get("gpt")
    return [gpt.tokenizer.decode(one) for one in gpt.prompts("test", 3)]


def heard(server, model, **inputs):
    """The parts of an answer, each a dict of its outputs, or the text of an error."""
    import tritonclient.grpc as grpc

    said: Queue = Queue()
    tensors = []
    for name, value in inputs.items():
        kind = keys.INPUTS[name][0]
        array = np.array([value], bool) if kind == "BOOL" else np.array([str(value).encode()], object)
        tensors.append(grpc.InferInput(name, [1], "BOOL" if kind == "BOOL" else "BYTES"))
        tensors[-1].set_data_from_numpy(array)
    parts = []
    with grpc.InferenceServerClient(server.grpc) as client:
        client.start_stream(lambda result, error: said.put((result, error)))
        client.async_stream_infer(model, tensors, enable_empty_final_response=True)
        while True:
            result, error = said.get(timeout=60)
            if error:
                return str(error)
            response = result.get_response()
            if response.outputs:
                parts.append({io.name: result.as_numpy(io.name) for io in response.outputs})
            if response.parameters["triton_final_response"].bool_param:
                return parts


def words(prompt, count=24):
    """What the reference writes."""
    from accelkit.models.gpt import forward

    gpt = models.get("gpt")
    ids = forward.greedy(gpt.state(), gpt.sizes, gpt.tokenizer.encode(prompt), count, gpt.sizes.end)
    return gpt.tokenizer.decode(ids)


@pytest.mark.parametrize("model", ["two", "short"])
def test_it_writes_what_the_engine_writes_in_parts_or_at_once(loaded, prompts, model):
    server, _ = loaded
    for prompt in prompts:
        whole = heard(server, model, text_input=prompt, sampling_parameters=json.dumps(HOT))
        assert [part["text_output"].tolist() for part in whole] == [[(prompt + words(prompt)).encode()]]
        parts = heard(server, model, text_input=prompt, stream=True, sampling_parameters=json.dumps(HOT))
        assert len(parts) == 24
        assert b"".join(part["text_output"][0] for part in parts).decode() == words(prompt)
    alone = heard(
        server, model, text_input=prompts[0], exclude_input_in_output=True, sampling_parameters=json.dumps(HOT)
    )
    assert alone[0]["text_output"][0].decode() == words(prompts[0])


def test_further_outputs_come_when_they_are_asked_for(loaded, prompts):
    server, _ = loaded
    asked = dict.fromkeys(keys.RETURNS, True)
    hot = json.dumps({**HOT, "logprobs": 1})
    parts = heard(server, "two", text_input=prompts[0], stream=True, sampling_parameters=hot, **asked)
    assert all(set(part) == {"text_output", *keys.RETURNS.values()} for part in parts)
    assert sum(int(part["num_output_tokens"][0]) for part in parts) == 24
    assert parts[0]["num_input_tokens"].tolist() == [len(models.get("gpt").prompts("test", 1)[0])]
    assert [part["finish_reason"][0] for part in parts] == [b"None"] * 23 + [b"length"]
    rows = [json.loads(part["logprobs"][0]) for part in parts]
    assert all(len(row) == 1 for row in rows)
    total = sum(one["logprob"] for row in rows for one in row[0].values())
    assert parts[-1]["cumulative_logprob"][0] == pytest.approx(total, rel=1e-3)
    assert heard(server, "two", text_input=prompts[0], return_logprobs=True)[0]["logprobs"].tolist() == [b"null"]


def test_http_generates_with_parameters_of_the_request(loaded, prompts):
    server, _ = loaded
    body = json.dumps(
        {"text_input": prompts[0], "max_tokens": "24", "temperature": "0", "exclude_input_in_output": True}
    )
    request = urllib.request.Request(f"http://{server.http}/v2/models/two/generate", body.encode())
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert json.loads(answer.read())["text_output"] == words(prompts[0])


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"sampling_parameters": "{"}, "sampling_parameters cannot be read"),
        ({"sampling_parameters": '{"request_output_len": 5}'}, "vLLM's SamplingParams has no 'request_output_len'"),
        ({"sampling_parameters": '{"max_tokens": 0}'}, "max_tokens must be at least 1"),
        ({"sampling_parameters": '{"max_tokens": "many"}'}, "sampling_parameters cannot be read: invalid literal"),
        ({"stream": True, "exclude_input_in_output": False}, "When streaming, `exclude_input_in_output` = False is not allowed."),
    ],
)  # fmt: skip
def test_a_request_that_cannot_be_met_is_refused_in_one_line(loaded, inputs, said):
    server, _ = loaded
    answer = heard(server, "two", text_input="It was", **inputs)
    assert isinstance(answer, str) and said in answer and "\n" not in answer


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_served_is_refused_in_one_line(loaded, name):
    server, _ = loaded
    with pytest.raises(ServerError) as caught:
        server.load(name)
    said = str(caught.value)
    assert re.search(REFUSED[name][1], said) and "\n" not in said, said


def test_files_that_are_none_are_refused(loaded):
    server, _ = loaded
    with pytest.raises(ServerError, match="'model.json' containing vllm engine args must be provided in"):
        server.load("bare")
    with pytest.raises(
        ServerError, match="model.json cannot be read as the arguments of vLLM's engine: Expecting property"
    ):
        server.load("broken")


def test_a_dead_engine_is_said_and_with_a_health_check_unloaded(loaded):
    server, _ = loaded
    assert "Error generating stream: EngineCore encountered an issue." in heard(server, "watched", text_input="die")
    assert "Model is unavailable due to unhealthy vLLM engine" in heard(server, "watched", text_input="It was")
    deadline = time.monotonic() + 30
    while server.ready("watched") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not server.ready("watched") and server.ready("two")


def test_reports_are_evidence(loaded, prompts, tmp_path):
    server, folder = loaded
    heard(server, "two", text_input=prompts[0])
    server.unload("two")
    found = evidence.READERS["vllm"](folder / "profiles" / "two")
    assert found.nodes == {"vLLM rank float32": 2} and found.observed == "fp32"
    assert "vLLM 0.24.0, tensor parallel 2, pipeline parallel 1" in found.how
    with pytest.raises(MeasureError, match="0 reports of vLLM and no written id"):
        evidence.READERS["vllm"](tmp_path)
    server.load("two")


def test_the_server_completes_what_a_short_config_leaves_out(loaded):
    server, _ = loaded
    full, short = server.config("two"), server.config("short")
    assert short["max_batch_size"] == 0 and short["model_transaction_policy"]["decoupled"]
    for side in ("input", "output"):
        names = {io["name"] for io in short[side]}
        assert names == set(keys.INPUTS if side == "input" else keys.OUTPUTS) >= {io["name"] for io in full[side]}


def test_without_vllm_the_server_says_so(tmp_path, monkeypatch):
    monkeypatch.delenv("ACCELKIT_PYTHON_VLLM", raising=False)
    engines.add(tmp_path / "models", "absent")
    with (
        Server(tmp_path / "models", models=[]) as server,
        pytest.raises(ServerError, match="vLLM is not here: it needs"),
    ):
        server.load("absent")


def test_every_key_is_named_in_the_table_alone():
    assert {id(one) for one in vars(keys).values() if isinstance(one, keys.Key)} == {id(key) for key in keys.KEYS}
    names = "|".join([*(key.name for key in keys.KEYS), keys.TENSOR_PARA, keys.ARGUMENTS, keys.SAMPLING])
    for path in Path(keys.__file__).parent.glob("*.py"):
        assert path.name == "keys.py" or not re.findall(f'"(?:{names})"', path.read_text()), path


def test_arguments_that_the_path_writes_are_the_engines(tmp_path):
    names = json.loads((engines.MADE_UP / "0.24.0.json").read_text())["AsyncEngineArgs"]
    gpt = models.get("gpt")
    built = engines.VLLM.build(gpt, tmp_path, tensor_para=4, data_type="bf16", arguments={"load_format": "dummy"})
    said = json.loads(built.files["model.json"].read_text())
    assert set(said) <= set(names)
    assert (said["tensor_parallel_size"], said["dtype"], said["max_model_len"]) == (4, "bfloat16", 256)
    assert Path(said["model"]) == huggingface.directory(gpt)


def test_the_checkpoint_is_one_that_transformers_reads():
    transformers = pytest.importorskip("transformers")
    gpt = models.get("gpt")
    folder = huggingface.directory(gpt)
    made = transformers.GPT2LMHeadModel.from_pretrained(folder)
    assert np.array_equal(made.transformer.wte.weight.detach().numpy(), gpt.state()["wte.weight"])
    text = "It was a fine morning, and"
    assert transformers.AutoTokenizer.from_pretrained(folder).encode(text) == gpt.tokenizer.encode(text)


def test_numbers_in_text_become_numbers():
    types = json.loads((engines.MADE_UP / "0.24.0.json").read_text())["SamplingParams"]
    found = contract.sampling('{"max_tokens": "7", "top_p": "0.5", "stop": ["x"], "seed": "3"}', types)
    assert found == {"max_tokens": 7, "top_p": 0.5, "stop": ["x"], "seed": 3}
    real = {"max_tokens": inspect.signature(lambda x: x).empty, "top_p": float}
    assert contract.sampling('{"top_p": "0.5"}', real) == {"top_p": 0.5}


def test_the_linter_finds_nothing_in_what_the_path_writes(loaded):
    _, folder = loaded
    assert lint.file(folder / "models/two/config.pbtxt") == [] and "vllm" not in sys.modules


def test_text_under_numpy_2_leaves_numpy_as_it_is(monkeypatch):
    """What the stub finds while it looks, and that it is gone afterwards; the server above shows that it reads right."""
    import numpy.core.multiarray as theirs

    assert np.__version__ >= "2"
    table, seen = theirs._ARRAY_API, []

    class Stub(SimpleNamespace):
        def Tensor(self, name, array):
            found = sys.modules[texts.MODULE]._ARRAY_API
            text = self.serialize_byte_tensor(array) if array.dtype == object else array
            seen.append((found, text, text.dtype.flags, text.size))

    monkeypatch.setattr(texts, "_kept", [])
    stub = Stub(serialize_byte_tensor=None)
    for _ in range(2):
        texts.mend(stub)
    texts.tensor(stub, "text_output", np.array([b"a", b"longer"], object))
    (own, *_), (after, text, flags, size) = seen
    assert own is not table and after is table, "its own table is there for its first array only"
    assert sys.modules[texts.MODULE] is theirs and theirs._ARRAY_API is table
    assert (flags, size, text.tobytes()) == (1, 15, b"\1\0\0\0a\6\0\0\0longer")
    assert text.dtype.flags == np.dtype("V1").flags == 0 and stub.serialize_byte_tensor is None
