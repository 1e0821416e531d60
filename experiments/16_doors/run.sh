#!/bin/sh
# The quickstart's tree by two other trainers, each killed once and gone on. From the root of the repository:
#
#   LRPATH=.venv/bin/python HF=hf/bin/python LITGPT=litgpt/bin/python sh experiments/16_doors/run.sh [seconds until the kill]
#
# HF is a Python with torch, transformers and accelerate, LITGPT one with torch and litgpt. They may be one.
set -u
here=experiments/16_doors outputs=${OUTPUTS:-outputs} seconds=${1:-100}
export OMP_NUM_THREADS=1 TRANSFORMERS_VERBOSITY=error

train() {  # study, name of the trainer, its command
    "$LRPATH" -m lrpath.train +exp=quickstart study="$1" outputs="$outputs" data.folder="$outputs/data" logger=none \
        cadence.evaluate_every=380 engine=command engine.name="$2" "engine.run='$3 {stretch}'"
}

for trainer in hf_trainer litgpt_trainer; do
    case $trainer in hf_trainer) python=$HF ;; *) python=$LITGPT ;; esac
    echo "== $trainer, killed after $seconds seconds"
    command="$python $here/$trainer.py"
    # SIGKILL reaches lrpath alone: the command, in a group of its own, outlives it, and what it still writes is not looked at.
    timeout -s KILL "$seconds" "$LRPATH" -m lrpath.train +exp=quickstart study="doors_$trainer" outputs="$outputs" \
        data.folder="$outputs/data" logger=none cadence.evaluate_every=380 engine=command engine.name="$trainer" \
        "engine.run='$command {stretch}'" > "$outputs/$trainer.log" 2>&1
    echo "exit code $?"
    train "doors_$trainer" "$trainer" "$command" >> "$outputs/$trainer.log" 2>&1
    echo "run again: exit code $?"
    train "doors_$trainer" "$trainer" "$command" | grep "updates were run"
    "$LRPATH" $here/check.py "$outputs" "doors_$trainer"
    "$LRPATH" -m lrpath.verify study="doors_$trainer" outputs="$outputs" data.folder="$outputs/data" | tail -1
done
