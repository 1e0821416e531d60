"""engine=command: lrpath keeps tree, pins, ledger and tables of a trainer that knows nothing of it but files."""

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from lrpath.analysis.verify.study import verify_study
from lrpath.assembly.command_factory import build_command_trainer
from lrpath.assembly.finished import is_finished
from lrpath.assembly.runner import build_runner
from lrpath.errors import ConfigError, LrpathError, StateError, TrainingError
from lrpath.planning.lineage import content_id
from lrpath.records.study import Study
from lrpath.reporting.report import write_report
from lrpath.training.checkpoints.releases import load_release
from tests.integration.lab import REPOSITORY, Lab, started, tables_of
from tests.refusals import refused

pytestmark = pytest.mark.slow

TRAINER = Path(__file__).with_name("outside_trainer.py")


def command(*faults: str) -> tuple[str, ...]:
    words = " ".join((sys.executable, str(TRAINER), "{stretch}", *faults))
    return "engine=command", "engine.name=abacus", f"engine.run='{words}'", "cadence.save_every=1000"


def run(lab: Lab, *changes: str) -> int:
    project = lab.project(*changes)
    store = project.prepare()
    runner = build_runner(project, build_command_trainer(project, store), Console(file=io.StringIO()))
    project.keep_plan()
    return runner.run()


def weights_of(study: Study) -> dict[str, bytes]:
    return {
        str(file.relative_to(study.folder)): file.read_bytes() for file in sorted(study.folder.rglob("weights.npy"))
    }


def findings(study: Study) -> list[str]:
    return [finding.text for check in verify_study(study, digests=True) for finding in check.findings]


