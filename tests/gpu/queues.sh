#!/bin/bash
# queues.sh NAME OUT QUEUE...: steps.sh on several GPUs of one machine at once. A QUEUE is "GPUS STEP...", such as "0 lesson07 lesson04"
# or "2,3 lesson11". Each runs in a copy of this checkout, OUT/GPUS/checkout (2-3 for 2,3), on its share of the cores and with a folder for
# temporary files of its own, and leaves log and results of each step in OUT/GPUS. Its GPUs should be in no other queue.
set -u -o pipefail
root=$(cd "$(dirname "$0")/../.." && pwd) || exit 2
[ $# -ge 3 ] || { echo "usage: queues.sh NAME OUT \"GPUS STEP...\"..." >&2; exit 2; }
mkdir -p "$2" && out=$(cd "$2" && pwd) || exit 2
case $out/ in "$root"/*) echo "queues.sh: $2 lies in the checkout that is copied: name a folder outside of it" >&2 && exit 2 ;; esac
name=$1 failed=0 running=()
shift 2
cores=($(taskset -cp $$ | sed 's/.*: //' | tr , '\n' | awk -F- '{ for (i = $1; i <= ($2 ? $2 : $1); i++) print i }'))
share=$((${#cores[@]} / $#))
[ $share -gt 0 ] || share=1

files() { # of this checkout, whether git is here or not
    git -C "$root" ls-files -z 2>/dev/null || (cd "$root" && find . \( -name .git -o -name '.venv*' -o -path ./build \) -prune -o -print0)
}

for queue in "$@"; do
    read -r gpus steps <<<"$queue"
    place=$out/${gpus//,/-}
    mkdir -p "$place/checkout" "$place/tmp" || exit 2 # what an earlier run recorded in it stays
    files | tar -C "$root" -c --null --no-recursion --ignore-failed-read -T - | tar -x -C "$place/checkout" || exit 2
    own=$(IFS=, && echo "${cores[*]:$((${#running[@]} * share % ${#cores[@]})):$share}")
    # shellcheck disable=SC2086
    CUDA_VISIBLE_DEVICES=$gpus TMPDIR=$place/tmp PYTHONPATH=$place/checkout \
        taskset -c "$own" "$place/checkout/tests/gpu/steps.sh" "$name" "$place" $steps | sed -u "s/^/$gpus: /" &
    running+=($!)
done
for one in "${running[@]}"; do
    wait "$one" || failed=1
done
exit $failed
