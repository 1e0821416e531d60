"""`python -m lrpath.tune study=…`: the best peak of every paradigm from short runs that swept it; no torch."""

import json
import sys
from dataclasses import asdict

from omegaconf import DictConfig

from lrpath import entry
from lrpath.config.laws import TuneConfig
from lrpath.config.typed import typed_root
from lrpath.laws.peaks import best_peaks
from lrpath.records.study import Study
from lrpath.reporting.peak_report import peaks_text


def tune(cfg: DictConfig) -> None:
    """Print the best peak of every paradigm, how sure it is, and the overrides that use it."""
    config = typed_root(TuneConfig, cfg)
    found = best_peaks(Study.existing(config.outputs, config.study))
    text = json.dumps([asdict(one) for one in found], indent=1) if config.format == "json" else peaks_text(found)
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    entry.run(tune, config_name="tune")
