#!/bin/bash
#SBATCH --job-name=volseg
#SBATCH --array=0-15
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=8
#SBATCH --mem=32G
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --signal=B:TERM@120
#SBATCH --output=logs/%A_%a.txt
# Predicts a whole dataset: each task of the array its share. Submit it from the folder that holds data/ and
# runs/, on a drive that all nodes see, after `mkdir -p logs`.
set -euo pipefail

RUN=${RUN:-mine}
DATA=${DATA:-data/prepared}
OUT=${OUT:-predictions}
SHARE=${SHARE:-slurm}
VOLSEG=${VOLSEG:-volseg}

# SLURM says two minutes before the end, or before a preemption, that it is near: volseg is told, and the script
# waits until it has stopped. What is done stays done.
trap 'kill -TERM "${!:-}" 2>/dev/null' TERM
"$VOLSEG" infer --all --run "$RUN" --data "$DATA" --out "$OUT" --shard "$SHARE" &
process=$!
code=0
wait "$process" || code=$?
while kill -0 "$process" 2>/dev/null; do # a signal ends the waiting, not volseg
  wait "$process" || code=$?
done
exit "$code"
