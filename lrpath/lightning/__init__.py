"""Paths for any LightningModule: two callbacks, the rate of every update and the states of forks and releases.

    plan_module    versions of a module that lrpath knows nothing of → plan
    PathRun        one path of a plan: where it is, and how many updates are left
    PathRate       sets the plan's rate before every optimizer step, and checks it after
    PathForks      saves states, whole or absent, at forks and releases, and starts from one

docs/lightning_callbacks.md shows them at work.
"""

from lrpath.lightning.module_plan import plan_module
from lrpath.lightning.path_forks import PathForks
from lrpath.lightning.path_rate import PathRate
from lrpath.lightning.path_run import PathRun

__all__ = ["PathForks", "PathRate", "PathRun", "plan_module"]
