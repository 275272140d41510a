"""The path tensorrt-llm: both forms against the official files, written whole, and wired through a real server with made-up members.

Nothing here runs TensorRT-LLM. tests/fixtures/tensorrt_llm.json holds the names that were read from its files; in the server, models of
tests/fixtures/made_up_tensorrt_llm stand where the image's own stand.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from accelkit import lint, machine, models, paths, repository, versions
from accelkit.backends.tensorrtllm import keys, tensors
from accelkit.errors import ConfigError, RequestError, ServerError
from accelkit.serving import Server

TRT = paths.get("tensorrt-llm")
GPT = models.get("gpt")
TESTS = Path(__file__).parents[1]
COMMITTED = TESTS.parent / "model_repository"
OFFICIAL = json.loads((TESTS / "fixtures/tensorrt_llm.json").read_text())
MADE_UP = TESTS / "fixtures/made_up_tensorrt_llm"
STEPS = {
    "": "ensemble",
    "_preprocessing": "preprocessing",
    "_engine": "tensorrt_llm",
    "_postprocessing": "postprocessing",
}
VERSIONS = [(name, one["era"]) for name, one in OFFICIAL["versions"].items()]


def packed(tensor) -> str:
    """A tensor of a config as the fixture writes it."""
    from tritonclient.grpc import model_config_pb2

    kind = model_config_pb2.DataType.Name(tensor.data_type).removeprefix("TYPE_")
    flags = {"optional": getattr(tensor, "optional", False), "ragged": getattr(tensor, "allow_ragged_batch", False)}
    flags["scalar"] = tensor.HasField("reshape")
    return " ".join([kind, ",".join(map(str, tensor.dims)), *(name for name, on in flags.items() if on)])


def test_it_is_never_available_and_says_what_is_missing():
    here = machine.probe()
    gpu = machine.Gpu("H200", 141.0, "9.0", "580")
    full = dataclasses.replace(here, runtimes={"tensorrt-llm": "1.2.1"}, gpus=(gpu,))
    bare = dataclasses.replace(here, runtimes={}, gpus=())
    assert "missing here: an NVIDIA GPU, that image (this kit runs nothing in it)" in TRT.unavailable(bare, GPT)
    assert "missing here: that image (this kit runs nothing in it)" in TRT.unavailable(full, GPT)
    assert TRT.unavailable(full, models.get()).endswith("text_recognition generates nothing")
    assert TRT.EVIDENCE == "none"


@pytest.mark.parametrize("form", TRT.FORMS)
def test_the_committed_configs_are_what_the_code_generates(form):
    made = TRT.configs(GPT, form)
    assert [one.name for one in made] == [
        f"gpt_tensorrt_llm{'_legacy' * (form == 'legacy')}{step}" for step in (STEPS if form == "legacy" else [""])
    ]
    for config in made:
        assert repository.equal(repository.read(COMMITTED / config.name), config)
    assert TRT.config(GPT, form=form) == made[0]
    beside = {path.name for path in COMMITTED.glob("gpt_tensorrt_llm*")}
    assert beside >= {one.name for one in made}


@pytest.mark.parametrize(("version", "era"), [one for one in VERSIONS if one[0].startswith("r")])
@pytest.mark.parametrize("streaming", [False, True])
def test_the_legacy_form_is_a_part_of_the_official_one(version, era, streaming):
    theirs = OFFICIAL["versions"][version]["models"]
    for config in TRT.configs(GPT, "legacy", streaming=streaming):
        step = config.name.removeprefix("gpt_tensorrt_llm_legacy")
        official = theirs[STEPS[step]]
        assert (config.backend or config.platform) == official["backend"]
        for side in ("input", "output"):
            for tensor in getattr(config, side):
                assert packed(tensor) == official[side][tensor.name], f"{config.name} {side} {tensor.name}"
        new = {"xgrammar_tokenizer_info_path", "multimodal_model_path"} if era == "legacy" else {"visual_model_path"}
        assert set(config.parameters) - new <= set(official["parameters"]), config.name
        assert [group.kind for group in config.instance_group] == ([] if step == "" else [2]), "KIND_CPU, one group"
    ensemble = TRT.configs(GPT, "legacy", streaming=streaming)[0]
    for step in ensemble.ensemble_scheduling.step:
        official = theirs["ensemble"]["steps"][STEPS[step.model_name.removeprefix("gpt_tensorrt_llm_legacy")]]
        assert dict(step.input_map).items() <= official["input"].items(), step.model_name
        assert dict(step.output_map).items() <= official["output"].items(), step.model_name


@pytest.mark.parametrize(("version", "era"), [one for one in VERSIONS if not one[0].startswith("r25.02")])
def test_the_llm_api_is_the_official_one(version, era):
    official = OFFICIAL["versions"][version]["models"]["llmapi"]
    config = TRT.config(GPT)
    assert (config.backend, config.max_batch_size) == (official["backend"], 0)
    for side in ("input", "output"):
        ours = {tensor.name: packed(tensor) for tensor in getattr(config, side)}
        shared = ours.keys() & official[side].keys()
        assert {name: ours[name] for name in shared} == {name: official[side][name] for name in shared}
        missing, later = official[side].keys() - ours.keys(), ours.keys() - official[side].keys()
        assert missing <= (tensors.LLMAPI_NEWER.keys() if version == "0a710573" else set())
        assert not later or version == "r25.05"


@pytest.mark.parametrize(("version", "era"), [one for one in VERSIONS if one[0].startswith("r")])
def test_the_tables_that_the_linter_reads_are_the_official_ones(version, era):
    official = OFFICIAL["versions"][version]["models"]["tensorrt_llm"]
    for side, table in (("input", tensors.ENGINE_INPUTS), ("output", tensors.ENGINE_OUTPUTS)):
        ours = {name: one for name, one in table.items() if era in one.eras}
        assert official[side].keys() <= ours.keys()
        assert ours.keys() - official[side].keys() <= {
            f"{verb}num_{what}_tokens" for verb in ("", "return_") for what in ("input", "output")
        }
        for name, said in official[side].items():
            kind, dims, *flags = said.split()
            assert ours[name].type in ("", kind) and ours[name].dims == tuple(map(int, dims.split(","))), name
            assert {flag for flag in ("optional", "ragged", "scalar") if getattr(ours[name], flag)} == set(flags), name
    known = {key.name for key in keys.KEYS if era in key.eras}
    assert set(official["parameters"]) <= known and known - set(official["parameters"]) == {"recv_poll_period_ms"} | (
        {"enable_trt_overlap"} - set(official["parameters"])
    )
    assert {key.name for key in keys.ASKED if era in key.eras} | {"gpt_model_type"} == set(OFFICIAL["asked"][era])
    assert {key.name for key in keys.PICTURES if era in key.eras} < set(OFFICIAL["looked_up"]["parameters"][era])
    assert {side: sorted(names) for side, names in tensors.LOOKED_UP.items()} == {
        side: sorted(OFFICIAL["looked_up"][side]) for side in tensors.LOOKED_UP
    }


def test_every_key_is_described_and_stands_once():
    assert len({key.name for key in keys.KEYS}) == len(keys.KEYS)
    for key in (*keys.KEYS, *keys.PICTURES):
        assert key.type in ("int", "float", "bool", "string") and key.effect and key.source and key.eras
    assert set(keys.ELSEWHERE).isdisjoint({*OFFICIAL["llm_arguments"]["names"], keys.TRITON})
    for name in keys.ELSEWHERE.values():
        outer, _, inner = name.partition(".")
        assert outer in OFFICIAL["llm_arguments"]["names"] or " " in name
        assert not inner or " " in name or inner in OFFICIAL["llm_arguments"][outer]
    assert set(keys.UNKNOWN).isdisjoint(OFFICIAL["architectures"]["names"])


def test_model_yaml_says_what_was_asked_for(tmp_path):
    built = TRT.build(
        GPT,
        tmp_path,
        tensor_para=2,
        pipeline_para=2,
        data_type="bf16",
        streaming=True,
        arguments={"max_num_tokens": 4096},
    )
    said = yaml.safe_load(built.files[keys.YAML].read_text())
    assert said.pop("triton_config") == {"max_batch_size": 0, "decoupled": True}
    assert set(said) <= set(OFFICIAL["llm_arguments"]["names"]) and set(said["kv_cache_config"]) <= set(
        OFFICIAL["llm_arguments"]["kv_cache_config"]
    )
    assert (said["tensor_parallel_size"], said["pipeline_parallel_size"], said["dtype"]) == (2, 2, "bfloat16")
    assert (said["model"], said["backend"], said["max_num_tokens"]) == ("/checkpoint", "pytorch", 4096)
    assert said["max_seq_len"] == GPT.sizes.positions
    assert "no network for GPT2LMHeadModel" in built.files[keys.YAML].read_text().splitlines()[0]
    other = TRT.build(GPT, tmp_path / "other", arguments={"model": "/models/my-llama"}).files[keys.YAML].read_text()
    assert other.startswith('model: "/models/my-llama"\n') and "GPT2" not in other
    assert TRT.build(GPT, tmp_path / "legacy", form="legacy").files == {}


@pytest.mark.parametrize("form", TRT.FORMS)
def test_a_written_repository_is_whole_and_free_of_findings(form, tmp_path):
    written = TRT.write(GPT, tmp_path / "models", form, tensor_para=2, streaming=True)
    assert [folder.name for folder in written] == [one.name for one in TRT.configs(GPT, form)]
    files = {str(file.relative_to(tmp_path)) for file in (tmp_path / "models").rglob("*") if file.is_file()}
    wanted = {f"models/{folder.name}/config.pbtxt" for folder in written}
    assert files == wanted | ({"models/gpt_tensorrt_llm/1/model.yaml"} if form == "llmapi" else set())
    for folder, config in zip(written, TRT.configs(GPT, form, streaming=True)):
        assert (folder / "1").is_dir() and repository.equal(repository.read(folder), config)
        eras = ("bridge", "current") if form == "llmapi" else None
        found = [one.line() for one in lint.file(folder / "config.pbtxt", eras) if one.severity != "info"]
        assert found == []


def test_the_checkpoint_is_what_the_mounted_one_is(tmp_path):
    said = TRT.commands(GPT, tmp_path / "models", "legacy")
    checkpoint = Path(re.search(r"-v (\S+):/checkpoint", said)[1])
    assert json.loads((checkpoint / "config.json").read_text())["architectures"] == list(keys.UNKNOWN)
    assert {"model.safetensors", "vocab.json", "merges.txt"} <= {file.name for file in checkpoint.iterdir()}


@pytest.mark.parametrize("era", ["legacy", "bridge", "current"])
def test_the_command_lines_name_what_is_there(era, tmp_path):
    folder = tmp_path / "models"
    said = TRT.commands(
        GPT, folder, "legacy", era=era, tensor_para=4, pipeline_para=2, data_type="fp32", max_batch_size=8, name="mine"
    )
    lines = [line for line in said.replace("\\\n", " ").splitlines() if not line.startswith("#")]
    words = [shlex.split(line) for line in lines]
    assert [word[0] for word in words] == ["docker", "PYTHONPATH=/app", "trtllm-build", "cp", "cp", "python3", "curl"]
    image = versions.get("images.trtllm" if era == "current" else f"images.{era}.trtllm")
    assert image in words[0] and image.endswith("-trtllm-python-py3") and f"{folder}:/models" in words[0]
    convert, build, serve = words[1], words[2], words[5]
    assert (
        convert[2]
        == ("/app/examples/gpt" if era == "legacy" else "/app/examples/models/core/gpt") + "/convert_checkpoint.py"
    )
    assert (convert[convert.index("--tp_size") + 1], convert[convert.index("--pp_size") + 1]) == ("4", "2")
    assert (
        convert[convert.index("--dtype") + 1] == "float32"
        and convert[convert.index("--output_dir") + 1] == "/tmp/converted"
    )
    assert (
        build[build.index("--checkpoint_dir") + 1] == "/tmp/converted"
        and build[build.index("--max_batch_size") + 1] == "8"
    )
    assert build[build.index("--max_seq_len") + 1] == str(GPT.sizes.positions)
    configs = {one.name: one for one in TRT.configs(GPT, "legacy", name="mine")}
    assert build[build.index("--output_dir") + 1] == configs["mine_engine"].parameters["gpt_model_path"].string_value
    assert (
        serve[serve.index("--world_size") + 1] == "8" and serve[serve.index("--tensorrt_llm_model_name") + 1] in configs
    )
    assert [word[2].split("/")[2] for word in words[3:5]] == ["mine_preprocessing", "mine_postprocessing"]
    body = json.loads(words[6][words[6].index("-d") + 1])
    assert set(body) <= {tensor.name for tensor in configs["mine"].input} and "/mine/generate" in words[6][1]


def test_the_llm_api_has_command_lines_where_its_image_has_a_model(tmp_path):
    for era in ("bridge", "current"):
        said = TRT.commands(GPT, tmp_path, era=era)
        body = json.loads(shlex.split(said.splitlines()[-1])[-1])
        assert set(body) <= {tensor.name for tensor in TRT.config(GPT).input}
        assert "cp /app/all_models/llmapi/tensorrt_llm/1/*.py /models/gpt_tensorrt_llm/1/" in said
    with pytest.raises(ConfigError, match="the legacy era has no model of the LLM API: take the form legacy"):
        TRT.commands(GPT, tmp_path, era="legacy")


def test_what_cannot_be_is_one_line(tmp_path):
    for said, call in {
        "has no form 'engine': there are llmapi, legacy": lambda: TRT.write(GPT, tmp_path, "engine"),
        "has no form 'vllm'": lambda: TRT.configs(GPT, "vllm"),
        "has no data_type 'int4': there are fp32, fp16, bf16": lambda: TRT.write(GPT, tmp_path, data_type="int4"),
        "heads 4 cannot be cut into 3 parts": lambda: TRT.write(GPT, tmp_path, tensor_para=3),
        "layers 4 cannot be cut into 3 parts": lambda: TRT.write(GPT, tmp_path, "legacy", pipeline_para=3),
        "has no era 'old': there are legacy, bridge, current": lambda: TRT.commands(GPT, tmp_path, era="old"),
        "trees generates nothing": lambda: TRT.configs(models.get("trees")),
        "text_recognition generates nothing": lambda: TRT.write(models.get(), tmp_path),
    }.items():
        with pytest.raises(ConfigError, match=re.escape(said)) as caught:
            call()
        assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def wired(folder: Path, streaming: bool) -> Path:
    """The legacy repository with made-up models in the place of the image's and of the engine."""
    for directory in TRT.write(GPT, folder, "legacy", streaming=streaming):
        step = directory.name.removeprefix("gpt_tensorrt_llm_legacy").removeprefix("_")
        if not step:
            continue
        looked_up = {
            **OFFICIAL["looked_up"],
            "parameters": ["tokenizer_dir", "visual_model_path", "multimodal_model_path"],
        }
        (directory / "1/looked_up.json").write_text(
            json.dumps({**looked_up, "asked": [key.name for key in keys.ASKED]})
        )
        shutil.copyfile(MADE_UP / f"{step}.py", directory / "1/model.py")
        config = directory / "config.pbtxt"
        config.write_text(config.read_text().replace('backend: "tensorrtllm"', 'backend: "python"'))
    return folder


