#!/bin/sh
# The recipes of the second part on texts that nothing was tuned on, with the peaks of the first. Stopped, it goes on.
#
#   sh experiments/14_recipe/other_text.sh FOLDER        FOLDER holds math_stacks/, arxiv_cs/ and facts_factbook/ with V1.jsonl … V4.jsonl
set -e
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1
FOLDER=$1 SEEDS=${SEEDS:-1,2,3,4} OUT=${OUT:-outputs}
paths=from_scratch.v1,from_scratch.v2,from_scratch.v3,from_scratch.v4,own_60.main,own_60.v1,own_60.v2,own_60.v3,own_60.v4
paths=$paths,union_60.v2,union_60.v3,union_60.v4,schedule_free_80.main
paths=$paths,schedule_free_80_union_15.v2,schedule_free_80_union_15.v3,schedule_free_80_union_15.v4
run() {
    study=$1 files=$2
    python -m lrpath.train -m +exp=recipe/ladder rung=0.04m study="$study" outputs="$OUT" seed="$SEEDS" data=text "data.source.paths=[$files]" \
        data.tokenizer.vocab_size=512 "paths=[$paths]" $(cat experiments/14_recipe/0.04m/peaks.sh)
    python experiments/14_recipe/paired.py "$OUT/$study"
}
run ladder_mathematics "$FOLDER/math_stacks/V1.jsonl,$FOLDER/math_stacks/V2.jsonl,$FOLDER/math_stacks/V3.jsonl,$FOLDER/math_stacks/V4.jsonl"
run ladder_domains "$FOLDER/arxiv_cs/V1.jsonl,$FOLDER/math_stacks/V1.jsonl,$FOLDER/facts_factbook/V1.jsonl,$FOLDER/arxiv_cs/V4.jsonl"
