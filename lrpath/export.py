"""`python -m lrpath.export study=… release=v4`: write a release as a Hugging Face folder."""

import shlex
import shutil
import sys
from functools import partial

from omegaconf import DictConfig

from lrpath import entry
from lrpath.analysis.release_choice import choose_release
from lrpath.analysis.scores import release_folder
from lrpath.config.commands import ExportConfig
from lrpath.config.typed import typed_root
from lrpath.records.remote.folder import local_folder, remote_of
from lrpath.records.remote.study_copy import check_empty, upload_files
from lrpath.records.study import Study
from lrpath.reporting.model_card import card_text


def export(cfg: DictConfig) -> None:
    """Export one release of a study, and say what was compared."""
    config = typed_root(ExportConfig, cfg)
    study = Study.existing(config.outputs, config.study)
    series, release = choose_release(study, name=config.release)
    place = config.folder or str(release_folder(study, release=release) / "model")
    folder = local_folder(place)
    if (address := remote_of(place)) is not None:
        shutil.rmtree(folder, ignore_errors=True)  # of an export that was killed before it was uploaded
    check_empty(address or study.url_of(folder))
    with entry.lasting():
        from lrpath.training.checkpoints.export import export_release

    command = shlex.join(["python", "-m", "lrpath.export", *sys.argv[1:]])
    made = export_release(
        study,
        release,
        folder=folder,
        card=partial(card_text, study, series=series, release=release, command=command),
        dtype=config.dtype,
        shard_bytes=round(config.shard_gb * 1e9),
        loads=config.check == "load",
    )
    for line in made.compared:
        sys.stdout.write(f"{line}\n")
    if address is not None:
        upload_files(address, folder)
        shutil.rmtree(folder)
    study.upload()
    where = study.url_of(folder) if address is None else address
    sys.stdout.write(f"{release.paradigm}/{release.version} is in {where}\n")


if __name__ == "__main__":
    entry.run(export, config_name="export")
