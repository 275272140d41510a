#!/bin/bash
# bash engines.sh REPOSITORY COPY: copy a model repository and put the engines of its models with TensorFlow's TensorRT into the copy.
#
# It runs in NVIDIA's image of TensorFlow of the month of the server, because an engine loads only with the TensorRT that built it.
# The SavedModel is that of the path tensorflow; the kit's package, which needs nothing but TensorFlow and NumPy here, converts it.
# A converted one that is newer than it is left as it is.
set -euo pipefail
repository=${1:?bash engines.sh REPOSITORY COPY} copy=${2:?bash engines.sh REPOSITORY COPY}

stop() {
    echo "engines.sh: $1" >&2
    exit 2
}

cd "$repository" || stop "no model repository at $repository"
source=text_recognition_tensorflow/1/model.savedmodel
[ -f "$source/saved_model.pb" ] || stop "no SavedModel $repository/$source: write it first with accelkit build tensorflow"
find ./text_recognition_tensorflow ./text_recognition_tf_tensorrt* -type f ! -path './text_recognition_tf_tensorrt*/*/*' \
    -exec cp --update --parents --target-directory="$copy" {} +

for config in "$copy"/text_recognition_tf_tensorrt*/config.pbtxt; do
    model=${config%/config.pbtxt}
    target=$model/1/model.savedmodel
    case $model in
        *_tf32) precision=tf32 ;;
        *_fp16) precision=fp16 ;;
        *) precision=fp32 ;;
    esac
    if [ "$target/saved_model.pb" -nt "$copy/$source/saved_model.pb" ]; then
        echo "engines.sh: $target is there"
        continue
    fi
    rm -rf "$target.half"
    mkdir -p "$model/1"
    python3 -m accelkit.savedmodel convert "$copy/$source" "$target.half" --precision "$precision" --batch 1 --batch 16 --batch 64 ||
        { rm -rf "$target.half"; stop "TensorFlow cannot convert for $target: it said why above"; }
    rm -rf "$target"
    mv "$target.half" "$target"
done
chmod -R a+rX "$copy"
