#!/bin/sh
# Choose peaks at seed 0 by v4, then judge at other seeds. Stopped, it goes on. RUNG, SEEDS and PEAKS may be given.
#
#   sh experiments/14_recipe/run.sh
#   RUNG=0.3m SEEDS=1 sh experiments/14_recipe/run.sh
set -e
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1
RUNG=${RUNG:-0.04m} SEEDS=${SEEDS:-1,2,3,4,5,6,7,8} OUT=${OUT:-outputs}
HERE=experiments/14_recipe/$RUNG
mkdir -p "$HERE"
if [ ! -f "$HERE/peaks.sh" ]; then
    python -m lrpath.train -m +exp=recipe/ladder rung=$RUNG study=ladder_tuning_$RUNG outputs=$OUT seed=0 \
        peak=${PEAKS:-5e-3,1e-2,2e-2,4e-2} \
        'paths=[from_scratch.v4,own_60.main,own_60.v4,union_15.v4,schedule_free.main,average.main]'
    python experiments/choose_peaks.py $OUT/ladder_tuning_$RUNG >"$HERE/peaks.all" 2>"$HERE/peaks.txt"
    # A paradigm that was not tuned by itself takes the peak of the one whose main path it shares.
    sh experiments/14_recipe/share_peaks.sh "$HERE/peaks.all" >"$HERE/peaks.sh"
fi
python -m lrpath.train -m +exp=recipe/ladder rung=$RUNG study=ladder_$RUNG outputs=$OUT seed=$SEEDS $(cat "$HERE/peaks.sh")
python -m lrpath.report study=ladder_$RUNG outputs=$OUT folder=$HERE/report
