"""`python -m lrpath.export study=… release=v4`: write a release as a Hugging Face folder."""

import pathlib
import sys

from omegaconf import DictConfig

from lrpath import entry
from lrpath.analysis.scores import release_folder
from lrpath.config.schema import ExportConfig
from lrpath.config.typed import typed_root
from lrpath.records.study import Study
from lrpath.reporting.model_card import card_text, choose_release


def export(cfg: DictConfig) -> None:
    """Export one release of a study."""
    config = typed_root(ExportConfig, cfg)
    study = Study.existing(pathlib.Path(config.outputs), config.study)
    series, release = choose_release(study, name=config.release)
    folder = pathlib.Path(config.folder) if config.folder else release_folder(study, release=release) / "model"
    with entry.lasting():
        from lrpath.training.checkpoints.releases import export_release

    export_release(study, release, folder=folder, card=card_text(study, series=series, release=release))
    sys.stdout.write(f"{release.paradigm}/{release.version} is in {folder}\n")


if __name__ == "__main__":
    entry.run(export, config_name="export")
