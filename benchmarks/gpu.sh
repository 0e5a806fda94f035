#!/usr/bin/env bash
# Train on one GPU in several ways, and print seconds of training and test accuracy as a table.
#
#     bash benchmarks/gpu.sh ROOT [AIRBENCH]
#
# ROOT holds cifar-10-batches-py. AIRBENCH is a copy of airbench94_muon.py
# (github.com/KellerJordan/cifar10-airbench), of which five trials run after its warm-up. The first
# seed of each row is its warm-up: libraries load, kernels are chosen and compiled.
set -u
root=$(realpath "$1")
airbench=${2:+$(realpath "$2")}
out=$(mktemp -d)

run() { # NAME ARGUMENT…
    local name=$1
    shift
    python3 train.py -m data.root="$root" hydra.sweep.dir="$out/$name" "$@" >"$out/$name.log" 2>&1 ||
        tail -n 3 "$out/$name.log"
}

run convnet seed=0,1 model=convnet
run convnet-cuda_graph seed=0,1,2 model=convnet trainer.cuda_graph=true
run fast94 seed=0,1,2 experiment=fast94 trainer.precision=bf16-mixed
run fast94-compile seed=0,1,2 experiment=fast94 trainer.precision=bf16-mixed trainer.compile=true

python3 - "$out" <<'END'
import json, pathlib, statistics, sys

import torch

print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
print(f"{'':24}{'warm-up':>10}{'seconds':>10}{'accuracy':>10}{'views':>10}   n")
for row in sorted(path for path in pathlib.Path(sys.argv[1]).iterdir() if path.is_dir()):
    jobs = [json.loads(path.read_text()) for path in sorted(row.glob("*/results.json"))]
    if len(jobs) < 2:
        continue
    first, *later = (job["train_seconds"] for job in jobs)
    views = [job["test_time_accuracy"] for job in jobs if job["test_time_accuracy"]]
    print(
        f"{row.name:24}{first:10.2f}{statistics.median(later):10.2f}"
        f"{statistics.fmean(job['test_accuracy'] for job in jobs):10.2%}",
        f"{statistics.fmean(views):9.2%}" if views else " " * 9,
        f"{len(later):3}",
    )
END

if [ -n "$airbench" ]; then
    sed 's/range(200)/range(5)/' "$airbench" >"$out/airbench.py"
    (cd "$(dirname "$root")" && python3 "$out/airbench.py" | grep -E "eval|Mean")
fi
