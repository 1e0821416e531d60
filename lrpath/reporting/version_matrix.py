"""What each release knows of each version's text: a table of losses, release by held-out set.

Read along a row, it says how well a release knows old and new text; down a column, what each update was worth on a
version's text, before that text was trained on and after.
"""

import math
from collections.abc import Sequence
from typing import Any

from lrpath.analysis.compare import Outcome
from lrpath.analysis.comparison import ComparableGroup, StudyComparison
from lrpath.reporting.release_tables import held_out_versions, titled
from lrpath.reporting.tables import Align, Column, ReportTable, write_fixed

_LOSSES = ("loss_nats_per_token", "bits_per_byte")


def matrix_tables(comparison: StudyComparison) -> list[ReportTable]:
    """Return one table a group with several releases; means over seeds, of settings that were evaluated."""
    return [_matrix_table(group) for group in comparison.groups if len(held_out_versions(group.outcomes)) > 1]


def _matrix_table(group: ComparableGroup) -> ReportTable:
    versions = held_out_versions(group.outcomes)
    settings: dict[str, dict[str, list[Outcome]]] = {}
    for outcome in group.outcomes:
        if outcome.scores is not None:
            settings.setdefault(outcome.series.group, {}).setdefault(outcome.version, []).append(outcome)
    rows: list[tuple[Any, ...]] = []
    for name, releases in settings.items():
        before: list[Outcome] = []
        for version, outcomes in releases.items():
            gain = _difference(_mean(before, version), _mean(outcomes, version))
            rows.append((name, version, *(_mean(outcomes, other) for other in versions), gain))
            before = outcomes
    return ReportTable(
        title=titled("Each release on each version's held-out text", group),
        columns=(
            Column(key="paradigm", title="paradigm", align=Align.LEFT),
            Column(key="release", title="release", align=Align.LEFT),
            *(
                Column(
                    key=f"loss_{version}_nats_per_token", title=f"on {version}", unit="nats/token", write=write_fixed(4)
                )
                for version in versions
            ),
            Column(key="gain_nats_per_token", title="gain", unit="nats/token", write=lambda gain: f"{gain:+.4f}"),
        ),
        rows=tuple(rows),
        notes=(
            "Means over seeds. Gain: how much lower the loss on the release's own version's text is than that of the "
            "release before it, which had not read that text: what the update was worth on its increment.",
        ),
    )


def matrix_csv(comparison: StudyComparison) -> str:
    """Return every release's loss on every version's text for programs, a row a release, seed and version."""
    rows = []
    for outcome in comparison.outcomes:
        series = outcome.series
        for version in held_out_versions((outcome,)):
            score = outcome.score(versions=(version,))
            if score is not None:
                names = (series.paradigm, series.label, outcome.version, *series.seed, version)
                rows.append((*names, score.loss, score.bits_per_byte, _digests(outcome, version)))
    keys = ("paradigm", "series", "release", "seed_weights", "seed_order", "held_out", *_LOSSES, "held_out_sha256")
    columns = tuple(Column(key=key, title=key) for key in keys)
    return ReportTable(title="Matrix", columns=columns, rows=tuple(rows)).csv()


def _digests(outcome: Outcome, version: str) -> str:
    return " ".join(
        score.sha256 or "" for (other, _), score in sorted((outcome.scores or {}).items()) if other == version
    )


def _mean(outcomes: Sequence[Outcome], version: str) -> float | None:
    """Return the mean over seeds of the loss on a version's sets; None unless every seed has one."""
    scores = [outcome.score(versions=(version,)) for outcome in outcomes]
    losses = [score.loss for score in scores if score is not None]
    return math.fsum(losses) / len(losses) if losses and len(losses) == len(scores) else None


def _difference(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else before - after
