"""`python -m lrpath.report study=…`: make the tables and figures of a study again from its files, without torch."""

import sys
from pathlib import Path

from omegaconf import DictConfig

from lrpath import entry
from lrpath.config import ReportConfig, typed_root
from lrpath.records.study import Study
from lrpath.reporting.report import write_report


def report(cfg: DictConfig) -> None:
    """Write the report of a study and print it."""
    config = typed_root(ReportConfig, cfg)
    sys.stdout.write(f"{write_report(Study.existing(Path(config.outputs), config.study))}\n")


if __name__ == "__main__":
    entry.run(report, config_name="report")
