#!/bin/sh
# Choose the peaks at seed 0, compare at seeds 1, 2, 3, write the report here. Forty minutes on one core; stopped, it goes on.
#
#   sh experiments/06_rivals/run.sh
cd "$(dirname "$0")/../.." || exit 2
export OMP_NUM_THREADS=1
set -e
python -m lrpath.train -m +exp=rivals scale=mini study=rivals_tuning seed=0 peak=5e-3,1e-2,2e-2,4e-2
peaks=$(python experiments/choose_peaks.py outputs/rivals_tuning 2>experiments/06_rivals/peaks.txt)
python -m lrpath.train -m +exp=rivals scale=mini study=rivals seed=1,2,3 alpha=0.2,0.4,0.6 $peaks
python -m lrpath.report study=rivals folder=experiments/06_rivals/report
