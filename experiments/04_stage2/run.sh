#!/bin/sh
# Train at seeds 1, 2, 3 and write the report here; stopped, it goes on.
#
#   sh experiments/04_stage2/run.sh
cd "$(dirname "$0")/../.." || exit 2
export OMP_NUM_THREADS=1
set -e
python -m lrpath.train -m +exp=paper/stage2_decay scale=mini study=stage2 seed=1,2,3 peak=1e-2,2e-2 floor=0.1,0.0
python -m lrpath.report study=stage2 folder=experiments/04_stage2/report
