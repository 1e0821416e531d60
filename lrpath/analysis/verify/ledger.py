"""Compares the ledger with the plans: every known update was counted, and once unless repeated."""

from collections.abc import Sequence

from lrpath.analysis.verify.finding import Check, Finding
from lrpath.analysis.verify.study_index import StudyIndex
from lrpath.errors import StateError
from lrpath.planning.paths import Path
from lrpath.records.ledger import Run


def verify_ledger(index: StudyIndex) -> Check:
    """Compare the runs of every path with the updates that its states and the plans stand for."""
    findings, runs, paths = [], index.runs, index.tree.paths
    try:
        runs = index.read_runs()
    except StateError as error:
        findings, paths = [Finding(text=str(error))], ()
    for path in paths:
        mine = [run for run in runs if run.path_id == path.id]
        findings += [
            Finding(path=index.label(path), position=position, text=f"{index.label(path)}: {problem}")
            for position, problem in _problems(index, path, mine)
        ]
    ran, repeated = sum(run.updates for run in runs), sum(run.repeated for run in runs)
    planned = sum(index.tree.updates(path.id) for path in index.tree.paths)
    others = sorted({run.name for run in runs if not index.knows(run.path_id)})
    return Check(
        name="ledger",
        statement=f"runs make up the updates of the plans: {planned:,} planned, {ran:,} run, {repeated:,} of them "
        "repeated",
        count=len(runs),
        findings=tuple(findings),
        notes=tuple(f"the ledger has runs of {name}, which no plan of the study has" for name in others),
    )


def _problems(index: StudyIndex, path: Path, runs: Sequence[Run]) -> list[tuple[int, str]]:
    """Return `(position, problem)` for updates that no run made, and for runs that do not add up."""
    remedy = f"restore {index.study.ledger.file} from a copy: the cost that the report states is wrong until then"
    reached = max(index.positions(path), default=path.start)
    counted = {update for run in runs for update in range(run.begin, run.end)}
    lacking = [update for update in range(path.start, reached) if update not in counted]
    if lacking:
        listed = f"{lacking[0]:,} to {lacking[-1] + 1:,}"
        return [(lacking[0], f"{len(lacking):,} updates from {listed} are in no run of the ledger; {remedy}")]
    wrong = [run for run in runs if run.tokens != path.recipe.tokens_between(run.begin, run.end)]
    if wrong:
        return [
            (
                run.begin,
                f"the run {run.begin:,} to {run.end:,} counts {run.tokens:,} tokens for {run.updates:,} updates, which "
                f"have {path.recipe.tokens_between(run.begin, run.end):,}; {remedy}",
            )
            for run in wrong
        ]
    once = sum(run.updates - run.repeated for run in runs)
    if once != len(counted):
        return [
            (
                path.start,
                f"its runs count {once:,} updates once, but cover {len(counted):,}; {remedy}",
            )
        ]
    return []
