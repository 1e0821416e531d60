from pathlib import Path

import numpy as np
import pytest
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from lrpath.errors import DataError, LawError, StateError
from lrpath.laws.curve_files import CurveFile, History, read_csv, read_curve
from lrpath.laws.curves import Curve, rates_of
from lrpath.laws.path_curves import EvaluationSets, plan_path, read_path
from lrpath.planning.paths import Path as TreePath
from lrpath.planning.schedule import Schedule, constant, ramp, warmup
from lrpath.records.study import Study
from tests.analysis.studies import CONTINUAL, SWITCHING, evaluate, keep, plan_of, run_all
from tests.refusals import refused

WARM = Schedule(pieces=(*warmup(1.0, updates=4), constant(1.0, updates=2), ramp(1.0, 0.0, updates=2)))


def write(folder: Path, text: str) -> Path:
    file = folder / "run.csv"
    file.write_bytes(text.encode())
    return file


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(tmp_path / "toy")


def branch_of(study: Study) -> tuple[object, TreePath]:
    plan = plan_of(10, 10, paradigms={"path_switching": SWITCHING})
    keep(study, plan)
    run_all(study, plan)
    return plan.tree, next(path for path in plan.tree.paths if path.parent is not None)


def test_a_branch_has_the_main_paths_rates_before_its_fork_and_its_own_after(study: Study) -> None:
    tree, branch = branch_of(study)

    curve = read_path(study, tree=tree, path_id=branch.id)

    assert branch.start == 4  # the branch leaves at 10 − 0.6 × 10
    assert curve.rates_U.tolist() == [0.5, 1.0, 1.0, 1.0] + [branch.schedule.rate(k) for k in range(4, 10)]
    assert curve.positions_P.tolist() == [5, 6, 7, 8, 9, 10]
    assert curve.losses_P.tolist() == [5.0 - n / 100 for n in range(5, 11)]
    planned = plan_path(tree=tree, path_id=branch.id)
    assert planned.losses_P is None
    assert planned.rates_U.tolist() == curve.rates_U.tolist()
    assert planned.positions_P.tolist() == curve.positions_P.tolist()


def test_a_branch_read_whole_has_the_main_paths_losses_up_to_its_fork(study: Study) -> None:
    tree, branch = branch_of(study)
    study.open(tree.path(branch.parent.path_id)).metrics.cut(
        7
    )  # beyond the fork, the main path's losses are not history

    curve = read_path(study, tree=tree, path_id=branch.id, whole=True)

    assert curve.positions_P.tolist() == list(range(1, 11))


def test_curves_of_a_tree_hold_every_loss_once(study: Study) -> None:
    tree, _ = branch_of(study)

    curves = [read_path(study, tree=tree, path_id=path.id) for path in tree.paths]

    assert sum(curve.positions_P.size for curve in curves) == sum(tree.updates(path.id) for path in tree.paths)


def test_a_held_out_curve_pools_the_domains_of_a_version(study: Study) -> None:
    plan = plan_of(10, paradigms={"continual": CONTINUAL})
    keep(study, plan)
    evaluate(
        study, plan, plan.tree.releases[0], {("v1", "a"): (30.0, 10), ("v1", "b"): (10.0, 30), ("v2", "a"): (9.0, 1)}
    )

    curve = read_path(
        study, tree=plan.tree, path_id=plan.tree.paths[0].id, held_out=EvaluationSets.choose(study, ("v1",))
    )

    assert (curve.positions_P.tolist(), curve.losses_P.tolist()) == ([10], [1.0])


def test_a_path_that_was_not_trained_has_no_curve(study: Study) -> None:
    plan = plan_of(10, paradigms={"continual": CONTINUAL})

    with refused(LawError):
        read_path(study, tree=plan.tree, path_id=plan.tree.paths[0].id)


def test_an_altered_table_of_metrics_is_refused(study: Study) -> None:
    tree, branch = branch_of(study)
    study.open(branch).metrics.append([(11, "low", 1.0, 1.0, 8)])

    with refused(StateError):
        read_path(study, tree=tree, path_id=branch.id)


def test_a_csv_gives_a_rate_to_every_update_between_its_rows(tmp_path: Path) -> None:
    file = write(tmp_path, "step,lr,loss\n2,1.0,3.0\n4,0.5,2.5\n6,0.5,2.0\n")

    curve = read_csv(file)

    assert curve.name == "run"
    assert curve.rates_U.tolist() == [1.0, 1.0, 0.75, 0.5, 0.5, 0.5]
    assert curve.positions_P.tolist() == [2, 4, 6]
    assert curve.losses_P.tolist() == [3.0, 2.5, 2.0]


