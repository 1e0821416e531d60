"""Says which given weights root paths begin with, and compares what plans and folders say of them."""

from pathlib import Path

from lrpath.analysis.verify.finding import Check, Finding
from lrpath.analysis.verify.study_index import StudyIndex
from lrpath.errors import LrpathError
from lrpath.planning.starting_weights import StartingWeights
from lrpath.records.weight_folder import WeightFolder


def begins_with_weights(index: StudyIndex) -> bool:
    """Say whether some path of a study begins with given weights."""
    return any(plan.weights is not None for plan in index.plans) or any(
        path.recipe.weights is not None for path in index.tree.paths
    )


def verify_weights(index: StudyIndex, *, digests: bool) -> Check:
    """Compare the digest that a plan gives for its weights with that in the ids of its root paths.

    A folder that has other weights by now is a note and no finding: paths that have begun do not need it.

    Args:
        index: The study.
        digests: Whether the folders are read, where they are still here.
    """
    findings: list[Finding] = []
    origins: dict[StartingWeights, list[str]] = {}
    for plan in index.plans:
        for path in plan.tree.paths:
            if path.parent is not None:
                continue
            said = None if plan.weights is None else plan.weights.digest
            if path.recipe.weights != said:
                text = (
                    f"{index.label(path)} begins with weights of digest {path.recipe.weights}, and a plan says {said}; "
                    "the plan was altered: restore the study's plans from a copy"
                )
                findings.append(Finding(path=index.label(path), text=text))
            elif plan.weights is not None:
                origins.setdefault(plan.weights, []).append(index.label(path))
    return Check(
        name="weights",
        statement="root paths begin with the weights that the plans name",
        count=sum(len(names) for names in origins.values()),
        findings=tuple(findings),
        notes=tuple(note for one in origins if digests and (note := _changed(one)) is not None),
        details=tuple(f"{', '.join(dict.fromkeys(names))}: {one.line()}" for one, names in origins.items()),
    )


def _changed(weights: StartingWeights) -> str | None:
    """Say that a folder has other weights than those that paths began with; None if it has them, or is not here."""
    place = Path(weights.given)
    if not place.is_dir():
        return None
    try:
        found = WeightFolder(weights.given, place, place).current_digest()
    except LrpathError as error:
        return str(error)
    if found == weights.digest:
        return None
    return f"{weights.given} has other weights now, of digest {found[:12]}; the paths began with {weights.digest[:12]}"
