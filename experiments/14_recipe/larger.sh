#!/bin/sh
# 0.3m: more seeds (tenth part), and a second peak at seed 1. Stopped, it goes on.
#
#   sh experiments/14_recipe/larger.sh
set -e
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1
SEEDS=${SEEDS:-3,4} OUT=${OUT:-outputs}
ladder() { python -m lrpath.train -m +exp=recipe/ladder rung=0.3m outputs="$OUT" "$@"; }
ladder study=ladder_0.3m seed="$SEEDS" \
    'paths=[from_scratch.v4,replayed_union_last_100.main,replayed_union_last_100.v4,replayed_alone.main,own_60.main,own_60.v4,union_last_100.v4]'
ladder study=falling_0.3m seed="${FALLING_SEEDS:-1,2}" \
    'paths=[falling_replayed_alone.main,falling_replayed_union_last_100.main,falling_replayed_union_last_100.v4]'
ladder study=falling_0.3m_peak seed=1 peak=1e-2 'paths=[falling_replayed_alone.main]'
ladder study=ladder_0.3m_peak seed=1 peak=1e-2 'paths=[from_scratch.v4,replayed_union_last_100.main,replayed_union_last_100.v4]'
