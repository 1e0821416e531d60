"""Finds a release by name, and writes the model card of an exported release."""

from lrpath import __version__
from lrpath.analysis.compare import Series, read_outcomes, read_series
from lrpath.errors import PlanError
from lrpath.planning.paradigms import PathSwitching
from lrpath.planning.paths import Path, Release, Tree, write_seed
from lrpath.planning.streams import coverage
from lrpath.planning.units import write_count
from lrpath.records.study import Study


def choose_release(study: Study, *, name: str) -> tuple[Series, Release]:
    """Return a release, and the series it belongs to.

    Args:
        study: The study.
        name: `label/version`, with the label as the report writes it; or a version alone, which means the study's
            only series, or its only one of path switching.

    Raises:
        PlanError: If there is no such release, or several; says which there are.
    """
    label, _, version = name.rpartition("/")
    planned = read_series(study)
    everything = [series for series in planned if version in series.plan.versions]
    if label:
        found = [series for series in everything if series.label == label]
        found = found or [series for series in everything if series.paradigm == label]
    else:
        switching = [series for series in everything if series.kind == PathSwitching.kind]
        found = switching or everything
    if len(found) != 1:
        what = "several releases" if found else "no release"
        known = [(series, version) for series in everything] or [(one, one.plan.versions[-1]) for one in planned]
        names = ", ".join(f"'release=\"{series.label}/{last}\"'" for series, last in known)
        raise PlanError(f"study {study.name} has {what} {name!r}; choose one of {names}")
    return found[0], found[0].plan.release(found[0].paradigm, version)


def card_text(study: Study, *, series: Series, release: Release) -> str:
    """Return the model card of a release in Markdown: lineage, schedule, data read, quality and cost."""
    plan = series.plan
    line = plan.tree.line(release.last.path_id)
    recipe = line[0].recipe
    outcome = next(
        outcome
        for outcome in read_outcomes(study)
        if outcome.series.label == series.label and outcome.version == release.version
    )
    loss = "not evaluated" if outcome.headline is None else f"{outcome.headline.loss:.4f} nats per token"
    states = [f"- state {key.position:,} of path `{key.path_id}`, weight {weight:g}" for key, weight in release.parts]
    ends = [*(path.start for path in line[1:]), release.last.position]
    lineage = [_line_of(path, end) for path, end in zip(line, ends, strict=True)]
    clip = recipe.optimizer.clip_norm
    clipping = "gradients not clipped" if clip is None else f"gradient norm clipped at {clip:g}"
    model, tokens = recipe.model, release.last.position * recipe.tokens_per_update
    size = "unknown" if plan.parameters is None else f"{plan.parameters:,}"
    return "\n".join(
        [
            "---",
            "library_name: transformers",
            "pipeline_tag: text-generation",
            "---",
            "",
            f"# {study.name}: {series.label}, {release.version}",
            "",
            f"A `{model['family']}` model of {size} parameters, made by lrpath {__version__}.",
            "",
            "## Lineage",
            "",
            *lineage,
            "",
            "Weights: " + ("the mean of" if len(states) > 1 else "one state:"),
            "",
            *states,
            "",
            "## Training",
            "",
            f"- {recipe.sequences_per_update} sequences of {recipe.tokens_per_sequence} tokens an update; "
            f"{release.last.position:,} updates, {write_count(tokens)} tokens",
            f"- AdamW {recipe.optimizer.beta1}/{recipe.optimizer.beta2}, weight decay {recipe.optimizer.weight_decay}, "
            f"{clipping}; {recipe.precision}; {write_seed(recipe)}",
            f"- data: {plan.source}; {_reading(plan.tree, release)}",
            "",
            "## Held-out loss",
            "",
            f"On the sets of this and all earlier versions together: {loss}.",
            "",
        ]
    )


def _line_of(path: Path, end: int) -> str:
    begin = path.schedule.rate(path.start)
    last = path.schedule.rate(end - 1)
    parent = "initial weights" if path.parent is None else f"`{path.parent.path_id}` at {path.parent.position:,}"
    return (
        f"- `{path.name}` (`{path.id}`): from {parent}, updates [{path.start:,}, {end:,}), "
        f"rate {begin:.3g} at the first and {last:.3g} at the last"
    )


def _reading(tree: Tree, release: Release) -> str:
    shares = coverage(tree.reads(release.last))
    return "read " + ", ".join(
        version if share == 1 else f"{float(share):.0%} of {version}" for version, share in shares.items()
    )
