"""`python -m lrpath.report study=…`: make the tables and figures of a study again from its files, without torch."""

import sys
from pathlib import Path

from omegaconf import DictConfig

from lrpath import entry
from lrpath.config.commands import ReportConfig
from lrpath.config.typed import typed_root
from lrpath.records.study import Study
from lrpath.reporting.report import write_report


def report(cfg: DictConfig) -> None:
    """Write the report of one study or several and print it."""
    config = typed_root(ReportConfig, cfg)
    studies = [Study.existing(config.outputs, name) for name in config.studies]
    folder = None if config.folder is None else Path(config.folder)
    sys.stdout.write(f"{write_report(*studies, folder=folder)}\n")
    if folder is None:
        studies[0].upload()


if __name__ == "__main__":
    entry.run(report, config_name="report")
