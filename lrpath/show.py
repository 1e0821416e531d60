"""`python -m lrpath.show study=…`: print what a study holds on disk, without torch."""

import sys

from omegaconf import DictConfig

from lrpath import entry
from lrpath.analysis.inventory import read_inventory
from lrpath.config.commands import ShowConfig
from lrpath.config.typed import typed_root
from lrpath.records.study import Study
from lrpath.reporting.inventory_text import inventory_text


def show(cfg: DictConfig) -> None:
    """Print plans, paths, states, who needs them, and what could be removed."""
    config = typed_root(ShowConfig, cfg)
    sys.stdout.write(f"{inventory_text(read_inventory(Study.existing(config.outputs, config.study)))}\n")


if __name__ == "__main__":
    entry.run(show, config_name="show")
