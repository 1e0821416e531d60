from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from lrpath.analysis.comparison import StudyComparison
from lrpath.errors import ConfigError
from lrpath.planning.decay import Decay
from lrpath.planning.schedule import Shape
from lrpath.records.rows import MetricsRow
from lrpath.records.study import Study
from lrpath.reporting.figures import panels_of, plot_losses, plot_rates, rate_curve
from lrpath.reporting.plot_style import draw_tree, part_names, stack
from lrpath.reporting.quality_figures import plot_quality_against_cost
from tests.analysis.studies import MERGED, THREE, keep, plan_of, run_all
from tests.planning.strategies import build_merged, build_switching
from tests.refusals import refused

MAGIC = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


@pytest.mark.parametrize("suffix", MAGIC)
def test_the_suffix_chooses_the_format(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"rates{suffix}"

    plot_rates(plan_of(10, 10, paradigms={"merged": MERGED}), file)

    assert file.read_bytes().startswith(MAGIC[suffix])
    assert list(tmp_path.iterdir()) == [file]


def test_equal_plans_give_equal_files(tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.svg" for name in "ab"]  # SVG has a date and random ids unless told not to

    for file in files:
        plot_rates(plan_of(10, paradigms={"merged": MERGED}), file)

    assert files[0].read_bytes() == files[1].read_bytes()


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with refused(ConfigError):
        plot_rates(plan_of(10), tmp_path / "rates.txt")


def test_a_branch_is_drawn_from_its_fork_to_its_last_update() -> None:
    tree = plan_of(10).part("path_switching")

    positions, rates = rate_curve(tree, tree.paths[1])

    assert positions.tolist() == [4, 5, 6, 7, 8, 9, 10]
    assert rates.tolist() == pytest.approx([1.0, 0.85, 0.7, 0.55, 0.4, 0.25, 0.1])


def test_a_long_stair_is_drawn_with_both_sides_of_each_step() -> None:
    stair = Decay(shape=Shape.STAIR, floor=0.1, shares=(0.8, 0.1, 0.1))
    switching = build_switching(peak=1.0, warmup=2, decay=stair, alpha=0.5)
    tree = plan_of(20_000, paradigms={"path_switching": switching}).part("path_switching")

    positions, rates = rate_curve(tree, tree.paths[1])

    steps = positions[1:][np.diff(rates) < 0]
    assert steps.tolist() == [18_001, 19_001]
    assert np.diff(positions)[np.diff(rates) < 0].tolist() == [1, 1]


def test_every_paradigm_of_a_plan_has_its_own_colour() -> None:
    panels = panels_of(plan_of(10, paradigms=THREE | {"merged": MERGED}))

    assert len({panel.colour for panel in panels}) == 4


def test_names_touch_neither_each_other_nor_the_name_of_their_panel() -> None:
    plan = plan_of(100, 6, 6, paradigms={"merged": build_merged(peak=1.0, warmup=2, states=2, spacing=1)})
    panel = replace(panels_of(plan)[0], label=f"merged ({'a long list of settings, ' * 4})")
    figure, (axes,) = stack([panel])
    draw_tree(axes, panel, {path.id: rate_curve(panel.tree, path) for path in panel.tree.paths})
    axes.set_ylim(0, 1.2)  # the names of the versions stand where the panel's does

    part_names(figure, [axes])

    boxes = [text.get_window_extent() for text in axes.texts]
    assert [text.get_text() for text in axes.texts[1:]] == ["v3", "v2", "v1"]
    assert not [(one, two) for one, two in combinations(boxes, 2) if one.overlaps(two)]
    assert boxes[0].x0 >= axes.get_window_extent().x0
    assert boxes[1].x0 > boxes[2].x0


def test_losses_are_drawn_once_something_ran(tmp_path: Path) -> None:
    study, plan = Study(tmp_path / "toy"), plan_of(10, 10)
    keep(study, plan)

    assert not plot_losses([study], panels_of(plan), tmp_path / "losses.png")
    run_all(study, plan)
    assert plot_losses([study], panels_of(plan), tmp_path / "losses.png")


def test_of_a_path_that_two_studies_have_a_panel_draws_the_losses_of_its_own_study(tmp_path: Path) -> None:
    # Two studies may go on with other text under one id, so the curves are two.
    plan = plan_of(10, paradigms={"merged": MERGED})
    studies = [Study(tmp_path / name) for name in ("one", "other")]
    for study, exponent in zip(studies, (1, 2), strict=True):
        rows = [MetricsRow(n, 5.0 - (n / 10) ** exponent, 0.1, 1.0, 8 * n) for n in range(1, 11)]
        study.open(plan.tree.paths[0]).metrics.append(rows)

    files = [tmp_path / f"{study.name}.png" for study in studies]
    for study, file in zip(studies, files, strict=True):
        assert plot_losses(studies, [replace(panel, study=study) for panel in panels_of(plan)], file)

    assert files[0].read_bytes() != files[1].read_bytes()


def test_quality_without_results_is_not_drawn(tmp_path: Path) -> None:
    study = Study(tmp_path / "toy")
    keep(study, plan_of(10, 10))
    (group,) = StudyComparison.read(study).groups

    assert not plot_quality_against_cost(group, tmp_path / "quality.png", fronts=())
