#!/bin/bash
# bash plans.sh REPOSITORY COPY: copy a model repository and build its plans of text recognition in the copy.
#
# It runs inside the Triton image that will load the plans, because a plan loads only with the TensorRT that built it. The
# image brings trtexec. The ONNX file 1/model.onnx beside each plan carries the precision; a trtexec that still has flags for
# precisions types weakly without them, and is given them too. A plan that is newer than its ONNX file is left as it is.
set -euo pipefail
repository=${1:?bash plans.sh REPOSITORY COPY} copy=${2:?bash plans.sh REPOSITORY COPY}
PATH=$PATH:/usr/src/tensorrt/bin

stop() {
    echo "plans.sh: $1" >&2
    exit 2
}

# Every input's batch is free: 1 to 64, best at the given one. The committed configs name both profiles.
profile() {
    echo "--profile=$1 --minShapes=input.1:1x1x32x100 --optShapes=input.1:$2x1x32x100 --maxShapes=input.1:64x1x32x100"
}

help=$(trtexec --help) || stop "no trtexec in this image: take one of Triton's full images"
cd "$repository" || stop "no model repository at $repository"
find . -type f ! -name '*.plan' -exec cp --update --parents --target-directory="$copy" {} +
chmod -R a+rX "$copy"

found=0
for onnx in "$copy"/text_recognition_tensorrt*/1/model.onnx; do
    [ -f "$onnx" ] || continue
    found=1 plan=${onnx%.onnx}.plan flags=
    if [ "$plan" -nt "$onnx" ]; then
        echo "plans.sh: $plan is there"
        continue
    fi
    case $onnx in
        */text_recognition_tensorrt/*) flags=--noTF32 ;;
        *_fp16/*) [[ $help != *--fp16* ]] || flags=--fp16 ;;
        *_int8/*) [[ $help != *--fp16* ]] || flags="--int8 --fp16" ;;
    esac
    # shellcheck disable=SC2046,SC2086
    trtexec --onnx="$onnx" --saveEngine="$plan.half" --skipInference --profilingVerbosity=detailed $flags \
        $(profile 0 16) $(profile 1 64) || { rm -f "$plan.half"; stop "trtexec cannot build $plan: it said why above"; }
    chmod a+r "$plan.half"
    mv "$plan.half" "$plan"
done
[ "$found" = 1 ] || stop "no ONNX file $repository/text_recognition_tensorrt*/1/model.onnx: write them first, docker/README.md says how"
