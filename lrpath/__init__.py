"""Plan, train, compare and release model versions on learning-rate paths (arXiv 2410.04103).

    Experiment      one configuration: what it plans, trains and costs
    Study           what has been trained, on disk: losses, report, weights
    paradigms       functions from versions to trees of paths; your own is made of Setting, Path, Tree, StateKey
    schedules       learning-rate curves: Schedule, Decay, and their pieces
    optimizers      settings of AdamW, Muon and others
    Plan            a tree of paths with its cost
    LrpathError     what every refusal is

A name is imported when it is first used: planning needs no torch. docs/python_api.md shows them at work.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_PLACES = {
    "Experiment": "lrpath.api.experiment",
    "Study": "lrpath.api.study",
    "LrpathError": "lrpath.errors",
    "Plan": "lrpath.planning.plan",
    "Setting": "lrpath.planning.paradigms",
    "Path": "lrpath.planning.paths",
    "StateKey": "lrpath.planning.paths",
    "Tree": "lrpath.planning.paths",
    "Decay": "lrpath.planning.decay",
    "Schedule": "lrpath.planning.schedule",
    "optimizers": "lrpath.planning.optimizers",
    "paradigms": "lrpath.planning.paradigms",
    "schedules": "lrpath.planning.schedule",
}
"""Where each public name is; a lower-case one is the module itself. `__init__.pyi` says the same to type checkers."""

__all__ = [*_PLACES]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'lrpath' has no attribute {name!r}")
    module = importlib.import_module(_PLACES[name])
    found = module if name.islower() else getattr(module, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
