#!/bin/sh
# Choose the peaks at seed 0, compare at seeds 1, 2, 3, write the report here. Forty minutes on one core; stopped, it goes on.
#
#   sh experiments/01_paradigms/run.sh
cd "$(dirname "$0")/../.." || exit 2
export OMP_NUM_THREADS=1
set -e
python -m lrpath.train -m +exp=paper/schedules scale=mini study=paradigms_tuning seed=0 peak=5e-3,1e-2,2e-2,4e-2
peaks=$(python experiments/choose_peaks.py outputs/paradigms_tuning 2>experiments/01_paradigms/peaks.txt)
python -m lrpath.train -m +exp=paper/schedules scale=mini study=paradigms seed=1,2,3 $peaks
python -m lrpath.report study=paradigms folder=experiments/01_paradigms/report
