#!/usr/bin/env sh
# The question of run.sh again, with the last-iterate law: spend on a main path and one short branch of v2, ask, train the advice and
# the truth; then the same with increments of 8 : 1 : 1 : 8. Stopped, it goes on. From the repository's top, on one thread:
#   sh experiments/08_auto_alpha/again.sh
set -eu
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1
here=experiments/08_auto_alpha
even="+exp=paper/alpha scale=mini cadence.evaluate_every=10"
uneven="$even increment=[672,84,84,672] text_bytes=2_800_000"  # 8 : 1 : 1 : 8 of 1,512 updates
sqrt='paradigms.path_switching.decay={shape:one_minus_sqrt,floor:0}'

advised() {  # the overrides of an advice, for the shell to read
  python -c 'import json, shlex, sys; print(shlex.join(json.load(open(sys.argv[1]))["overrides"]))' "$1"
}

# even increments: α = .2 of v2 is 76 updates, as in run.sh
python -m lrpath.train $even study=auto_alpha_2 alpha=0.2 'paths=[main,v2]'
python -m lrpath.advise $even study=auto_alpha_2 'fit=[main,v2]' "set='*'" 'releases=[v2,v3,v4]' folder=$here/again/even
[ -d outputs/auto_alpha_2_truth ] || cp -r outputs/auto_alpha_2 outputs/auto_alpha_2_truth  # so that the advice cannot see it
alphas=$(for a in 0.05 0.1 0.2 0.3 0.4 0.6 0.8 1.0; do printf ',[0.2,%s,%s,%s]' $a $a $a; done)
python -m lrpath.train -m $even study=auto_alpha_2_truth "$sqrt" "alpha=${alphas#,}" 'paths=[main,v2,v3,v4]'
eval python -m lrpath.train $even study=auto_alpha_2_truth "$(advised $here/again/even/advice.json)"
python -m lrpath.predict study=auto_alpha_2_truth law=$here/again/even/law.json 'predict=["*.v2","*.v3","*.v4"]' \
  extrapolate=true folder=$here/again/even_truth

# uneven increments: a tenth of everything so far, 76 updates again
python -m lrpath.train $uneven study=auto_alpha_uneven alpha=share:0.1 'paths=[main,v2]'
python -m lrpath.advise $uneven study=auto_alpha_uneven 'fit=[main,v2]' "set='*'" 'releases=[v2,v3,v4]' folder=$here/again/uneven
[ -d outputs/auto_alpha_uneven_truth ] || cp -r outputs/auto_alpha_uneven outputs/auto_alpha_uneven_truth
python -m lrpath.train -m $uneven study=auto_alpha_uneven_truth "$sqrt" \
  alpha=share:0.025,share:0.05,share:0.1,share:0.15,share:0.2,share:0.3,share:0.4 'paths=[main,v2,v3,v4]'
eval python -m lrpath.train $uneven study=auto_alpha_uneven_truth "$(advised $here/again/uneven/advice.json)"
python -m lrpath.predict study=auto_alpha_uneven_truth law=$here/again/uneven/law.json 'predict=["*.v2","*.v3","*.v4"]' \
  extrapolate=true folder=$here/again/uneven_truth
