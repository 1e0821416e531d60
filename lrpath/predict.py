"""`python -m lrpath.predict study=…`: fit a law of the loss to some paths, predict others; no torch."""

import sys
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig

from lrpath import entry
from lrpath.assembly.project import Project
from lrpath.config import schema
from lrpath.config.laws import PredictConfig, load_laws
from lrpath.errors import ConfigError, LawError
from lrpath.laws.loss_view import LossView
from lrpath.laws.mixture import predict_mixture
from lrpath.laws.path_curves import EvaluationSets, NamedPath, choose_paths, paths_of, paths_of_tree
from lrpath.laws.path_fit import PathFit, fit_paths, read_fitted
from lrpath.laws.prediction import PredictedPaths, predict_paths
from lrpath.laws.settings import FitSettings, names_in
from lrpath.records.study import Study
from lrpath.reporting.prediction_report import predictions_json, write_predictions


def predict(cfg: DictConfig) -> None:
    """Print what is predicted, and the error where it has been run; write it to the study's folder."""
    config, settings, asked = load_laws(PredictConfig, cfg)
    # curves from files, for a plan that may not be begun or for other files
    from_files = asked.predict == () or (asked.predict is None and bool(asked.compare))
    without_study = settings.fit == () and (asked.plan == "given" or from_files)
    study = (Study.at if without_study else Study.existing)(config.outputs, config.study)
    found = _mixture(config, asked, study, settings) if asked.mixture else _predictions(config, asked, study, settings)
    folder = study.folder / "predict" if asked.folder is None else Path(asked.folder)
    text = write_predictions(found, folder, settings=settings.as_record())
    study.upload()
    sys.stdout.write(f"{predictions_json(found) if config.format == 'json' else text}\n")


def _predictions(config: schema.Config, asked: PredictConfig, study: Study, settings: FitSettings) -> PredictedPaths:
    fitted, view, settings = _fitted(study, settings)
    paths = _asked(config, asked, study, fitted)
    curves = [view.from_file(file) for file in settings.curve_files(asked.compare)]
    return predict_paths(fitted, view, paths, settings, curves=curves, leave_out=asked.predict is None)


def _fitted(study: Study, settings: FitSettings) -> tuple[PathFit, LossView, FitSettings]:
    """Return the law, fitted now or before, and how losses are looked at."""
    if not settings.law.endswith(".json"):
        view = LossView.of(study, settings)
        return fit_paths(view, settings, patterns=settings.fit), view, settings
    fits, made = read_fitted(Path(settings.law), settings)
    if len(fits) > 1:
        raise LawError(
            f"{settings.law} holds laws for {', '.join(fits)}; predict is for one of them, fit it with set=",
            field="law",
        )
    return next(iter(fits.values())), LossView.of(study, made), made


def _asked(config: schema.Config, asked: PredictConfig, study: Study, fitted: PathFit) -> tuple[NamedPath, ...]:
    """Return the paths that are predicted."""
    if asked.predict == () or (asked.predict is None and asked.compare):
        return ()
    paths = paths_of(study) if asked.plan == "kept" else paths_of_tree(Project(config).plan.tree)
    if asked.predict is not None:
        return choose_paths(paths, names_in(asked.predict), field="predict")
    return tuple(path for path in paths if path.path.id not in fitted.path_ids)


def _mixture(config: schema.Config, asked: PredictConfig, study: Study, settings: FitSettings) -> PredictedPaths:
    """Return the predictions of a third domain's loss, from those on old and new data."""
    view = LossView.of(study, settings)
    views = view.by_domain()
    if len(views) != 2:
        raise ConfigError(
            "mixture needs a law where domains shift and the loss on both: law=continual 'set=[v1,v2]' old=v1",
            field="mixture",
            value=asked.mixture,
        )
    fits = [fit_paths(one, settings, patterns=settings.fit) for one in views]
    paths = _asked(config, asked, study, fits[0])
    old, new = (predict_paths(fit, one, paths, settings) for fit, one in zip(fits, views, strict=True))
    third = EvaluationSets.choose(study, names_in(asked.mixture))
    return predict_mixture(old, new, (*views, replace(view, held_out=third, name=third.name)), paths)


if __name__ == "__main__":
    entry.run(predict, config_name="predict")
