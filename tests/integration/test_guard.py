"""What is done about a loss or gradient at fault: the run stops, leaves the update out, or goes back, and says so."""

import io
import math
from dataclasses import replace

import pytest
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lrpath.analysis.comparison import StudyComparison
from lrpath.errors import TrainingError
from lrpath.planning.paths import Release, StateKey, Tree
from lrpath.records.manifest import read_manifest
from lrpath.records.path_folder import PathFolder
from lrpath.records.study import Study
from lrpath.reporting.report import write_report
from lrpath.training.lit_module import LitCausalLM
from tests.integration.lab import Job, Lab, states_of, tables_of
from tests.integration.planting import VARIABLE, plant
from tests.integration.test_ranks import DDP, FSDP, PAIR
from tests.refusals import refused

pytestmark = pytest.mark.slow

RULE = ("guard.spike=300", "guard.window=4")
"""Far above the noise of the losses of a few updates, far below the hundredfold losses that are planted."""
SKIP, REWIND = ("guard.policy=skip", *RULE), ("guard.policy=rewind", "guard.back=2", *RULE)


@pytest.fixture(autouse=True)
def unspoilt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away after a test what it planted."""
    monkeypatch.setattr(LitCausalLM, "training_step", LitCausalLM.training_step)


def main_of(lab: Lab, *changes: str) -> PathFolder:
    """Return the folder of the main path of a study."""
    path = lab.project(*changes).plan.tree.paths[0]
    folder = lab.study(dict(change.split("=", 1) for change in changes).get("study", "study")).find(path.id)
    assert folder is not None
    return folder


def along(study: Study) -> dict[tuple[str, int], dict[str, bytes]]:
    """Return all states of a study by the name of their path, which does not change with a guard."""
    names = {folder.folder.name.split("-")[-1]: folder.folder.name.split("-")[0] for folder in study.folders()}
    return {(names[path_id], position): bits for (path_id, position), bits in states_of(study).items()}


def faults_of(folder: PathFolder) -> list[tuple[int, int, str, str]]:
    return [(row.position, row.first, row.action, row.quantity) for row in folder.guard.rows()]


def run_to(lab: Lab, *positions: int, changes: tuple[str, ...]) -> dict[int, dict[str, bytes]]:
    """Run the main path alone, needing the states at some positions, and return them."""
    runner = lab.runner(*changes)
    main = runner.tree.paths[0]
    releases = tuple(
        Release(paradigm="by_hand", version="v2", parts=((StateKey(main.id, position), 1.0),)) for position in positions
    )
    replace(runner, tree=Tree(paths=(main,), releases=releases)).run()
    states = states_of(runner.study)
    return {position: states[main.id, position] for position in positions}


@pytest.mark.parametrize(("fault", "micro_batch"), [("nan", 4), ("inf", 2), ("100", 2)])
def test_a_skipped_update_changes_no_bit_of_weights_and_moments_and_has_its_row(
    lab: Lab, fault: str, micro_batch: int
) -> None:
    changes = (*SKIP, f"strategy.micro_batch={micro_batch}")
    plant(f"main:7={fault}")

    states = run_to(lab, 6, 7, 8, 9, changes=changes)

    assert states[8] == states[7]
    assert states[7] != states[6]
    assert states[9] != states[8]
    folder = main_of(lab, *changes)
    rows = folder.metrics.rows()
    assert [row.position for row in rows] == list(range(1, 10))
    assert all(math.isfinite(row.loss) for row in rows if row.position != 8)
    assert rows[7].loss > 100 or not math.isfinite(rows[7].loss)
    assert faults_of(folder) == [(8, 8, "skip", "loss")]
    assert "skipped" not in read_manifest(folder.state(7))
    assert read_manifest(folder.state(9))["skipped"] == [[8, 8]]


def test_a_spike_ends_a_run_that_may_only_stop_and_its_paths_are_those_without_a_rule(lab: Lab) -> None:
    plant("main:8=100")

    with refused(TrainingError, field="guard.spike", value=300.0, stable=False):  # the sentence holds a loss
        lab.run(*RULE)

    folder = main_of(lab)
    assert [row.position for row in folder.metrics.rows()] == list(range(1, 9))
    assert folder.positions() == [4, 6]
    assert not folder.guard.file.exists()


def test_a_rewind_makes_what_leaving_out_the_same_updates_makes(lab: Lab) -> None:
    plant("main:8=100")
    lab.run("study=rewound", *REWIND)
    plant("main:6=nan main:7=nan")
    lab.run("study=skipped", *SKIP)

    rewound = main_of(lab, "study=rewound", *REWIND)
    assert faults_of(rewound) == [(9, 7, "rewind", "loss")]
    assert [row[0] for row in faults_of(main_of(lab, "study=skipped", *SKIP))] == [7, 8, 9]
    assert along(lab.study("rewound")) == along(lab.study("skipped"))
    assert read_manifest(rewound.state(14))["skipped"] == [[7, 9]]


def test_a_rewind_stops_at_a_state_that_a_plan_needs(lab: Lab) -> None:
    far = ("guard.policy=rewind", "guard.back=100", *RULE)
    plant("main:5=nan v2:14=nan")

    lab.run(*far)

    assert faults_of(main_of(lab, *far)) == [(6, 5, "rewind", "loss")]
    branch = lab.study().find(lab.project(*far).plan.tree.paths[-1].id)
    assert branch is not None
    assert faults_of(branch) == [(15, 15, "rewind", "loss")]


def test_several_rewinds_compose_and_are_counted(lab: Lab) -> None:
    plant("main:8=nan main:9=100 main:12=inf")

    lab.run(*REWIND)

    # states are at 6, 9, 10, where v1's increment ends, and 12: back from 9 to 6, from 10 to 6 again, from 13 to 10
    assert faults_of(main_of(lab, *REWIND)) == [
        (9, 7, "rewind", "loss"),
        (10, 8, "rewind", "loss"),
        (13, 11, "rewind", "loss"),
    ]
    runs = [run for run in lab.study().ledger.runs() if run.name.endswith("main")]
    assert [(run.begin, run.end, run.repeated, run.skipped, run.outcome) for run in runs] == [
        (0, 4, 0, 0, "done"),
        (4, 9, 0, 0, "rewound"),
        (6, 10, 3, 3, "rewound"),
        (6, 13, 4, 4, "rewound"),
        (10, 14, 3, 3, "done"),
    ]
    line = StudyComparison.read(lab.study()).executions[0].sentence()
    assert "26 updates planned, 36 run, 10 of them repeated; the guard left out 10 of them and went back 3" in line


def test_a_guard_ends_at_its_limit_and_a_higher_one_goes_on_on_the_same_path(lab: Lab) -> None:
    plant("main:5=nan main:8=nan")
    with refused(TrainingError, field="guard.limit", value=1):
        lab.run(*SKIP, "guard.limit=1")

    lab.run(*SKIP, "guard.limit=2")

    assert [row[0] for row in faults_of(main_of(lab, *SKIP))] == [6, 9]
    assert main_of(lab, *SKIP, "guard.limit=1").folder == main_of(lab, *SKIP, "guard.limit=2").folder


def test_a_stretch_of_the_past_that_is_run_again_leaves_out_the_same_updates(lab: Lab) -> None:
    plant("main:4=nan main:11=nan")
    lab.run("study=twice", *SKIP)
    lab.run("study=twice", *SKIP, "alpha=0.5", "versions=1")  # needs a state at 5, where there is none any more
    lab.run("study=once", *SKIP)

    twice, once = main_of(lab, "study=twice", *SKIP), main_of(lab, "study=once", *SKIP)
    assert faults_of(twice) == [(5, 5, "skip", "loss"), (12, 12, "skip", "loss")]
    assert twice.guard.file.read_bytes() == once.guard.file.read_bytes()
    states = along(lab.study("twice"))
    assert states["path_switching.main", 5] == states["path_switching.main", 4]


@pytest.mark.parametrize(
    ("policy", "moments"),
    [
        # main 0 → 4 counts 0 … 4, v1 4 → 10 counts 4 … 10, main 4, 5 … 9: the 18th, after position 9 was left out
        (SKIP, ("reach:18", "end")),
        # retention has removed nine states when the first rewind removes 7 and 8; then only its row is there, too
        (REWIND, ("removed:11", "rewound:1", "shards:3", "rewound:1", "end")),
    ],
    ids=["skip", "rewind"],
)
def test_a_guarded_run_that_was_killed_and_run_again_equals_one_that_was_not(
    lab: Lab, policy: tuple[str, ...], moments: tuple[str, ...]
) -> None:
    planted = "main:8=100 main:11=nan v2:16=nan"
    changes = (*policy, "cadence.save_every=1")

    ended = lab.train("study=killed", *changes, moments=moments, env={VARIABLE: planted})
    plant(planted)
    lab.run("study=undisturbed", *changes)

    assert ended.codes == [-9] * (len(moments) - 1) + [0], ended.err
    killed, undisturbed = lab.study("killed"), lab.study("undisturbed")
    assert states_of(killed) == states_of(undisturbed)
    assert tables_of(killed) == tables_of(undisturbed)
    assert guards_of(killed) == guards_of(undisturbed)
    assert len(guards_of(killed)) == 2
    rewound = [run.end for run in killed.ledger.runs() if run.outcome == "rewound"]
    assert rewound[:2] == ([9, 9] if policy == REWIND else [])


def guards_of(study: Study) -> dict[str, bytes]:
    return {file.parent.name: file.read_bytes() for file in study.folder.glob("paths/*/guard.csv")}


def test_all_ranks_leave_out_and_go_back_alike(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "main:8=nan@1 main:11=1000@1")
    unclipped = (*PAIR, "optimizer.clip_norm=null")

    ended = lab.ranked(
        Job(("study=ddp", DDP, *unclipped, *SKIP)),
        Job(("study=fsdp", FSDP, *unclipped, *REWIND)),
        ranks=2,
    )
    plant("main:8=nan main:11=1000")
    lab.run("study=skip", *unclipped, *SKIP)
    lab.run("study=rewind", *unclipped, *REWIND)

    assert lab.codes_of(2) == [(0, 0)] * 2, ended.err
    assert states_of(lab.study("ddp")) == states_of(lab.study("skip"))
    assert faults_of(main_of(lab, "study=ddp", *unclipped, *SKIP)) == [(9, 9, "skip", "loss"), (12, 12, "skip", "loss")]
    assert states_of(lab.study("fsdp")) == states_of(lab.study("rewind"))
    rewound = main_of(lab, "study=fsdp", *unclipped, *REWIND)
    assert faults_of(rewound) == [(9, 7, "rewind", "loss"), (12, 10, "rewind", "loss")]


def test_curves_and_reports_bear_a_loss_that_is_not_finite(lab: Lab) -> None:
    plant("main:7=nan")
    lab.run(*SKIP, "logger=tensorboard")

    text = write_report(lab.study()).text

    events = EventAccumulator(str(main_of(lab, *SKIP).tensorboard), size_guidance={"scalars": 0})
    events.Reload()
    points = [(event.step, math.isnan(event.value)) for event in events.Scalars("train/loss")]
    assert points == [(position, position == 8) for position in range(1, 15)]
    assert "; the guard left out 1 of them and went back 0 times" in text


def test_a_fork_in_a_spike_is_reported_even_where_nothing_is_guarded(lab: Lab) -> None:
    plant("main:13=1000")
    runner = lab.runner("guard.window=4")
    console = Console(file=io.StringIO(), width=200)

    replace(runner, console=console).run()

    folder = main_of(lab)
    assert "loss" in read_manifest(folder.state(14))["spike"]
    assert "main: the state at 14, which the plan needs, lies in a spike: loss" in console.file.getvalue()
    assert "spike" not in read_manifest(folder.state(4))
