from lrpath.api.experiment import Experiment as Experiment
from lrpath.api.study import Study as Study
from lrpath.errors import LrpathError as LrpathError
from lrpath.planning import optimizers as optimizers
from lrpath.planning import paradigms as paradigms
from lrpath.planning import schedule as schedules
from lrpath.planning.decay import Decay as Decay
from lrpath.planning.paradigms import Setting as Setting
from lrpath.planning.paths import Path as Path
from lrpath.planning.paths import StateKey as StateKey
from lrpath.planning.paths import Tree as Tree
from lrpath.planning.plan import Plan as Plan
from lrpath.planning.schedule import Schedule as Schedule

__version__: str

__all__ = [
    "Decay",
    "Experiment",
    "LrpathError",
    "Path",
    "Plan",
    "Schedule",
    "Setting",
    "StateKey",
    "Study",
    "Tree",
    "optimizers",
    "paradigms",
    "schedules",
]
