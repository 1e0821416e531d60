#!/usr/bin/env sh
# Ladders of α: eight α and four versions on one main path, two sizes, two texts, three seeds; then what each way to choose α costs.
# Stopped, it goes on where it was. From the repository's top, in the background on one thread:
#   sh experiments/08_auto_alpha/ladders.sh FOLDER        FOLDER holds V1.jsonl … V4.jsonl, the second text
set -eu
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1
text=$1
mini="cadence.evaluate_every=20 cadence.held_out_windows=32"
# 107,856 parameters, 9.4 tokens for each at v1, as mini has
mid="cadence.evaluate_every=50 cadence.held_out_windows=32 increment='985 updates' warmup='100 updates' \
  model.hidden_size=48 model.layers=3 model.heads=3 model.ffn_size=128 model.init_std=0.07"
python="text_bytes=4_000_000"
other="data=text data.source.paths=[$text/V1.jsonl,$text/V2.jsonl,$text/V3.jsonl,$text/V4.jsonl] data.tokenizer.vocab_size=512"

# v1's α must leave after the warm-up, so its longest is .8
sqrt='{shape:one_minus_sqrt,floor:0}'
alphas='[0.05,0.05,0.05,0.05],[0.1,0.1,0.1,0.1],[0.2,0.2,0.2,0.2],[0.3,0.3,0.3,0.3],[0.4,0.4,0.4,0.4],[0.6,0.6,0.6,0.6],[0.8,0.8,0.8,0.8],[0.8,1.0,1.0,1.0]'
few='[0.1,0.1,0.1,0.1],[0.2,0.2,0.2,0.2],[0.4,0.4,0.4,0.4],[0.8,0.8,0.8,0.8]'

for seed in 1 2 3; do
  for size in mini mid; do
    for data in python other; do
      study=ladder_${size}_${data}_$seed
      if [ $size = mid ]; then sizes=$mid; else sizes=$mini; fi
      if [ $data = other ]; then from=$other; else from=$python; fi
      run_exp() {
        exp=$1; shift
        eval "python -m lrpath.train -m +exp=$exp scale=mini study=$study seed=$seed $sizes $from \"\$@\"" >>"outputs/$study.log"
      }
      mkdir -p outputs
      run_exp paper/alpha "paradigms.path_switching.decay=$sqrt" "alpha=$alphas"
      run_exp paper/alpha 'paradigms.path_switching.decay={shape:linear,floor:0}' "alpha=$few"
      # averages of the main path's last 2.5 to 40 % of everything so far: states alone, nothing else is trained
      run_exp averages
      echo "$(date +%H:%M) $study"
    done
  done
done
python experiments/08_auto_alpha/ladders.py outputs
