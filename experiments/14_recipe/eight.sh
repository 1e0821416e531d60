#!/bin/sh
# Eight versions at 0.04m (fourth part, point 3): of half the increment, and of a whole one. Its text is that of a study at 0.1m or 0.3m, divided in two.
#
#   sh experiments/14_recipe/eight.sh outputs/ladder_0.3m outputs/data/store-… FOLDER
set -e
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1
STUDY=$1 STORE=$2 FOLDER=$3 SEEDS=${SEEDS:-1,2,3,4} OUT=${OUT:-outputs}
data=$(python experiments/14_recipe/halves.py "$STUDY" "$STORE" "$FOLDER" | tr '\n' ' ')
# A last branch as long as its increment is written for four versions, and is left out.
without='~paradigms.union_last_100 ~paradigms.schedule_free_union_last_100 ~paradigms.replayed_union_last_100'
without="$without ~paradigms.falling_union_last_100 ~paradigms.falling_replayed_union_last_100"
for updates in 190 380; do
    python -m lrpath.train -m +exp=recipe/ladder rung=0.04m study=eight_$updates outputs="$OUT" seed="$SEEDS" versions=8 "increment=$updates updates" \
        $data $without 'paths=[from_scratch.v8,own_60.main,own_60.v8,replayed_alone.main,falling_replayed_alone.main,schedule_free_80.main]'
    python experiments/14_recipe/paired.py "$OUT/eight_$updates"
done
