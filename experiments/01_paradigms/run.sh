#!/bin/sh
# Choose the peaks at seed 0, then compare at seeds 1, 2, 3. About forty minutes on one core.
#
#   sh experiments/01_paradigms/run.sh tune       then choose.py says the peaks
#   sh experiments/01_paradigms/run.sh compare
cd "$(dirname "$0")/../.." || exit 2
export OMP_NUM_THREADS=1
set -e
case $1 in
tune)
    python -m lrpath.train -m +exp=paper/schedules scale=mini study=paradigms_tuning seed=0 peak=5e-3,1e-2,2e-2,4e-2
    ;;
esac
