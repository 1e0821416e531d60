#!/usr/bin/env bash
# Gives every entry bad input on the command line and writes each command with its answer to a Markdown file.
#   experiments/11_bad_input/run.sh [python] > /tmp/answers.md
set -u
python=${1:-$(cd "$(dirname "$0")/../.." && pwd)/.venv/bin/python}
desk=$(mktemp -d) && cd "$desk" && trap 'rm -rf "$desk"' EXIT

mkdir good empty torn not_utf8
for n in 1 2 3 4; do
  for i in $(seq 50); do echo "{\"text\": \"update $i of path $n\"}"; done > "good/V$n.jsonl"
done
printf '{"text": "good"}\n{"text": "ba' > torn/V1.jsonl
printf 'good\n\377\376' > not_utf8/V1.txt
head -c 1001 /dev/zero > odd.bin
echo '{"auto_map": {"AutoModel": "evil.py"}}' > remote_code.json
echo '{"model": {"__reduce__": "os.system"}}' > hostile.json
touch afile

text="data=text data.source.paths=[good] data.tokenizer.vocab_size=280 model=tiny versions=2 increment=2 warmup=1 alpha=0.5"
text="$text batch.sequences_per_update=2 batch.tokens_per_sequence=16 paradigm=[path_switching] logger=none"
text="$text data.source.heldout.share=0.3 strategy.threads=1"

failed=0
answer() {  # runs a command; one line on standard error, exit code 2 and no new study are what is expected
  "$python" -m "$@" > out.txt 2> err.txt
  code=$?
  lines=$(wc -l < err.txt)
  [ "$code" = 2 ] && [ "$lines" = 1 ] && grep -q '^error: ' err.txt || { failed=$((failed + 1)); echo "NOT AS EXPECTED (exit $code, $lines lines)"; }
  printf '`python -m %s`\n\n    %s\n\n' "$*" "$(cat err.txt)"
}
refuse() {
  answer lrpath.train "$@"
  [ -e outputs/default ] && { failed=$((failed + 1)); echo "NOT AS EXPECTED: a study was begun"; rm -rf outputs/default; }
}

echo "## Names"; echo
refuse alhpa=0.5
refuse +alhpa=.5
refuse model=minni
refuse +exp=quikstart
refuse exp=quickstart
refuse 'paradigm=[path_swithcing]'
refuse 'paradigm=[]'
refuse 'study=${nope}'
refuse 'alpha=[0.5'
echo "## Values"; echo
refuse peak=nan
refuse peak=-1
refuse alpha=0
refuse alpha=1.5
refuse 'alpha=[0.5,0.6]'
refuse floor=1
refuse warmup=300
refuse warmup=0.1
refuse increment=0
refuse versions=0
refuse versions=2.0
refuse seed=-1
refuse batch.tokens_per_sequence=0
refuse precision=fp8
refuse model.context=64
refuse model.vocab_size=100
refuse model=hf_file model.file=remote_code.json
refuse strategy.micro_batch=7
refuse strategy.threads=9999
refuse cluster.device=H300
refuse cadence.save_every=null
echo "## Places"; echo
refuse study=../x
refuse outputs=afile
answer lrpath.plan figure=x.bogus
answer lrpath.report study=nope
answer lrpath.report
echo "## Text and token ids"; echo
refuse data=text
refuse data=text 'data.source.paths=[absent]'
refuse data=text 'data.source.paths=[empty]'
refuse data=text 'data.source.paths=[torn]' versions=1
refuse data=text 'data.source.paths=[not_utf8]' versions=1
refuse data=text 'data.source.paths=[good]' versions=9
refuse data=text 'data.source.paths=[good]'
refuse data=text 'data.source.paths=[good]' data.tokenizer.file=hostile.json
refuse data.source.bytes_per_version=1_000_000 increment=3000
refuse data=tokens 'data.source.files=[odd.bin]' versions=1 data.tokenizer=null data.source.vocab_size=512 model.vocab_size=512
echo "## A study that exists"; echo
"$python" -m lrpath.train study=one $text > /dev/null && "$python" -m lrpath.train study=one $text alpha=1.0 'paradigm=[wsd_s]' warmup=0 > /dev/null
answer lrpath.export study=one release=v9
answer lrpath.export study=one release=nope/v1
answer lrpath.export study=one release=v1 folder=good
echo '{"text": "one line more"}' >> good/V2.jsonl
answer lrpath.train study=one $text

[ "$failed" = 0 ] || { echo "$failed answers were not as expected"; exit 1; }
