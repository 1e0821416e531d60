#!/bin/sh
# Rivals and variants at 0.1m (eighth, ninth and tenth part), each at its best peak of seed 0. Stopped, it goes on.
#
#   sh experiments/14_recipe/second_rung.sh
set -e
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1
SEEDS=${SEEDS:-1,2,3} OUT=${OUT:-outputs} HERE=experiments/14_recipe/0.1m
mkdir -p "$HERE"
ladder() { python -m lrpath.train -m +exp=recipe/ladder rung=0.1m outputs="$OUT" "$@"; }
# Tenth part: is the best peak of the seventh, at the edge of what was tried, a best?
ladder study=peaks_0.1m seed=0 peak=1.4e-2,2.8e-2 \
    'paths=[from_scratch.v4,union_60.main,union_60.v4,replayed_alone.main]'
# Ninth part: variants at seed 0, and those of a falling rate at other seeds.
free='kind: anytime, peak: 2.8e-2, warmup: 49 updates, alpha: 0.0, reads: own, replay: union'
adam='beta2: 0.95, eps: 1.0e-8, weight_decay: 0.1, clip_norm: 1.0, power: 1.0'
falling=falling_replayed_alone.main,falling_replayed_union_last_100.main,falling_replayed_union_last_100.v4
falling=$falling,falling_union_last_100.main,falling_union_last_100.v4
ladder study=variants_0.1m seed=0 peak=1.4e-2 \
    "+paradigms.replayed_alone_90={$free, optimizer: {kind: schedule_free, beta1: 0.9, $adam}}" \
    "paths=[union_last_100.main,union_last_100.v4,replayed_union_last_100.main,replayed_union_last_100.v4,replayed_alone_90.main,$falling]"
ladder study=falling_0.1m seed="${FALLING_SEEDS:-1,2,3,4}" peak=1.4e-2 "paths=[$falling]"
# Eighth part: the rivals' peaks, then their seeds.
rivals=average_falling,merged_15,wsd_s,replayed,infinite_60.main,infinite_60.v4
if [ ! -f "$HERE/rivals_peaks.sh" ]; then
    ladder study=rivals_peaks_0.1m seed=0 peak=3.5e-3,7e-3,1.4e-2 "paths=[$rivals]"
    python experiments/choose_peaks.py "$OUT/rivals_peaks_0.1m" >"$HERE/rivals_peaks.sh" 2>"$HERE/rivals_peaks.txt"
fi
ladder study=rivals_0.1m seed="$SEEDS" "paths=[$rivals]" $(cat "$HERE/rivals_peaks.sh")
