"""A study on disk, in Python: its plans, losses and report, and the weights of its releases."""

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from omegaconf import OmegaConf

from lrpath.analysis.compare import Outcome
from lrpath.analysis.comparison import StudyComparison
from lrpath.analysis.release_choice import choose_release
from lrpath.analysis.verify.finding import Finding
from lrpath.analysis.verify.study import verify_study
from lrpath.config.schema import conf_folder
from lrpath.errors import StateError
from lrpath.planning.own_code import OWN
from lrpath.planning.paths import Release
from lrpath.planning.plan import Plan, from_record
from lrpath.records import study as records
from lrpath.records.rows import MetricsRow
from lrpath.reporting.report import Report, write_report

if TYPE_CHECKING:
    from torch import nn

    from lrpath.models import CausalLM

Module = TypeVar("Module", bound="nn.Module")


class Study:
    """A study on disk. Reading it imports no code of yours, and no torch but for `load`.

    Args:
        name: Its folder's name.
        outputs: Folder of studies, or its URL; None for the one that the command line takes.

    Raises:
        StateError: If it is not there.
    """

    def __init__(self, name: str, *, outputs: str | Path | None = None) -> None:
        usual = OmegaConf.load(conf_folder() / "report.yaml").outputs
        self._records = records.Study.existing(str(usual if outputs is None else outputs), name)

    @property
    def name(self) -> str:
        """Its name."""
        return self._records.name

    @property
    def folder(self) -> Path:
        """Where it is."""
        return self._records.folder

    @property
    def plans(self) -> tuple[Plan, ...]:
        """The plans that were run in it, oldest first."""
        return tuple(from_record(record) for record in self._records.plans().values())

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """Every release of every series: how good it is, and what it and the releases before it cost.

        Raises:
            StateError: If a table was altered.
        """
        return StudyComparison.read(self._records).outcomes

    def metrics(self, path: str) -> list[MetricsRow]:
        """Return the row of every update of a path, by its name in the plan, `path_switching.main` for example.

        Raises:
            StateError: If there is no such path, or its table was altered.
        """
        named = {one.name: one.id for plan in self.plans for one in plan.tree.paths}
        folder = self._records.find(named.get(path, path))
        if folder is None:
            raise StateError(f"study {self.name} has run no path {path!r}; it has {', '.join(named) or 'none'}")
        return folder.metrics.rows()

    def report(self, folder: str | Path | None = None) -> Report:
        """Write tables, figures and a page, and return its text and files, as `lrpath.report` does.

        Args:
            folder: Where to; None for the study's own report folder.

        Raises:
            StateError: If the study holds no plan, or a file in it was altered.
        """
        written = write_report(self._records, folder=None if folder is None else Path(folder))
        if folder is None:
            self._records.upload()
        return written

    def verify(self, *, digests: bool = True) -> list[Finding]:
        """Compare everything on disk with the plans and return what was found; nothing, if all is as it should be.

        Args:
            digests: Whether states are read and compared with their digests.
        """
        checks = verify_study(self._records, digests=digests, seen=lambda _done, _total: None)
        return [finding for check in checks for finding in check.findings]

    def load(self, release: str, *, into: Module) -> Module:
        """Load the weights of a release into a module, which is how one of yours leaves a study, and return it.

        Args:
            release: `v4`, or with the label of its paradigm `from_scratch/v4`.
            into: A module with the parameters of the one that was trained, on the CPU.

        Raises:
            PlanError: If there is no such release, or several.
            StateError: If a state is missing or altered, or was made for another model.
        """
        from lrpath.training.checkpoints.releases import load_release

        _, found = choose_release(self._records, name=release)
        if self._is_own(found):
            load_release(self._records, found, own_models=lambda _recipe: _wrapped(into))
        else:
            into.load_state_dict(load_release(self._records, found).lm.state_dict())
        return into

    def _is_own(self, release: Release) -> bool:
        folder = self._records.find(release.last.path_id)
        return folder is not None and folder.recipe()["model"].get("family") == OWN

    def __repr__(self) -> str:
        return f"Study({self.name!r}, outputs={str(self.folder.parent)!r})"


def _wrapped(module: "nn.Module") -> "CausalLM":
    from lrpath.models import OwnCausalLM

    return OwnCausalLM(module)
