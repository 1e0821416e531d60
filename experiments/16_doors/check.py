"""Compares a study that another trainer has run with its plans: `python check.py OUTPUTS STUDY`."""

import sys
from pathlib import Path

from lrpath.planning.plan import from_record
from lrpath.records.study import Study

outputs, name = sys.argv[1:]
study = Study.existing(Path(outputs), name)
(plan,) = (from_record(record) for record in study.plans().values())
updates = equal = 0
for path in plan.tree.paths:
    folder = study.find(path.id)
    rows = folder.metrics.rows()
    assert [row.position for row in rows] == list(range(path.start + 1, plan.tree.end(path.id) + 1)), path.name
    updates += len(rows)
    equal += sum(row.lr == path.schedule.rate(row.position - 1) for row in rows)
runs = study.ledger.runs()
print(f"{study.name}: {equal:,} of {updates:,} updates ran at the plan's rate")
ran, repeated = sum(run.updates for run in runs), sum(run.repeated for run in runs)
outcomes = ", ".join(sorted({run.outcome for run in runs}))
print(f"ledger: {ran:,} updates ran, {repeated:,} of them repeated, in {len(runs)} runs: {outcomes}")
states = sum(len(folder.positions()) for folder in study.folders())
print(f"{states} states on disk, {sum(1 for _ in plan.tree.states())} needed by the plan")