@pytest.fixture(scope="module")
def whole(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Return a laboratory in which the other trainer has run the small study without disturbance."""
    whole = Lab(folder=tmp_path_factory.mktemp("whole"), texts=corpus / "texts", stores=corpus / "stores")
    assert run(whole, *command()) == 26
    return whole


def test_every_update_runs_at_the_rate_of_the_plan_and_every_fork_and_release_is_kept(whole: Lab) -> None:
    study, project = whole.study(), whole.project(*command())
    tree = project.plan.tree

    for path in tree.paths:
        folder = study.find(path.id)
        assert folder is not None
        rows = folder.metrics.rows()
        assert [row.lr for row in rows] == [path.schedule.rate(row.position - 1) for row in rows]
        assert set(tree.needed(path.id)) <= set(folder.positions())
    assert findings(study) == []
    assert sum(run.updates for run in study.ledger.runs()) == 26
    assert is_finished(project)
    assert "v2" in str(write_report(study))


def test_a_finished_plan_runs_no_command(whole: Lab) -> None:
    assert run(whole, *command("die:1")) == 0


def test_windows_and_ids_are_the_same_text(whole: Lab, lab: Lab) -> None:
    run(lab, *command(), "engine.data=ids")

    assert tables_of(lab.study()) == tables_of(whole.study())
    assert weights_of(lab.study()) == weights_of(whole.study())


def test_a_command_that_dies_is_run_again_from_the_last_state_and_ends_at_equal_bits(
    whole: Lab, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(lab.folder)
    with refused(TrainingError):
        run(lab, *command("die:12"))
    positions = {folder.folder.name.split("-")[0]: folder.positions() for folder in lab.study().folders()}

    assert run(lab, *command("die:12")) == 4 + 6  # main from the end of its first increment, and the branch of v2

    assert positions["path_switching.main"] == [4, 10]
    assert tables_of(lab.study()) == tables_of(whole.study())
    assert weights_of(lab.study()) == weights_of(whole.study())
    assert findings(lab.study()) == []
    assert sum(one.repeated for one in lab.study().ledger.runs()) > 0


def test_a_command_that_is_stopped_keeps_what_it_saved(whole: Lab, lab: Lab) -> None:
    with refused(LrpathError):
        run(lab, *command("stop:2"))
    main = next(folder for folder in lab.study().folders() if "main" in folder.folder.name)
    kept = main.positions()

    run(lab, *command())

    assert kept == [2]
    assert tables_of(lab.study()) == tables_of(whole.study())
    assert weights_of(lab.study()) == weights_of(whole.study())


@pytest.mark.parametrize("fault", ["rate", "early", "nothing", "empty", "silent"])
def test_what_is_not_what_was_asked_is_refused_and_leaves_nothing(lab: Lab, fault: str) -> None:
    with refused(TrainingError):
        run(lab, *command(fault))

    (folder,) = lab.study().folders()
    assert folder.positions() == []
    assert folder.metrics.rows() == []
    assert len(list(lab.study().ledger.runs())) == 1


@pytest.mark.parametrize("fault", ["mean", "likelihood"])
def test_what_is_no_sum_of_losses_over_a_set_is_refused(lab: Lab, fault: str) -> None:
    with refused(TrainingError):
        run(lab, *command(fault))

    assert [row for folder in lab.study().folders() for row in folder.evaluation.rows()] == []


def test_a_state_of_another_trainer_that_was_altered_is_never_handed_on(lab: Lab) -> None:
    run(lab, *command(), "paths=main")
    main = next(folder for folder in lab.study().folders() if "main" in folder.folder.name)
    file = main.state(4) / "deep" / "weights.npy"
    file.write_bytes(file.read_bytes()[:-1] + b"!")

    with refused(StateError):
        run(lab, *command())


def test_lrpath_never_opens_a_state_of_another_trainer(whole: Lab) -> None:
    release = whole.project(*command()).plan.tree.releases[0]

    with refused(StateError, field="engine"):
        load_release(whole.study(), release)


def test_another_trainer_makes_other_paths_and_lrpaths_own_keep_their_ids(lab: Lab) -> None:
    ours, theirs = (lab.project(*changes).plan.tree.paths[0] for changes in ((), command()))

    assert theirs.recipe.as_record() == ours.recipe.as_record() | {"engine": "abacus"}
    assert content_id(ours.identity()) == ours.id.lstrip("~") != theirs.id.lstrip("~")


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("engine.run", "engine.run='train {stretsh}'"),
        ("engine.run", "engine.run='train {begin}'"),
        ("engine.run", 'engine.run="train \'{stretch}"'),
        ("engine.name", "engine.name='a b'"),
        ("engine.stop_seconds", "engine.stop_seconds=0"),
        ("strategy", "strategy=ddp"),
        ("guard.policy", "guard.policy=skip"),
    ],
)
def test_what_a_command_cannot_do_is_refused_before_it_runs(lab: Lab, field: str, change: str) -> None:
    with refused(ConfigError, field=field):
        lab.project(*command(), change)


def test_windows_of_a_mixture_are_given_as_ids_alone(lab: Lab) -> None:
    project = lab.project(*command(), "data.mixture={text: 1}", f"data.folder={lab.folder / 'stores'}")

    with refused(ConfigError, field="engine.data", value="windows"):
        build_command_trainer(project, project.prepare())


def test_a_plan_of_another_trainer_imports_no_torch_and_stops_its_command_on_a_signal(lab: Lab) -> None:
    sleeper = lab.folder / "sleeper.py"
    sleeper.write_text("import os, signal, sys\nprint('asleep', os.getpid(), flush=True)\nsignal.pause()\n")
    overrides = lab.overrides(*command(), f"engine.run='{sys.executable} {sleeper} {{stretch}}'")
    words = [sys.executable, "-m", "lrpath.train", *overrides]  # no fork of a process that has torch
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen(words, cwd=lab.folder, env=environment, text=True, stdout=-1, stderr=-1)
    line = started(process, "asleep")
    torch_is_there = "torch" in Path(f"/proc/{process.pid}/maps").read_text()
    process.send_signal(signal.SIGTERM)
    process.communicate()

    assert process.returncode == 75
    assert not torch_is_there
    with pytest.raises(ProcessLookupError):
        os.kill(int(line.split()[1]), 0)