def test_a_csv_may_have_other_columns_a_bom_and_windows_lines(tmp_path: Path) -> None:
    file = write(tmp_path, "\ufeffnote,loss,position,lr\r\nx,3.0,1,1.0\r\n")

    assert read_csv(file).losses_P.tolist() == [3.0]


@pytest.mark.parametrize(
    ("history", "rates"),
    [
        (History(warmup=4), [0.25, 0.5, 0.75, 1.0, 1.0, 0.5]),
        (History(schedule=WARM), [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]),
        (
            History(before=Curve(name="main", rates_U=np.full(9, 2.0), positions_P=np.array([9]))),
            [2.0, 2.0, 2.0, 2.0, 1.0, 0.5],
        ),
    ],
)
def test_the_history_before_the_first_row_is_what_is_said(tmp_path: Path, history: History, rates: list[float]) -> None:
    file = write(tmp_path, "step,lr,loss\n5,1.0,3.0\n6,0.5,2.5\n")

    assert read_csv(file, history=history).rates_U.tolist() == rates


@pytest.mark.parametrize(
    "text",
    [
        "",
        "step,loss\n1,2\n",
        "step,lr,loss\n",
        "step,lr,loss\n1,1,3\n2,1,2.",
        "step,lr,loss\n1,1,3\n2,1\n",
        "step,lr,loss\n1,1,3,4\n",
        "step,lr,loss\n1,1,low\n",
        "step,lr,loss\n1,1,nan\n",
        "step,lr,loss\n1,-1,3\n",
        "step,lr,loss\n1.5,1,3\n",
        "step,lr,loss\n0,1,3\n",
        "step,lr,loss\n1,1,3\n1,1,2\n",
        "step,lr,loss\n500,1,3\n510,1,2\n",
        "step,lr,loss\n30000000,1,3\n60000000,1,2\n",  # tokens, not updates
    ],
)
def test_an_odd_or_torn_csv_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    with refused(DataError) as raised:
        read_csv(write(tmp_path, text))

    assert "\n" not in str(raised.value)
    assert "run.csv" in str(raised.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with refused(DataError):
        read_csv(tmp_path / "none.csv")


def test_a_tensorboard_folder_gives_the_same_curve_as_a_csv(tmp_path: Path) -> None:
    writer = EventFileWriter(str(tmp_path / "tb"))
    for step, rate, loss in [(2, 1.0, 3.0), (4, 0.5, 2.5), (6, 0.5, 2.0)]:
        values = [Summary.Value(tag="train/loss", simple_value=loss), Summary.Value(tag="train/lr", simple_value=rate)]
        writer.add_event(Event(step=step, summary=Summary(value=values)))
    writer.close()

    curve = read_curve(CurveFile(path=str(tmp_path / "tb")))

    assert curve.rates_U.tolist() == [1.0, 1.0, 0.75, 0.5, 0.5, 0.5]
    assert curve.losses_P.tolist() == [3.0, 2.5, 2.0]
    with refused(DataError):
        read_curve(CurveFile(path=str(tmp_path / "tb"), loss="val"))


@pytest.mark.parametrize(
    ("text", "file", "positions", "losses"),
    [
        ("Step,LR,train/loss\n1,1,3.0\n2,1,2.5\n", {}, [1, 2], [3.0, 2.5]),
        ("Step;LR;train/loss\n1;0,5;3,25\n2;0,5;2,5\n", {}, [1, 2], [3.25, 2.5]),
        ("iteration\tlearning_rate\ttrain_loss\n1\t1\t3.0\n", {}, [1], [3.0]),
        ('"Step","run 1 - train/loss","run 1 - train/loss__MIN","run 1 - lr"\n1,3.0,2.9,1\n', {}, [1], [3.0]),
        ("step,lr,loss,val_loss\n1,1,3.0,\n2,1,2.5,\n2,,,2.6\n", {}, [1, 2], [3.0, 2.5]),
        ("step,lr,loss,val_loss\n1,1,3.0,\n2,1,2.5,\n2,,,2.6\n", {"loss": "val_loss"}, [2], [2.6]),
        ("step,lr\n1,1\n2,0.5\n", {}, [1, 2], None),
        ("n,rate,score\n1,1,3.0\n", {"step": "n", "lr": "rate", "loss": "score"}, [1], [3.0]),
    ],
)
def test_a_file_of_another_trainer_is_read(
    tmp_path: Path, text: str, file: dict[str, str], positions: list[int], losses: list[float] | None
) -> None:
    curve = read_curve(CurveFile(path=str(write(tmp_path, text)), **file))

    assert curve.positions_P.tolist() == positions
    assert (None if curve.losses_P is None else curve.losses_P.tolist()) == losses


def test_losses_and_rates_may_be_in_two_files(tmp_path: Path) -> None:
    write(tmp_path, "Step,x - train/loss\n2,3.0\n4,2.5\n").rename(tmp_path / "loss.csv")
    write(tmp_path, "Step,x - lr\n1,1\n4,0.4\n").rename(tmp_path / "rate.csv")

    curve = read_curve(CurveFile(path=f"{tmp_path / 'loss.csv'}+{tmp_path / 'rate.csv'}", parameters=1e6))

    assert curve.rates_U.tolist() == pytest.approx([1.0, 0.8, 0.6, 0.4])
    assert curve.losses_P.tolist() == [3.0, 2.5]
    assert curve.parameters == 1e6
    with refused(DataError, field="files"):
        read_curve(CurveFile(path=str(tmp_path / "loss.csv")))


def test_every_file_may_have_a_warmup_of_its_own(tmp_path: Path) -> None:
    file = write(tmp_path, "step,lr,loss\n5,1.0,3.0\n6,0.5,2.5\n")

    curve = read_curve(CurveFile(path=str(file), warmup=4))

    assert curve.rates_U.tolist() == [0.25, 0.5, 0.75, 1.0, 1.0, 0.5]
    with refused(DataError, field="warmup", value=6):
        read_curve(CurveFile(path=str(file), warmup=6))


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ("step,lr,val_ppl\n1,1,9.0\n2,1,8.0\n", {"loss": "val_ppl"}),
        ("step,lr,loss\n1,1,20.1\n2,1,18.2\n", {}),
    ],
    ids=["by name", "by height"],
)
def test_perplexities_are_refused(tmp_path: Path, text: str, file: dict[str, str]) -> None:
    with refused(DataError, field="files"):
        read_curve(CurveFile(path=str(write(tmp_path, text)), **file))


