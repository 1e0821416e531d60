#!/bin/sh
# Run the named mini twins, or all, one after another on one thread each; print name, seconds and exit code of each.
#
#   sh experiments/12_mini_twins/run.sh [paper/alpha rewarm/replay …]
cd "$(dirname "$0")/../.." || exit 2
export OMP_NUM_THREADS=1
[ $# -gt 0 ] || set -- $(cd conf/exp && find . -name '*.yaml' | sed 's/^\.\///; s/\.yaml$//' | sort)
mkdir -p build/twins
python experiments/13_next_month/months.py 4  # the text of next_version, in the folder months
for name in "$@"; do
    begin=$(date +%s)
    nice -n 10 python -m lrpath.train "+exp=$name" scale=mini >"build/twins/$(echo "$name" | tr / _).log" 2>&1
    code=$?
    printf '%s\t%s s\texit %s\n' "$name" "$(($(date +%s) - begin))" "$code"
done
