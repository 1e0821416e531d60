#!/bin/sh
# Train the five experiments of the re-warming study at seeds 1, 2, 3 and write their reports here; stopped, it goes on.
#
#   sh experiments/05_rewarm/run.sh
cd "$(dirname "$0")/../.." || exit 2
export OMP_NUM_THREADS=1
set -e
for name in max_lr warmup_length checkpoints replay same_data; do
    python -m lrpath.train -m +exp=rewarm/$name scale=mini study=rewarm_$name seed=1,2,3
    python -m lrpath.report study=rewarm_$name folder=experiments/05_rewarm/$name
done