PROMPT, COUNT = "It was a fine morning, and", 5


def wanted(count: int) -> str:
    """What the made-up engine makes of the prompt."""
    ids = GPT.tokenizer.encode(PROMPT)
    return GPT.tokenizer.decode([*ids, *ids[::-1][:count]])


def test_a_server_takes_the_ensemble_and_a_text_goes_all_the_way(tmp_path):
    with Server(wired(tmp_path / "models", False)) as server:
        asked = {"text_input": np.array([[PROMPT.encode()]], np.object_), "max_tokens": np.array([[COUNT]], np.int32)}
        told = server.infer("gpt_tensorrt_llm_legacy", asked)
        assert told["text_output"].ravel()[0].decode() == wanted(COUNT)
        with pytest.raises((RequestError, ServerError), match="unexpected inference input 'stream'"):
            server.infer("gpt_tensorrt_llm_legacy", {**asked, "stream": np.array([[True]])})


def test_a_decoupled_engine_sends_parts_through_the_ensemble(tmp_path):
    from queue import Queue

    import tritonclient.grpc as grpc

    heard: Queue = Queue()
    with Server(wired(tmp_path / "models", True)) as server, grpc.InferenceServerClient(server.grpc) as client:
        assert client.get_model_config("gpt_tensorrt_llm_legacy").config.model_transaction_policy.decoupled
        client.start_stream(lambda result, error: heard.put((result, error)))
        arrays = {
            "text_input": ("BYTES", np.array([[PROMPT.encode()]], np.object_)),
            "max_tokens": ("INT32", np.array([[COUNT]], np.int32)),
        }
        arrays["stream"] = ("BOOL", np.array([[True]]))
        inputs = [grpc.InferInput(name, list(array.shape), kind) for name, (kind, array) in arrays.items()]
        for tensor, (_, array) in zip(inputs, arrays.values()):
            tensor.set_data_from_numpy(array)
        client.async_stream_infer("gpt_tensorrt_llm_legacy", inputs)
        parts = [heard.get(timeout=60) for _ in range(COUNT)]
        assert [error for _, error in parts] == [None] * COUNT
        assert [part.as_numpy("text_output").ravel()[0].decode() for part, _ in parts] == [
            wanted(count + 1) for count in range(COUNT)
        ]


