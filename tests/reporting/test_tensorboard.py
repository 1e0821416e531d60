from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from lrpath.analysis.compare import read_series
from lrpath.analysis.comparison import StudyComparison
from lrpath.records.events import rewrite_path_events
from lrpath.records.study import Study
from lrpath.reporting.release_tables import release_tables
from lrpath.reporting.report import start_tensorboard, write_report
from lrpath.reporting.tensorboard_runs import named_runs, runs_table
from tests.analysis.studies import MERGED, SCRATCH, SWITCHING, evaluate_evenly, keep, plan_of

LOSSES = {"from_scratch": [3.0, 2.0], "path_switching": [3.1, 2.25]}


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Return an α sweep with two seeds, one of its releases left to be made."""
    study = Study(tmp_path / "toy")
    for alpha in (0.2, 0.6):
        for seed in (0, 1):
            paradigms = {"path_switching": replace(SWITCHING, alpha=alpha), "from_scratch": SCRATCH}
            plan = plan_of(10, 10, paradigms=paradigms, seed=seed)
            keep(study, plan)
            evaluate_evenly(study, plan, LOSSES | ({"path_switching": [3.1, None]} if alpha == 0.2 and seed else {}))
    return study


def rows_of(board: Path) -> dict[str, tuple[dict[str, Any], dict[str, float]]]:
    """Return settings and last figures of every row of HPARAMS by its name."""
    found = {}
    for folder in (file.parent for file in board.glob("*/*tfevents*")):
        events = EventAccumulator(str(folder))
        events.Reload()
        content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
        start = HParamsPluginData.FromString(content).session_start_info
        settings = {
            name: value.string_value or value.number_value for name, value in sorted(dict(start.hparams).items())
        }
        figures = {tag: events.Scalars(tag)[-1].value for tag in events.Tags()["scalars"]}
        assert start.group_name not in found
        found[start.group_name] = settings, figures
    return found


def text_of(events: EventAccumulator, tag: str) -> str:
    (event,) = events.Tensors(tag)
    return event.tensor_proto.string_val[0].decode()


def raw(board: Path) -> list[tuple[str, str, int]]:
    return [
        (file.parent.name, value.tag, event.step)
        for file in board.rglob("*tfevents*")
        for event in EventFileLoader(str(file)).Load()
        for value in event.summary.value
    ]


def test_every_paradigm_alpha_and_seed_is_a_row_with_its_final_figures(study: Study) -> None:
    start_tensorboard(study)

    rows = rows_of(study.report / "tb")

    assert sorted(rows) == sorted(
        [
            *(f"from_scratch (seed={seed})" for seed in (0, 1)),
            *(f"path_switching (alpha={alpha}, seed={seed})" for alpha in (0.2, 0.6) for seed in (0, 1)),
        ]
    )
    settings, figures = rows["path_switching (alpha=0.6, seed=1)"]
    assert settings == {"alpha": 0.6, "paradigm": "path_switching", "release": "v2", "seed": 1.0}
    expected = {"loss": 2.25, "perplexity": 9.48774, "updates": 26, "cost": 26 / 30}
    assert figures == pytest.approx({f"release/{name}": value for name, value in expected.items()})
    settings, figures = rows["path_switching (alpha=0.2, seed=1)"]
    assert (settings["release"], figures["release/loss"]) == ("v1", pytest.approx(3.1))
    assert rows["from_scratch (seed=0)"][0] == {"paradigm": "from_scratch", "release": "v2", "seed": 0.0}


def test_a_report_written_again_doubles_nothing(study: Study) -> None:
    start_tensorboard(study)
    once = raw(study.report / "tb")

    start_tensorboard(study)

    assert sorted(raw(study.report / "tb")) == sorted(once)
    assert len(once) == len(set(once))


def test_a_row_that_is_called_otherwise_in_a_grown_sweep_leaves_no_trace(tmp_path: Path) -> None:
    study = Study(tmp_path / "toy")
    keep(study, plan_of(10, 10, seed=1))
    start_tensorboard(study)
    assert "continual" in rows_of(study.report / "tb")
    keep(study, plan_of(10, 10, seed=2))

    start_tensorboard(study)

    names = {name for name in rows_of(study.report / "tb") if name.startswith("continual")}
    assert names == {"continual (seed=1)", "continual (seed=2)"}


def test_tables_trees_and_layouts_are_shown(study: Study) -> None:
    start_tensorboard(study)

    events = EventAccumulator(str(study.report / "tb"))
    events.Reload()
    tags = events.Tags()["tensors"]
    assert [tag for tag in tags if tag.startswith("report/")] == [
        "report/1 Findings",
        "report/2 What was run",
        "report/3 Releases of v2, best first",
        "report/4 Each release on each version's held-out text",
        "report/5 Releases over seeds",
        "report/6 Releases, on held-out text and by cost",
        "report/7 Cost, planned and run",
        "report/8 Runs",
        "report/9 Trees",
    ]
    (table,) = (table.text() for table in release_tables(StudyComparison.read(study)))
    assert text_of(events, "report/6 Releases, on held-out text and by cost") == f"```\n{table}\n```"
    assert "updates planned, 0 run" in text_of(events, "report/1 Findings")
    assert "├─ v1" in text_of(events, "report/9 Trees")
    (event,) = events.Tensors("custom_scalars__config__")
    layout = Layout.FromString(event.tensor_proto.string_val[0])
    assert {part.title: tags_of(part.chart) for part in layout.category} == {
        "1 look here first": ["train/loss$", r"held_out_loss/v2\.", "train/lr$"],
        "2 held-out loss by set": [r"held_out_loss/v1\.all$", r"held_out_loss/v2\.all$"],
        "3 health": ["train/grad_norm$", "speed/tokens_per_second$"],
    }


def tags_of(charts: Iterable[Any]) -> list[str]:
    return [tag for chart in charts for tag in chart.multiline.tag]


def test_the_runs_are_said_to_be_paths_of_which_series(study: Study) -> None:
    records = runs_table(named_runs(read_series(study))).records()

    (main,) = (row for row in records if row["run"] == "path_switching_(seed=1)/main")
    (branch,) = (row for row in records if row["run"] == "path_switching_(alpha=0.6,_seed=1)/v2")
    both = "path_switching (alpha=0.2, seed=1), path_switching (alpha=0.6, seed=1)"
    assert (main["series"], main["first"], main["end"], main["leaves"], main["releases"]) == (both, 0, 18, None, None)
    assert (branch["first"], branch["end"], branch["leaves"]) == (14, 20, "path_switching.main")
    assert branch["releases"] == "v2"
    assert (study.folder / "paths" / branch["folder"]).is_dir()


def test_a_run_s_name_leads_to_the_curves_of_its_path(study: Study) -> None:
    start_tensorboard(study)

    link = study.report / "tb" / "path_switching_(alpha=0.6,_seed=1)" / "v2"
    (branch,) = (
        run for run in named_runs(read_series(study)) if f"{run.folder}/{run.name}" == f"{link.parent.name}/v2"
    )
    assert link.is_symlink()
    assert link.resolve() == (branch.place / "tb").resolve()
    (branch.place / "tb").mkdir()
    assert link.is_dir()


@pytest.mark.slow
def test_figures_are_shown_as_images(study: Study) -> None:
    rewrite_path_events(study.folders()[0])

    write_report(study)

    events = EventAccumulator(str(study.report / "tb"))
    events.Reload()
    assert [tag for tag in events.Tags()["images"] if tag.startswith("figures/")] != []


def test_tensorboard_is_written_before_anything_was_run(tmp_path: Path) -> None:
    study = Study(tmp_path / "toy")
    keep(study, plan_of(10, 10, paradigms={"from_scratch": SCRATCH}))

    start_tensorboard(study)

    assert rows_of(study.report / "tb") == {"from_scratch": ({"paradigm": "from_scratch", "seed": 0.0}, {})}


def test_a_path_that_two_studies_have_has_the_curves_of_each(tmp_path: Path) -> None:
    # Its id says what v1 reads, and not what v2 does.
    studies = [Study(tmp_path / name) for name in ("one", "other", "third")]
    for study, letter in zip(studies, "bcd", strict=True):
        keep(study, plan_of(10, 10, paradigms={"merged": MERGED}, texts={"v1": "a" * 64, "v2": letter * 64}))

    runs = named_runs(read_series(*studies))

    assert len({run.path.id for run in runs}) == 1
    assert {run.place.parents[1] for run in runs} == {study.folder for study in studies}
    assert len({(run.folder, run.name) for run in runs}) == 3
