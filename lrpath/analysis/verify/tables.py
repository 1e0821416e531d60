"""Compares tables with the plan: each update has one row, at the schedule's rate; each needed state is evaluated."""

import math
from collections.abc import Mapping, Set

from lrpath.analysis.scores import StudyScores, release_folder
from lrpath.analysis.verify.finding import Check, Finding
from lrpath.analysis.verify.study_index import StudyIndex
from lrpath.errors import StateError
from lrpath.planning.lineage import canonical
from lrpath.planning.paths import Path, Release
from lrpath.planning.plan import Plan
from lrpath.records.files import check_digest_beside
from lrpath.records.row_digests import MEND, find_alterations, lost_positions
from lrpath.records.rows import EvaluationRow, MetricsRow

SetNames = frozenset[tuple[str, str]]
"""(version, domain) of held-out sets."""
_Candidate = tuple[str, str, str | None]
"""Data source, version, and digest of the held-out tokens, which plans of earlier versions lack."""


def verify_rows(index: StudyIndex) -> Check:
    """Compare every row of the metrics: complete and once, rate to the last digit, tokens, finite figures."""
    findings: list[Finding] = []
    notes: list[str] = []
    count = 0
    for path in index.tree.paths:
        folder = index.folder(path)
        if folder is None:
            continue
        try:
            rows, skipped = folder.metrics.rows(), folder.skipped()
        except StateError as error:
            findings.append(Finding(path=index.label(path), text=str(error)))
            continue
        count += len(rows)
        lost, repairs = lost_positions(folder), folder.repairs.rows()
        remedy = f"restore {folder.metrics.file} from a copy, or run the plan again with mend=true"
        last = max(index.positions(path), default=path.start)
        problems = _gaps(path, rows, last=last, lost=lost) + _wrong_rows(path, rows, skipped=skipped)
        findings += [
            Finding(path=index.label(path), position=position, text=f"{index.label(path)}: {problem}; {remedy}")
            for position, problem in problems
        ]
        if not problems:  # else the same rows would be named twice
            findings += [
                Finding(path=index.label(path), position=one.last, text=f"{index.label(path)}: {one.problem}; {MEND}")
                for one in find_alterations(folder)
                if one.is_readable or one.table != "evaluation"  # `verify_evaluations` says so
            ]
        notes += _unsaved_rows(index, path, rows)
        notes += [
            f"{index.label(path)}: rows of {row.table} from {row.first:,} to {row.position:,} were altered once, and "
            "mended" + (f"; {row.missing:,} are lost" if row.missing else "")
            for row in repairs
        ]
    return Check(
        name="rows",
        statement="each update has one row, at the schedule's rate to the last digit, first ones after forks included",
        count=count,
        findings=tuple(findings),
        notes=tuple(notes),
    )


def _gaps(path: Path, rows: list[MetricsRow], *, last: int, lost: Set[int]) -> list[tuple[int, str]]:
    """Return `(first position, problem)` for rows that are missing up to the last state, or there twice."""
    found = [row.position for row in rows]
    expected = range(path.start + 1, max([last, *found]) + 1)
    missing = sorted(set(expected) - set(found) - lost)
    twice = (
        sorted({position for position in found if found.count(position) > 1}) if len(set(found)) < len(found) else []
    )
    outside = sorted(set(found) - set(expected))
    problems = {"has no row": missing, "has more than one row": twice, "begins later, but has a row": outside}
    return [(places[0], f"{what} at {_listed(places)}") for what, places in problems.items() if places]


def _listed(places: list[int]) -> str:
    first = ", ".join(f"{place:,}" for place in places[:3])
    return first if len(places) <= 3 else f"{first} and {len(places) - 3:,} more"


def _wrong_rows(path: Path, rows: list[MetricsRow], *, skipped: list[range]) -> list[tuple[int, str]]:
    """Return `(first position, problem)` for each kind of figure that is wrong; a guard leaves out any figure."""
    wrong: dict[str, list[tuple[int, str]]] = {}
    for row in rows:
        position = row.position
        for column, value, expected in _expected(path, row):
            if value != expected:
                wrong.setdefault(column, []).append((position, f"{column} {value!r}, the plan says {expected!r}"))
        for column, value in (("loss", row.loss), ("grad_norm", row.grad_norm)):
            unknown = math.isnan(value) and path.recipe.engine is not None  # another trainer need not report it
            if not (math.isfinite(value) or unknown or any(position in one for one in skipped)):
                wrong.setdefault(column, []).append((position, f"{column} {value}, which is not finite"))
    found = []
    for column, problems in wrong.items():
        position, text = problems[0]
        first = ", its first update," if position == path.start + 1 else ""
        more = f" (and {len(problems) - 1:,} more rows with a wrong {column})" if len(problems) > 1 else ""
        found.append((position, f"the row at {position:,}{first} has {text}{more}"))
    return found


def _expected(path: Path, row: MetricsRow) -> tuple[tuple[str, float, float], ...]:
    """Return column, value and what the plan says for what follows from the plan."""
    if row.position <= path.start or (path.schedule.end is not None and row.position > path.schedule.end):
        return ()  # a finding of `_gaps`, or past all that a plan asks for
    return (
        ("lr", row.lr, path.schedule.rate(row.position - 1)),
        ("tokens", row.tokens, path.recipe.tokens_before(row.position)),
    )


