"""A sweep whose sweeper wants a loss is refused before its first job where its jobs would return none to compare."""

from typing import Any

import pytest
from hydra import initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from lrpath.config import schema
from lrpath.errors import ConfigError
from lrpath.sweep.optimizing import check_optimizing
from tests.refusals import refused

LAUNCHER = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"


def check(*task: str, launcher: str = LAUNCHER, **sweeper: Any) -> None:
    """Check a sweep as Hydra would compose it with these words on the command line."""
    hydra = {
        "job": {"config_name": "config"},
        "launcher": {"_target_": launcher},
        "sweeper": {"_target_": "hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper", **sweeper},
        "overrides": {"task": list(task)},
    }
    config: DictConfig = OmegaConf.create({"hydra": hydra})
    with initialize_config_dir(version_base="1.3", config_dir=str(schema.conf_folder())):
        check_optimizing(config)


ONE = "paradigm=[path_switching]"
PEAK = "peak=interval(0.001,0.1)"


def test_a_range_of_one_paradigm_passes() -> None:
    check(ONE, PEAK, direction="minimize")
    check(ONE, params={"peak": "choice(0.01,0.1)"})
    check("paradigm=[path_switching],[continual]", "peak=0.01,0.1")


@pytest.mark.parametrize(
    ("words", "settings", "field"),
    [
        ([PEAK], {}, "paradigm"),
        ([ONE], {}, "hydra/sweeper"),
        ([ONE, PEAK, "paths=main"], {}, "paths"),
        ([ONE, "versions=2,3"], {}, "versions"),
        ([ONE, "data.tokenizer.vocab_size=300,400"], {}, "data.tokenizer.vocab_size"),
        ([ONE, PEAK], {"direction": "maximize"}, "hydra.sweeper.direction"),
        ([ONE, PEAK], {"launcher": "hydra_plugins.lrpath_torchrun.TorchrunLauncher"}, "hydra/launcher"),
    ],
)
def test_what_gives_no_loss_to_compare_is_refused(words: list[str], settings: dict[str, Any], field: str) -> None:
    with refused(ConfigError, field=field):
        check(*words, **settings)
