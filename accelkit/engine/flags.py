"""A command line of trtexec for a newer TensorRT: what is gone, what stands in its place, and what now means something else.

What a version reads stands in its samples/common/sampleOptions.cpp: 8.6, 10 as of its last minor, and 11.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from accelkit.errors import ConfigError

VERSIONS = ("8.6", "10", "11")
_ALL = """allowGPUFallback avgRuns avgTiming buildDLAStandalone builderOptimizationLevel consistency device directIO
dumpLayerInfo dumpOutput dumpProfile dumpRawBindingsToFile dumpRefit duration dynamicPlugins excludeLeanRuntime
exportLayerInfo exportOutput exportProfile exportTimes exposeDMA hardwareCompatibilityLevel help idleTime
ignoreParsedPluginLibs infStreams inputIOFormats iterations layerDeviceTypes leanDLLPath loadEngine loadInputs
maxAuxStreams maxShapes memPoolSize minShapes noBuilderCache noDataTransfers noTF32 onnx optShapes outputIOFormats
percentile persistentCacheRatio plugins preview profilingVerbosity refit safe saveEngine separateProfileRun
setPluginsToSerialize shapes skipInference sleepTime sparsity staticPlugins streams tacticSources tempdir
tempfileControls threads timeDeserialize timeRefit timingCacheFile useCudaGraph useDLACore useManagedMemory useRuntime
useSpinWait vc verbose versionCompatible warmUp"""
_SINCE_10 = """adjustForDLA allocationStrategy allowWeightStreaming asyncFileReader cpuOnly decomposableAttentions
distributiveIndependence dumpKernelText dumpOptimizationProfile enablePluginOverride errorOnTimingCacheMiss
getPlanVersionOnly l2LimitForTiling markDebug markUnfusedTensorsAsDebugTensors maxTactics monitorMemory
noCompilationCache pi pluginInstanceNorm profile refitFromOnnx remoteAutoTuningConfig reportCapabilityDLA
runtimePlatform safetyPlugins saveAllDebugTensors saveDebugTensors stripAllWeights stripWeights stronglyTyped
tilingOptimizationLevel uint8AsymmetricQuantizationDLA useProfile weightStreamingBudget"""
_UNTIL_10 = """best calib fp16 fp8 int8 layerOutputTypes layerPrecisions maxShapesCalib minShapesCalib optShapesCalib
precisionConstraints restricted"""
_ONLY = {
    "8.6": """batch buildOnly deploy explicitBatch explicitPrecision heuristic maxBatch minTiming model nvtxMode output
uff uffInput uffNHWC workspace""",
    "10": "bf16 calibProfile int4 weightless",
    "11": """accuracyAlgorithm accuracyThreshold atol continue dryRun helpBuildRoute includeDataTransfers
