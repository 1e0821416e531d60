#!/bin/sh
# The sixth part: the rivals on abstracts, each at its best peak of seed 0. Stopped, it goes on.
#
#   sh experiments/14_recipe/abstracts.sh FOLDER        FOLDER holds V1.jsonl … V4.jsonl of arxiv_cs
set -e
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1
FOLDER=$1 SEEDS=${SEEDS:-1,2,3,4,5,6,7,8} OUT=${OUT:-outputs} STUDY=${STUDY:-ladder_abstracts_rivals}
paths=replayed_alone.main,union_last_100.main,union_last_100.v4,replayed_union_60.main,replayed_union_60.v4,average_falling,merged_15,wsd_s
paths=$paths,replayed,infinite_60.main,infinite_60.v4,falling_union_15.main,falling_union_15.v4
python -m lrpath.train -m +exp=recipe/ladder rung=0.04m study="$STUDY" outputs="$OUT" seed="$SEEDS" data=text \
    "data.source.paths=[$FOLDER/V1.jsonl,$FOLDER/V2.jsonl,$FOLDER/V3.jsonl,$FOLDER/V4.jsonl]" data.tokenizer.vocab_size=512 \
    "paths=[$paths]" paradigms.infinite_60.peak=2e-2
