"""Says what a plan goes on from in its study: what is refused, what is reused, and what is to be run."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lrpath.assembly.project import Project
from lrpath.errors import MismatchError
from lrpath.planning.lineage import differences
from lrpath.planning.paths import Path
from lrpath.planning.plain import as_plain
from lrpath.planning.plan import Plan
from lrpath.planning.stream_record import as_record
from lrpath.records.reuse import missing_stretches
from lrpath.records.study import Study

MOST_DIFFERENCES = 3
"""A message names so many fields that differ."""


def check_extends(project: Project) -> None:
    """Check that a plan goes on from what its study keeps, as far as `extend` asks for it.

    `true` asks that it goes on from a plan, or repeats a part of one; `auto`, that of every paradigm that it has in
    common with the study some path is one of the study's, or that it is the study's plan, or a part of it, at another
    seed; `false` asks nothing. Tokens that are not prepared are taken for those that the study knows: what differs in
    nothing but them shows when they are.

    Raises:
        MismatchError: If it does not; the message has the field that differs.
    """
    kept, extend = [one.plan for one in project.kept_plans], project.config.extend
    if not kept or extend is False:
        return
    assumed = [project.assuming(old) for old in kept]
    if any(plan.extends(old) or old.extends(plan) for plan, old in zip(assumed, kept, strict=True)):
        return
    begun = {path.id for old in kept for path in old.tree.paths}
    shared = [label for label in project.config.paradigms if any(label in old.paradigms for old in kept)]
    anew = [
        label for label in shared if not any(path.id in begun for plan in assumed for path in plan.part(label).paths)
    ]
    if extend is True or (anew and not _is_another_seed(project, kept)):
        labels = anew or shared
        number = max((n for n, old in enumerate(kept) if {*labels} & {*old.paradigms}), default=len(kept) - 1)
        raise MismatchError(
            f"extend={str(extend).lower()}: this plan does not go on from study {project.study.name}: "
            f"{_first_difference(project, kept[number], assumed[number], labels=labels)}; correct that, give another "
            "study=…, or give extend=false to train both",
            field="extend",
            value=extend,
        )


def _is_another_seed(project: Project, kept: Sequence[Plan]) -> bool:
    """Tell whether a plan differs from one of the study, or from a part of one, in its seed alone.

    One that adds a version differs in more: next month's at another seed is a mistake, and would train all anew.
    """
    seeded = ((Project(replace(project.config, seed=old.recipe.seed)), old) for old in kept)
    return any(old.extends(twin.assuming(old)) for twin, old in seeded)


def _first_difference(project: Project, old: Plan, new: Plan, *, labels: Sequence[str]) -> str:
    """Return how the first release of the old plan that the new one lacks has changed, preferably of some labels."""
    lost = [release for release in old.tree.releases if release not in new.tree.releases]
    first = next((release for release in lost if release.paradigm in labels), lost[0])
    label = f"{first.paradigm}/{first.version}"
    same = [release for release in new.tree.releases if f"{release.paradigm}/{release.version}" == label]
    if not same:
        return f"it has no {label}"
    lines = old.tree.line(first.last.path_id), new.tree.line(same[0].last.path_id)
    for before, after in zip(*lines, strict=False):
        if found := _differences(project.known_paths.get(before.id, before), after):
            if all(line.startswith(("schedule.", "parent.")) for line in found):
                settings = [as_plain(plan.paradigms[first.paradigm]) for plan in (old, new)]
                found = differences(*settings, at=f"paradigms.{first.paradigm}") or found
            more = f" and {len(found) - MOST_DIFFERENCES} more" if len(found) > MOST_DIFFERENCES else ""
            return f"{after.name} of {label} would be trained anew ({'; '.join(found[:MOST_DIFFERENCES])}{more})"
    return f"{label} would be made of other states"


def _differences(before: Path, after: Path) -> list[str]:
    """Return what differs in the ids of two paths, tokens apart and first, in the words of the configuration."""
    records = []
    for path in (before, after):
        ((segment, offset, _),) = path.stream.spans(path.start, path.start + 1)
        tokens = {one.version: (one.content or "unknown")[:12] for one in segment.increments}
        recipe = dict(path.identity()["recipe"])
        if before.recipe.names_source:  # how an old plan names its data tells nothing besides the tokens
            del recipe["data"]
        stream = {"segment": as_record(segment), "from": offset}
        records.append({"tokens": tokens} | path.identity() | {"recipe": recipe, "stream": stream})
    # A batch that grows otherwise changes sizes and forks too: it is named before what follows from it.
    return sorted(differences(*records), key=lambda line: not line.startswith("recipe.growth"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reuse:
    """What of a plan is on disk.

    Args:
        study: Name of the study.
        updates: Updates of the whole plan.
        to_run: Updates to be run by version, of the versions that need any.
        not_prepared: Versions whose tokens are not prepared.
    """

    study: str
    updates: int
    to_run: dict[str, int]
    not_prepared: tuple[str, ...]

    @property
    def reused(self) -> int:
        """Updates of the plan that are not run again; where states were removed, fewer than were run."""
        return max(self.updates - sum(self.to_run.values()), 0)

    def text(self) -> str:
        """Return it in a sentence or two.

        >>> print(Reuse(study="x", updates=1_520, to_run={"v4": 380}, not_prepared=()).text())
        reuses 1,140 of 1,520 updates of study x; v4 costs 380
        """
        costs = ", ".join(f"{version} costs {updates:,}" for version, updates in self.to_run.items())
        found = f"reuses {self.reused:,} of {self.updates:,} updates of study {self.study}"
        text = f"{found}; {costs or 'nothing is left to run'}"
        if self.not_prepared:
            names = ", ".join(self.not_prepared)
            text += f"\nthe tokens of {names} are not prepared; train may find more to reuse once it has prepared them"
        return text

    def as_record(self) -> dict[str, object]:
        """Return it as plain data."""
        return {
            "study": self.study,
            "updates": self.updates,
            "reused": self.reused,
            "to_run": self.to_run,
            "not_prepared": list(self.not_prepared),
        }


def read_reuse(project: Project) -> Reuse:
    """Compare a project's plan with the states of its study."""
    plan, study = project.plan, Study(project.study_folder)
    to_run: dict[str, int] = {}
    for stretch in missing_stretches(study, plan.tree, order=plan.versions):
        to_run[stretch.version] = to_run.get(stretch.version, 0) + stretch.updates
    updates = sum(plan.tree.updates(path.id) for path in plan.tree.paths)
    return Reuse(study=study.name, updates=updates, to_run=to_run, not_prepared=plan.not_prepared)
