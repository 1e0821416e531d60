#!/bin/sh
# Train at seeds 1, 2, 3 and write the report here; stopped, it goes on.
#
#   sh experiments/03_stage1/run.sh
cd "$(dirname "$0")/../.." || exit 2
export OMP_NUM_THREADS=1
set -e
python -m lrpath.train -m +exp=paper/stage1_cycle scale=mini study=stage1 seed=1,2,3 peak=1e-2,2e-2
python -m lrpath.report study=stage1 folder=experiments/03_stage1/report
