"""One configuration in Python: what it plans, trains and reports; the same code as the command line's."""

from functools import cached_property, partial
from typing import Any

from rich.console import Console

from lrpath.api.study import Study
from lrpath.assembly.description import describe
from lrpath.assembly.execution import execute
from lrpath.assembly.project import Project
from lrpath.config import schema
from lrpath.config.composing import compose_config
from lrpath.planning.plan import Plan
from lrpath.records.commands import Command


class Experiment:
    """A configuration, its plan, and the study that it is trained in.

    It is composed of the files of `conf/`, as on a command line, and of what is given here:

    - text chooses an option of a group: `model="tiny"`, `optimizer="muon"`, `paradigm=["path_switching", "continual"]`;
    - a class or function of yours takes the place of one: `model=GPT`, `data=texts`; with settings, a mapping:
      `model={"kind": GPT, "width": 64}`, `paradigms={"halves": {"kind": halves, "peak": 0.01}}`;
    - everything else is the value of a field: `alpha=0.4`, `increment="200 updates"`,
      `batch={"sequences_per_update": 8}`.

    Nothing runs and nothing is written before `train`.

    Args:
        overrides: Changes as on a command line: `"+exp=quickstart"`, `"strategy.threads=1"`.
        fields: Fields of the root of `conf/config.yaml`, and `exp`, an experiment of `conf/exp`.

    Raises:
        ConfigError: If a field is unknown or refused.

    >>> experiment = Experiment(exp="quickstart", versions=2, alpha=0.5)
    >>> experiment.plan.versions
    ('v1', 'v2')
    >>> Experiment(alhpa=0.5)
    Traceback (most recent call last):
        ...
    lrpath.errors.ConfigError: unknown field 'alhpa'; did you mean 'alpha'? Known fields: ...
    """

    def __init__(self, *overrides: str, **fields: Any) -> None:
        composed = compose_config(*overrides, **fields)
        self.config = schema.load(composed)
        self._description: str = composed.description
        self._given = (*overrides, *(f"{name}={value!r}" for name, value in fields.items()))

    @cached_property
    def _project(self) -> Project:
        return Project(self.config)

    @property
    def plan(self) -> Plan:
        """The tree of paths and what it costs; no torch, unless code of yours imports it.

        Raises:
            LrpathError: If there is none, because a paradigm cannot be planned for example.
        """
        return self._project.plan

    @property
    def study(self) -> Study:
        """What has been trained so far, of this experiment and others.

        Raises:
            StateError: If nothing has.
        """
        return Study(self.config.study, outputs=self.config.outputs)

    def train(self, *, quiet: bool = False) -> int:
        """Make every state that the plan needs and that is not there, and return how many updates that took.

        It may be stopped at any moment and called again. Under torchrun all ranks call it.

        Args:
            quiet: Whether to show no progress.

        Raises:
            LrpathError: If something is refused or cannot go on; what was saved is whole.
        """
        self._project.refresh()
        command = partial(Command.of_this_process, "lrpath (Python)", self._given, description=self._description)
        updates = execute(self._project, Console(quiet=quiet), command=command)
        if updates is not None:
            self._project.study.upload()
        return updates or 0

    def __str__(self) -> str:
        """Return the plan as `lrpath.plan` prints it."""
        return describe(self._project)

    def __repr__(self) -> str:
        return f"Experiment({', '.join(self._given)})"
