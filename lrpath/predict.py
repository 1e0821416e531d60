"""`python -m lrpath.predict study=…`: fit a law of the loss to some paths, predict others; no torch."""

import sys
from pathlib import Path

from omegaconf import DictConfig

from lrpath import entry
from lrpath.assembly.project import Project
from lrpath.config import schema
from lrpath.config.laws import PredictConfig, load_laws
from lrpath.errors import LawError
from lrpath.laws.path_curves import NamedPath, choose_paths, paths_of, paths_of_tree
from lrpath.laws.path_fit import FitSettings, LossView, PathFit, fit_paths, names_in, read_fitted, settings_record
from lrpath.laws.prediction import predict_paths
from lrpath.records.study import Study
from lrpath.reporting.prediction_report import predictions_json, write_predictions


def predict(cfg: DictConfig) -> None:
    """Print what is predicted, and the error where it has been run; write it to the study's folder."""
    config, settings, asked = load_laws(PredictConfig, cfg)
    needs_none = settings.fit == () and asked.plan == "given"  # curves from files, for a plan that may not be begun
    outputs = Path(config.outputs)
    study = Study(outputs / config.study) if needs_none else Study.existing(outputs, config.study)
    fitted, view, settings = _fitted(study, settings)
    paths = _asked(config, asked, study, fitted)
    found = predict_paths(fitted, view, paths, level=settings.level, extrapolate=settings.extrapolate)
    folder = study.folder / "predict" if asked.folder is None else Path(asked.folder)
    text = write_predictions(found, folder, settings=settings_record(settings), level=settings.level)
    sys.stdout.write(f"{predictions_json(found) if config.format == 'json' else text}\n")


def _fitted(study: Study, settings: FitSettings) -> tuple[PathFit, LossView, FitSettings]:
    """Return the law, fitted now or before, and how losses are looked at."""
    if not settings.law.endswith(".json"):
        view = LossView.of(study, settings)
        return fit_paths(view, settings, patterns=settings.fit), view, settings
    fits, made = read_fitted(Path(settings.law), settings)
    if len(fits) > 1:
        raise LawError(f"{settings.law} holds laws for {', '.join(fits)}; predict is for one of them, fit it with set=")
    return next(iter(fits.values())), LossView.of(study, made), made


def _asked(config: schema.Config, asked: PredictConfig, study: Study, fitted: PathFit) -> tuple[NamedPath, ...]:
    """Return the paths that are predicted."""
    paths = paths_of(study) if asked.plan == "kept" else paths_of_tree(Project(config).plan.tree)
    if asked.predict is not None:
        return choose_paths(paths, names_in(asked.predict), field="predict")
    return tuple(path for path in paths if path.path.id not in fitted.path_ids)


if __name__ == "__main__":
    entry.run(predict, config_name="predict")
