"""`python -m lrpath.show study=…`: print what a study holds on disk, or which text an update read, without torch."""

import sys

from omegaconf import DictConfig

from lrpath import entry
from lrpath.analysis.inventory import read_inventory
from lrpath.config.commands import ShowConfig
from lrpath.config.typed import typed_root
from lrpath.records.remote.folder import local_folder
from lrpath.records.study import Study
from lrpath.reporting.inventory_text import inventory_text


def show(cfg: DictConfig) -> None:
    """Print plans, paths, states, who needs them, and what could be removed; or what one update has read."""
    config = typed_root(ShowConfig, cfg)
    study = Study.existing(config.outputs, config.study)
    if config.update is None:
        sys.stdout.write(f"{inventory_text(read_inventory(study))}\n")
        return
    from lrpath.assembly.update_text import update_text

    sys.stdout.write(f"{update_text(study, config.update, stores=local_folder(config.stores))}\n")


if __name__ == "__main__":
    entry.run(show, config_name="show")