def _unsaved_rows(index: StudyIndex, path: Path, rows: list[MetricsRow]) -> list[str]:
    last = max(index.positions(path), default=path.start)
    reached = rows[-1].position if rows else last
    if reached <= last:
        return []
    return [
        f"{index.label(path)} has rows up to {reached:,}, its last state is at {last:,}; the next run makes them anew"
    ]


def verify_evaluations(index: StudyIndex) -> Check:
    """Look for the losses on the held-out sets at every state that the plans need, each set once."""
    findings: list[Finding] = []
    notes: list[str] = []
    count = 0
    tables: dict[str, list[EvaluationRow]] = {}
    try:
        index.study.held_out.read()
    except StateError as error:
        findings.append(Finding(text=str(error)))
    for path in index.tree.paths:
        folder = index.folder(path)
        try:
            tables[path.id] = folder.evaluations() if folder is not None else []
            if folder is not None:
                check_digest_beside(folder.later_evaluation.file)
        except StateError as error:
            findings.append(Finding(path=index.label(path), text=str(error)))
    sets = _sets_by_path(index, tables)
    for path in index.tree.paths:
        if path.id not in tables:
            continue
        found = _by_position(tables[path.id])
        # Where an increment ends, a state is kept unevaluated; a later plan may have come to need it as a fork.
        unevaluated = {at for plan in index.plans for at in _increment_ends(plan, path)} - found.keys()
        asked = set(index.tree.needed(path.id)) - unevaluated
        made = [position for position in index.positions(path) if position in asked]
        count += len(made)
        folder = index.folder(path)
        for position in sorted({*made, *found}):
            rows = found.get(position, [])
            by_lrpath = path.recipe.engine is None  # another trainer need not evaluate
            needed = position in made and (by_lrpath or bool(rows))
            problem = _evaluation_problem(rows, sets[path.id], needed=needed)
            if problem is not None:
                assert folder is not None
                findings.append(
                    Finding(
                        path=index.label(path),
                        position=position,
                        text=f"{index.label(path)} at {position:,} {problem}; restore {folder.evaluation.file} from a "
                        "copy, or run the plan again with mend=true",
                    )
                )
    for release in index.tree.releases:
        problem, note = _mean_of_states(index, release)
        findings += [Finding(text=problem)] if problem else []
        notes += [note] if note else []
    return Check(
        name="evaluations",
        statement="needed states have their losses on every held-out set, once",
        count=count,
        findings=tuple(findings),
        notes=tuple(notes),
    )


def _increment_ends(plan: Plan, path: Path) -> tuple[int, ...]:
    return plan.tree.increment_ends(path.id) if any(path.id == one.id for one in plan.tree.paths) else ()


def _mean_of_states(index: StudyIndex, release: Release) -> tuple[str, str]:
    """Return what is wrong with the losses of a release that is a mean of states, and what is unfinished."""
    if len(release.parts) == 1:
        return "", ""
    try:
        check_digest_beside(release_folder(index.study, release=release) / "evaluation.csv")
        is_evaluated = StudyScores(index.study).of(release) is not None
    except StateError as error:
        return str(error), ""
    if is_evaluated or not all(index.study.has_state(key) for key, _ in release.parts):
        return "", ""
    return "", f"{release.paradigm}/{release.version}, a mean of states, is not evaluated; run the plan again"


def _by_position(rows: list[EvaluationRow]) -> dict[int, list[EvaluationRow]]:
    found: dict[int, list[EvaluationRow]] = {}
    for row in rows:
        found.setdefault(row.position, []).append(row)
    return found


def _sets_by_path(index: StudyIndex, tables: Mapping[str, list[EvaluationRow]]) -> dict[str, list[SetNames]]:
    """Return, by path id, the held-out sets that a run under each of the plans with this path evaluates.

    Only the tables say which sets a version has. Candidates for a version, increments with other held-out tokens under
    one name, have sets of their own: those seen on the paths that belong to plans with this candidate alone. A path
    that several candidates share was evaluated on those of one of them.
    """
    judged: dict[str, list[dict[str, _Candidate]]] = {}
    for plan in index.plans:
        for path in plan.tree.paths:
            data = canonical(path.recipe.data)
            candidates = {one.version: (data, one.version, one.held_out) for one in plan.increments}
            judged.setdefault(path.id, []).append(candidates)
    seen: dict[_Candidate, set[tuple[str, str]]] = {}
    for path_id, plans in judged.items():
        for held_out in {row.held_out for row in tables.get(path_id, [])}:
            found = {plan[held_out[0]] for plan in plans if held_out[0] in plan}
            if len({digest for *_, digest in found} - {None}) < 2:
                for candidate in found:
                    seen.setdefault(candidate, set()).add(held_out)
    return {
        path_id: [frozenset(name for one in plan.values() for name in seen.get(one, ())) for plan in plans]
        for path_id, plans in judged.items()
    }


def _evaluation_problem(rows: list[EvaluationRow], sets: list[SetNames], *, needed: bool) -> str | None:
    names = [row.held_out for row in rows]
    if not rows:
        return "was not evaluated, although its state is there" if needed else None
    if len(set(names)) < len(names):
        return "was evaluated on one held-out set more than once"
    if needed and not any(one <= set(names) for one in sets):
        lacking = min((one - set(names) for one in sets), key=len)
        return f"lacks its loss on {', '.join(f'{version} {domain}' for version, domain in sorted(lacking))}"
    for row in rows:
        if not math.isfinite(row.nll):
            return f"has an nll of {row.nll} on {row.tokens} tokens of {row.version} {row.domain}"
    return None