loadRefOutputs noCudaGraph noSpinWait refPair rtol saveAllEngines setBuildRoute tuneBuildRouteFile tuneBuildRoutes
tuningCacheFile tuningResultFile tuningSearch tuningTimeOut""",
}
_SHARED = {"8.6": _ALL + " " + _UNTIL_10, "10": f"{_ALL} {_SINCE_10} {_UNTIL_10}", "11": _ALL + " " + _SINCE_10}
FLAGS = {
    version: frozenset(f"--{name}" for name in f"{_SHARED[version]} {_ONLY[version]}".split()) for version in VERSIONS
}
"""By version every flag that its trtexec reads."""

_VERBOSITY = {"default": "layer_names_only", "verbose": "detailed"}
_NO_BATCH = "every batch is a dimension of the ONNX file: give --minShapes, --optShapes and --maxShapes"
_CARRIES = "nothing stands in its place, the ONNX file must carry the precision"
_QDQ = "nothing stands in its place, the ONNX file must carry INT8 as Q/DQ nodes with their scales"
_TYPES = "nothing stands in its place, a layer's types are those of the ONNX file"
_ALWAYS = "always so"
# By the version that no longer has it: flag, what stands in its place ({} is the value), why.
GONE: dict[str, dict[str, tuple[str | None, str]]] = {
    "10": {
        "--explicitBatch": (None, "the batch of an ONNX file is always explicit"),
        "--explicitPrecision": (None, "it had no effect in 8.6 either"),
        "--workspace": ("--memPoolSize=workspace:{}", "a pool of memory, in MiB as before"),
        "--buildOnly": ("--skipInference", "the same under another name"),
        "--nvtxMode": ("--profilingVerbosity={}", "the same under another name"),
        "--heuristic": ("--builderOptimizationLevel=2", "levels up to 2 choose kernels by heuristics"),
        "--minTiming": (None, "nothing stands in its place, --avgTiming is what is left"),
        "--batch": (None, _NO_BATCH),
        "--maxBatch": (None, _NO_BATCH),
        "--output": (None, "an ONNX file names its outputs"),
    },
    "11": {
        **{f"--{name}": (None, _CARRIES) for name in ("fp16", "bf16", "int8", "fp8", "int4", "best")},
        **{f"--{name}ShapesCalib": (None, _QDQ) for name in ("min", "opt", "max")},
        **{f"--{name}": (None, _QDQ) for name in ("calib", "calibProfile")},
        **{f"--{name}": (None, _TYPES) for name in ("layerPrecisions", "layerOutputTypes", "precisionConstraints")},
        "--restricted": (None, "nothing stands in its place"),
        "--weightless": ("--stripWeights", "the same under another name"),
        **{f"--{name}": (None, _ALWAYS) for name in ("stronglyTyped", "separateProfileRun")},
        **{f"--{name}": (None, _ALWAYS) for name in ("useCudaGraph", "useSpinWait", "noDataTransfers")},
    },
}
ONLY_ONNX = ("--model", "--deploy", "--uff", "--uffInput", "--uffNHWC")
# By version: flag, and the members of its list that end the run there.
MEMBERS: dict[str, dict[str, tuple[str, ...]]] = {
    "10": {"--preview": ("fasterDynamicShapes0805", "disableExternalTacticSourcesForCore0805")},
    "11": {
        "--preview": ("profileSharing0806", "multiDeviceRuntime"),
        "--tacticSources": ("CUBLAS", "CUBLASLT", "CUBLAS_LT", "CUDNN"),
    },
}
# What 11 does unless told otherwise: the flag that asked for it before, the flag that takes it back, what it is.
DEFAULTS = (
    ("--useCudaGraph", "--noCudaGraph", "runs the plan as a CUDA graph"),
    ("--useSpinWait", "--noSpinWait", "waits for the GPU in a loop"),
    ("--noDataTransfers", "--includeDataTransfers", "leaves the copies of inputs and outputs out"),
)


@dataclass(frozen=True)
class Translated:
    """The words of the new command line, and what to know about it, one line each."""

    words: tuple[str, ...]
    notes: tuple[str, ...]


def translate(arguments: Sequence[str], from_version: str, to_version: str) -> Translated:
    """Return the line for a newer version; ConfigError for a line that the old version would not take either."""
    for version in (from_version, to_version):
        if version not in VERSIONS:
            raise ConfigError(f"no trtexec {version!r} in the table: there are {', '.join(VERSIONS)}")
    start, end = VERSIONS.index(from_version), VERSIONS.index(to_version)
    if start >= end:
        raise ConfigError(f"from {from_version} to {to_version}: a line is translated for a newer version only")
    program, words = _split(arguments, from_version)
    notes: list[str] = []
    for version in VERSIONS[start + 1 : end + 1]:
        if version == "11":
            notes += _defaults(words)
        words = _step(words, version, notes)
    if any(word.startswith("--loadEngine=") for word in words):
        notes.append(
            "--loadEngine: a plan loads only with the TensorRT that built it; build it again from the ONNX file"
        )
    return Translated((program, *words), tuple(notes))


def _split(arguments: Sequence[str], version: str) -> tuple[str, list[str]]:
    """The program and its flags, each of which the version knows."""
    words = list(arguments)
    if not words or PurePath(words[0]).name != "trtexec":
        raise ConfigError(
            f"{shlex.join(words[:1]) or 'nothing'} is no line of trtexec: write it as -- trtexec --onnx=FILE ..."
        )
    for word in words[1:]:
        if not word.startswith("--"):
            raise ConfigError(f"{word!r} is no flag: trtexec takes a value in one word with its flag, --flag=value")
        if word.split("=", 1)[0] not in FLAGS[version]:
            raise ConfigError(f"trtexec {version} has no flag {word.split('=', 1)[0]}: see trtexec --help")
    if len(words) == 1:
        raise ConfigError("trtexec without a flag does nothing: give the whole line")
    return words[0], words[1:]


def _step(words: Sequence[str], version: str, notes: list[str]) -> list[str]:
    """The flags for a version out of those for the one before it."""
    given, made = dict(word.partition("=")[::2] for word in words), list[str]()
    for word in words:
        flag, _, value = word.partition("=")
        if version == "10" and flag in ONLY_ONNX:
            raise ConfigError(
                f"{flag}: TensorRT {version} reads ONNX files only: export the model to ONNX and give --onnx"
            )
        if flag in MEMBERS[version]:
            word = _members(flag, value, version, notes)
        elif flag == "--memPoolSize" and "--workspace" in given and "workspace:" not in value:
            word += f",workspace:{_mib(given['--workspace'])}"
        elif flag in GONE[version]:
            new, why = GONE[version][flag]
            if flag == "--workspace":
                _mib(value)
            stands = new is not None and new.split("=")[0] in given
            word = "" if new is None or stands else new.format(_VERBOSITY.get(value, value))
            if why is _ALWAYS:
                notes.append(f"{flag} is left out: it is always so in {version}")
            else:
                why = f"{new.split('=')[0]} in the line says it" if new and stands else why
                notes.append(f"{flag} is gone in {version}: {f'{word}, ' if word else ''}{why}")
        made += [word] if word else []
    return made


def _mib(value: str) -> str:
    if not re.fullmatch(r"\d+(\.\d+)?", value):
        raise ConfigError(f"--workspace={value}: the workspace is a number of MiB, such as --workspace=4096")
    return value


def _members(flag: str, value: str, version: str, notes: list[str]) -> str:
    """A flag with a list, without the members that the version ends at; nothing when no member is left."""
    members = value.split(",")
    kept = [member for member in members if member.lstrip("+-") not in MEMBERS[version][flag]]
    if kept != members:
        gone = ",".join(member for member in members if member not in kept)
        notes.append(f"{flag}: {gone} is gone in {version} and left out")
    return f"{flag}={','.join(kept)}" if kept else ""


def _defaults(words: Sequence[str]) -> list[str]:
    """What 11 does to a line that does not say otherwise; a line that only builds measures nothing."""
    flags, notes = {word.split("=", 1)[0] for word in words}, []
    if "--onnx" in flags and "--stronglyTyped" not in flags:
        notes.append("11 types every network strongly: each layer runs in the types that the ONNX file gives it")
    if not flags & {"--skipInference", "--buildOnly"}:
        for asked, back, what in DEFAULTS:
            if asked not in flags:
                notes.append(f"11 {what}: add {back} to measure as before")
        if "--separateProfileRun" not in flags:
            notes.append("11 takes the profile in a run of its own, which --separateProfileRun asked for before")
    return notes


def text(from_version: str, to_version: str, line: Sequence[str]) -> str:
    """Return the new command line and its notes, these as comments of the shell."""
    found = translate(line, from_version, to_version)
    return "\n".join([shlex.join(found.words), *(f"# {note}" for note in found.notes)])