def test_a_loss_may_begin_high(tmp_path: Path) -> None:
    assert read_curve(CurveFile(path=str(write(tmp_path, "step,lr,loss\n1,1,60.0\n2,1,10.0\n")))).losses_P is not None


@pytest.mark.parametrize(
    "given",
    [
        {"rates_U": [1.0, -1.0]},
        {"positions_P": [2, 1]},
        {"positions_P": [3]},
        {"losses_P": [1.0]},
        {"losses_P": [1.0, np.nan]},
        {"rates_U": [0.0, 1.0]},
        {"boundary": 3},
        {"replay": 1.0},
    ],
)
def test_an_impossible_curve_is_refused(given: dict[str, object]) -> None:
    usual = {"name": "x", "rates_U": [1.0, 1.0], "positions_P": [1, 2], "losses_P": [2.0, 1.0]}
    arrays = {key: np.array(value) if isinstance(value, list) else value for key, value in (usual | given).items()}

    with refused(LawError):
        Curve(**arrays)


def test_a_curve_between_two_positions_keeps_its_history() -> None:
    curve = Curve(
        name="x", rates_U=rates_of(WARM, updates=8), positions_P=np.arange(1, 9), losses_P=np.arange(9.0, 1, -1)
    )

    part = curve.between(3, 5)

    assert part.rates_U.size == 8
    assert (part.positions_P.tolist(), part.losses_P.tolist()) == ([3, 4, 5], [7.0, 6.0, 5.0])


def test_a_binned_curve_holds_means_at_middles() -> None:
    curve = Curve(name="x", rates_U=np.ones(6), positions_P=np.arange(1, 7), losses_P=np.array([3.0, 2, 1, 6, 5, 4]))

    binned = curve.binned(2)

    assert (binned.positions_P.tolist(), binned.losses_P.tolist()) == ([2, 5], [2.0, 5.0])


@pytest.mark.parametrize("text", ["step,lr,loss\n1,1,{}\n", "step,lr,{}\n1,1,3\n"], ids=["in a row", "in the head"])
def test_a_field_longer_than_csv_readers_take_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    with refused(DataError):
        read_csv(write(tmp_path, text.format("3" * 140_000)))


@pytest.mark.parametrize(
    "texts",
    [
        ("step,loss\n1,3.0\n2,2.9\n900,2.5\n", "step,lr\n1,0.1\n250,0.1\n500,0.1\n"),
        ("step,loss\n1,3.0\n2,2.9\n900,2.5\n", "step,lr\n1,0.1\n"),
        ("step,loss,lr\n1,3.0,0.1\n2,2.9,0.1\n", "step,lr\n1,0.1\n2,0.2\n"),
    ],
    ids=["rates that end early", "a lone rate", "two rates of one update"],
)
def test_files_that_are_not_of_one_run_are_refused(tmp_path: Path, texts: tuple[str, str]) -> None:
    files = [tmp_path / "a.csv", tmp_path / "b.csv"]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text)

    with refused(DataError, field="files"):
        read_curve(CurveFile(path="+".join(map(str, files))))
