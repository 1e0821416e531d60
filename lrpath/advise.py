"""`python -m lrpath.advise +exp=…`: choose α, shape and floor, or replay, from a fitted law; no torch."""

import dataclasses
import sys
from dataclasses import replace
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from lrpath import entry
from lrpath.assembly.project import Project
from lrpath.config import schema
from lrpath.config.laws import AdviseConfig, label_of, load_laws
from lrpath.errors import PlanError
from lrpath.laws.advice import Adviser, WeightedFit
from lrpath.laws.candidates import Candidate, Objective, candidates_of
from lrpath.laws.loss_view import LossView
from lrpath.laws.path_curves import has_losses, paths_of
from lrpath.laws.path_fit import PathFit, fit_paths, read_fitted
from lrpath.laws.probes import ObservedBranch, averages, observed_branches, parabolas
from lrpath.laws.saved_fit import SHIFTED
from lrpath.laws.settings import FitSettings, names_in
from lrpath.planning.paradigms import Setting
from lrpath.records.study import Study
from lrpath.reporting.advice_report import advice_json, write_advice
from lrpath.reporting.advice_sentences import Question, Seen


def give_advice(cfg: DictConfig) -> None:
    """Print the advice and the command that trains it; write both and what they rest on to the study's folder."""
    config, settings, asked = load_laws(AdviseConfig, cfg)
    project, label = Project(config), label_of(config, asked.label)
    fitted, settings = _fits(config, settings)
    objective: Objective = asked
    if asked.budget is not None:
        objective = replace(asked, budget=project.parse(asked.budget, "budget"))
    paradigm = config.paradigms[label]
    setting = Setting(label=label, recipe=project.recipe, increments=project.increments, parse=project.parse)
    numbers = _numbers(project, label, names_in(asked.releases))
    candidates, configured = candidates_of(paradigm, setting, objective, numbers)
    views = _views(config, settings)
    fits = _weighted(fitted, weight=asked.weight)
    adviser = Adviser(
        fits=fits,
        objective=objective,
        settings=settings,
        old=frozenset(names_in(settings.old)) if settings.law in SHIFTED else None,
        observed=_observed(views, fits, (*candidates, *configured)),
    )
    advice = adviser.advise(candidates, configured)
    alpha = getattr(paradigm, "alpha", ())
    versions = project.plan.versions
    question = Question(
        label=label,
        objective=objective,
        given=_train_overrides(),
        versions=versions,
        alphas=alpha if isinstance(alpha, tuple) else (alpha,) * len(versions),
        decay=getattr(paradigm, "decay", None),
        main=_main_path(project, candidates[0], label),
        settings=settings.as_record(),
        seen=_seen(project, views, [versions[number] for number in numbers]),
    )
    folder = project.study_folder / "advise" if asked.folder is None else Path(asked.folder)
    text = write_advice(advice, question, folder)
    Study(project.study_folder).upload()
    sys.stdout.write(f"{advice_json(advice, question) if config.format == 'json' else text}\n")


def _fits(config: schema.Config, settings: FitSettings) -> tuple[tuple[PathFit, ...], FitSettings]:
    """Return the laws, one for each loss that counts, fitted now or before."""
    if settings.law.endswith(".json"):
        found, made = read_fitted(Path(settings.law), settings)
        return tuple(found.values()), made
    study = (Study.at if settings.fit == () else Study.existing)(config.outputs, config.study)
    view = LossView.of(study, settings)
    return tuple(fit_paths(one, settings, patterns=settings.fit) for one in view.by_domain()), settings


def _weighted(fitted: tuple[PathFit, ...], *, weight: float) -> tuple[WeightedFit, ...]:
    if len(fitted) == 1:
        return (WeightedFit(fitted=fitted[0], weight=1.0),)
    return tuple(WeightedFit(fitted=one, weight=weight if one.is_of_new_data else 1 - weight) for one in fitted)


def _views(config: schema.Config, settings: FitSettings) -> tuple[LossView, ...]:
    """Return the losses of the study, in the order of the fits; none if it has not been begun."""
    study = Study.at(config.outputs, config.study)
    if not study.plans() or settings.fit == ():
        return ()
    return LossView.of(study, settings).by_domain()


def _observed(
    views: tuple[LossView, ...], fits: tuple[WeightedFit, ...], candidates: tuple[Candidate, ...]
) -> dict[str, float]:
    """Return the weighted losses that were recorded at the ends of candidates that have been run, by path id."""
    found = {}
    for candidate in candidates if len(views) == len(fits) else ():
        losses = [view.end_loss(candidate.path) for view in views]
        if None not in losses:
            parts = [one.weight * (loss or 0.0) for one, loss in zip(fits, losses, strict=True)]
            found[candidate.path.path.id] = sum(parts)
    return found


def _seen(project: Project, views: tuple[LossView, ...], versions: list[str]) -> Seen:
    """Return what has been observed already that bears on the choice, where there is but one loss."""
    if len(views) != 1:
        return Seen()
    sizes = {increment.version: increment.updates for increment in project.increments}
    branches: tuple[ObservedBranch, ...] = observed_branches(views[0], sizes)
    return Seen(
        branches=tuple(one for one in branches if one.version in versions),
        parabolas=parabolas(branches),
        averages=averages(views[0]),
    )


def _numbers(project: Project, label: str, names: tuple[str, ...]) -> list[int]:
    """Return the versions that are advised on, from 0: those named, else those that have not been run, else all."""
    versions = project.plan.versions
    if odd := [name for name in names if name not in versions]:
        text = f"releases={odd[0]} is not a version of this configuration, which has {', '.join(versions)}"
        raise PlanError(text, field="releases", value=odd[0])
    if names:
        return [versions.index(name) for name in versions if name in names]
    made = _made(project, label)
    first = 1 if "replay" in project.config.paradigms[label].advisable else 0  # version 1 has nothing to replay
    every = list(range(first, len(versions)))
    return [number for number in every if versions[number] not in made] or every


def _made(project: Project, label: str) -> set[str]:
    """Return the versions of the label of which some path has been run in the study, whatever its α."""
    study = Study(project.study_folder)
    if not study.plans():
        return set()
    runs = [path for path in paths_of(study) if has_losses(study, path.path)]
    ends = {(release.paradigm, release.version) for path in runs for release in path.made_releases}
    return {version for paradigm, version in ends if paradigm == label}


def _main_path(project: Project, candidate: Candidate, label: str) -> str:
    """Return the name of the main path in the plan, in which paradigms that share it are united."""
    parent = candidate.path.path.parent
    names = {path.id: path.name for path in project.plan.tree.paths}
    return names.get(parent.path_id, f"{label}.main") if parent is not None else f"{label}.main"


def _train_overrides() -> tuple[str, ...]:
    """Return the overrides of this command line that `lrpath.train` knows."""
    own = {field.name for kind in (FitSettings, AdviseConfig) for field in dataclasses.fields(kind)}
    given = HydraConfig.get().overrides.task
    return tuple(text for text in given if text.lstrip("+~").partition("=")[0].partition(".")[0] not in own)


if __name__ == "__main__":
    entry.run(give_advice, config_name="advise")