def unmap(config) -> None:
    """Take a required input of the engine out of the ensemble."""
    del config.ensemble_scheduling.step[1].input_map["request_output_len"]


def rename(config) -> None:
    """Call an input of the engine otherwise."""
    next(one for one in config.input if one.name == "runtime_top_k").name = "top_k"


def astray(config) -> None:
    """Name an engine that is not there."""
    config.ensemble_scheduling.step[1].model_name = "tensorrt_llm"


def decouple(config) -> None:
    """Let a model that returns its answers send parts."""
    config.model_transaction_policy.decoupled = True


# What is changed in which model's config, what the linter finds by which rule, and what the server says of the ensemble.
ENSEMBLE, PARTED = "trtllm-ensemble", "trtllm-text-decoupled"
BROKEN = {
    "smaller": (
        "_engine", lambda config: setattr(config, "max_batch_size", 8), "max_batch_size 64, and 8 in", ENSEMBLE,
        "only allows maximum batch size to be 8",
    ),
    "renamed": ("_engine", rename, "input runtime_top_k, which", ENSEMBLE, "non-existing input runtime_top_k"),
    "astray": ("", astray, "no model tensorrt_llm beside the ensemble", ENSEMBLE, "not available or ambiguous: tensorrt_llm"),
    "unfed": ("", unmap, "nothing for the input request_output_len", ENSEMBLE, "request_output_len|_REQUEST_OUTPUT_LEN"),
    "parted": ("_postprocessing", decouple, "decoupled: true after the engine", PARTED, "from different decoupled models"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_server_refuses_what_the_linter_finds_in_an_ensemble(name, tmp_path):
    step, change, found, rule, said = BROKEN[name]
    TRT.write(GPT, tmp_path / "linted", "legacy")
    wired(tmp_path / "models", False)
    for folder in ("linted", "models"):
        file = tmp_path / folder / f"gpt_tensorrt_llm_legacy{step}" / "config.pbtxt"
        config = repository.read(file)
        change(config)
        file.write_text(repository.text(config))
    findings = [one for file in lint.configs([tmp_path / "linted"]) for one in lint.file(file)]
    assert [one.rule for one in findings if found in one.what] == [rule]
    with Server(tmp_path / "models", models=[]) as server, pytest.raises(ServerError, match=said):
        server.load("gpt_tensorrt_llm_legacy")


@pytest.mark.parametrize(("told", "loads"), [("false", True), ("true", False)])
def test_model_yaml_may_not_contradict_the_config(told, loads, tmp_path):
    (folder,) = TRT.write(GPT, tmp_path)
    shutil.copyfile(MADE_UP / "llmapi.py", folder / "1/model.py")
    file = folder / "1/model.yaml"
    file.write_text(file.read_text().replace("decoupled: false", f"decoupled: {told}"))
    found = {one.rule for one in lint.file(folder / "config.pbtxt", ["current"])}
    assert ("llmapi-decoupled" in found) == (not loads)
    with Server(tmp_path, models=[]) as server:
        if not loads:
            with pytest.raises(ServerError, match="decoupled"):
                server.load(folder.name)
            return
        server.load(folder.name)
        asked = {"text_input": np.array([b"morning"], np.object_), "sampling_param_max_tokens": np.array([4], np.int32)}
        assert server.infer(folder.name, asked)["text_output"].ravel()[0] == b"morn"
