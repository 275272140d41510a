#!/bin/bash
# steps.sh NAME OUT STEP...: run steps of the recording one after another, each with its log, and keep what it made at once, as
# OUT/STEP.log and OUT/STEP.tar.gz, so that a machine that is lost takes one step with it and no more. NAME is the records' (h200).
#   batch16, batch1, ...   that step of tests/gpu/record.py, ONNX Runtime's and TensorRT's paths
#   torch16, torch256      the same of PyTorch's paths alone, against TorchScript; TensorRT in its TF32 and in FP16
#   lesson07, ...          that lesson, executed and recorded
#   refusals, paths        tests/gpu/test_gpu_STEP.py
# A lesson that fails leaves its notebook as far as it came, and what its cells measured.
# CUDA_VISIBLE_DEVICES lets several of them run beside each other on a machine with several GPUs, in a checkout for each.
# The logs of servers, which go when they end, are kept beside them.
set -u
cd "$(dirname "$0")/../.." || exit 2
[ $# -ge 3 ] || { echo "usage: steps.sh NAME OUT STEP..." >&2; exit 2; }
name=$1 out=$2 failed=0
export TF_FORCE_GPU_ALLOW_GROWTH=true # or TensorFlow takes a GPU's whole memory from the steps beside it
shift 2
mkdir -p "$out" build/tour

run() {
    case $1 in
    batch* | torch*) python tests/gpu/record.py "$name" "$1" --awake ;;
    lesson*) python -m accelkit lessons "${1#lesson}" --record ;;
    refusals | paths) python -m pytest -v -s -p no:cacheprovider "tests/gpu/test_gpu_$1.py" ;;
    *) echo "no step $1: see the head of $0" && return 2 ;;
    esac
}

keep() {
    while sleep 1; do
        for log in "${TMPDIR:-/tmp}"/accelkit-server-*/log.txt; do
            [ -f "$log" ] || continue
            kept=$out/$1.$(basename "$(dirname "$log")").log
            ln "$log" "$kept" || [ "$log" -ef "$kept" ] || cp -u "$log" "$kept" # a link has the last lines too
        done
    done
}

for step in "$@"; do
    stamp=$(mktemp) start=$(date +%s)
    keep "$step" 2>/dev/null &
    run "$step" >"$out/$step.log" 2>&1
    code=$?
    kill $!
    [ $code = 0 ] || failed=1
    find notebooks build/tour -newer "$stamp" -type f -print0 | tar czf "$out/$step.tar.gz" --null -T -
    rm "$stamp"
    echo "$step: exit code $code, $(($(date +%s) - start)) s"
done
exit $failed
