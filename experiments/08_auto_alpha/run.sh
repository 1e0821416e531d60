#!/usr/bin/env sh
# Spend on a main path and one short branch, ask for advice, then train the advice and the truth. From the repository's top:
#   sh experiments/08_auto_alpha/run.sh
set -eu
here=experiments/08_auto_alpha
small="+exp=paper/alpha scale=mini cadence.evaluate_every=10"

python -m lrpath.train $small study=auto_alpha alpha=0.2 'paths=[main,v2]'
for law in last_iterate annealing multi_power; do
  python -m lrpath.advise +exp=paper/alpha scale=mini study=auto_alpha 'fit=[main,v2]' "set='*'" 'releases=[v2,v3,v4]' \
    law=$law folder=outputs/auto_alpha/$law
done

# the truth, in a copy, so that the advice cannot see it: α from .1 to 1, then what the annealing law advised
cp -r outputs/auto_alpha outputs/auto_alpha_truth
alphas=$(for a in 0.1 0.2 0.3 0.4 0.6 0.8 1.0; do printf ',[0.2,%s,%s,%s]' $a $a $a; done)
python -m lrpath.train -m $small study=auto_alpha_truth "alpha=${alphas#,}" 'paths=[main,v2,v3,v4]'
python -m lrpath.train $small study=auto_alpha_truth 'paradigms.path_switching.alpha=[0.2,0.3,0.35,0.45]' \
  'paradigms.path_switching.decay={shape:one_minus_sqrt,floor:0}' 'paths=[main,v2,v3,v4]'
for law in last_iterate annealing multi_power; do
  python -m lrpath.predict study=auto_alpha_truth law=outputs/auto_alpha/$law/law.json \
    'predict=["*.v2","*.v3","*.v4"]' folder=outputs/auto_alpha_truth/$law
  cp outputs/auto_alpha_truth/$law/table.csv $here/$law.csv
done
python $here/more_branches.py
