#!/bin/sh
# Train at seeds 1, 2, 3 and write the report here; stopped, it goes on.
#
#   sh experiments/02_alpha/run.sh
cd "$(dirname "$0")/../.." || exit 2
export OMP_NUM_THREADS=1
set -e
python -m lrpath.train -m +exp=paper/alpha scale=mini study=alpha seed=1,2,3 alpha=0.2,0.4,0.6,0.8 peak=1e-2,2e-2
python -m lrpath.report study=alpha folder=experiments/02_alpha/report
