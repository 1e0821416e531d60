#!/bin/sh
# Print one override a paradigm: those that share a main path, or differ in the order alone, share the peak.
peak() { sed -n "s/^paradigms\.$1\.peak=//p" "$2"; }
for one in from_scratch from_scratch_in_order; do echo "paradigms.$one.peak=$(peak from_scratch "$1")"; done
for one in own_60 union_60 union_15; do echo "paradigms.$one.peak=$(peak own_60 "$1")"; done
for one in schedule_free schedule_free_union_15; do echo "paradigms.$one.peak=$(peak schedule_free "$1")"; done
echo "paradigms.average.peak=$(peak average "$1")"
