"""A batch that grows on a path: killed anywhere, forked before and behind, on ranks, by a command, decided later."""

import io
import sys
from pathlib import Path

import pytest
from rich.console import Console

from lrpath import entry, verify
from lrpath.analysis.execution import executed
from lrpath.analysis.verify.study import verify_study
from lrpath.assembly.command_factory import build_command_trainer
from lrpath.assembly.description import describe
from lrpath.assembly.reuse import check_extends, read_reuse
from lrpath.assembly.runner import build_runner
from lrpath.assembly.update_text import windows_of_update
from lrpath.errors import ConfigError, LawError, MismatchError
from lrpath.laws.path_curves import paths_of, read_path
from lrpath.lightning import PathRun
from lrpath.records.ledger import Run
from lrpath.records.study import Study
from lrpath.reporting.report import write_report
from lrpath.training.lit_module import LitCausalLM
from tests.integration.lab import Job, Lab, losses_of, states_of, tables_of
from tests.integration.planting import plant
from tests.integration.test_guard import REWIND, SKIP, along, faults_of, main_of
from tests.integration.test_ranks import PAIR, check_samples, largest_difference
from tests.refusals import refused

pytestmark = pytest.mark.slow

GROWTH = "batch.growth=[{position: 8, sequences_per_update: 8},{position: 17, sequences_per_update: 16}]"
"""4 sequences of 16 tokens at first. Main forks at 4 and 14: v1's branch crosses 8, and v2's 17."""
ACCUMULATING = "strategy.micro_batch=4"
ROUNDING = 2e-5
"""As in test_ranks.py."""


def findings(study: Study) -> list[str]:
    return [finding.text for check in verify_study(study, digests=True) for finding in check.findings]


def page_of(*studies: Study) -> str:
    """Return the page of a report on studies."""
    files = write_report(*studies, folder=studies[0].folder.parent / "page").files
    return next(file for file in files if file.name == "index.html").read_text()


@pytest.fixture(scope="module")
def grown(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Return a laboratory in which the small study was run with a batch that grows, and without disturbance."""
    grown = Lab(folder=tmp_path_factory.mktemp("grown"), texts=corpus / "texts", stores=corpus / "stores")
    assert grown.run(GROWTH, ACCUMULATING) == 26
    return grown


def test_every_row_and_every_run_counts_the_tokens_of_its_positions(grown: Lab) -> None:
    study, plan = grown.study(), grown.project(GROWTH, ACCUMULATING).plan

    for path in plan.tree.paths:
        folder = study.find(path.id)
        assert folder is not None
        rows = folder.metrics.rows()
        assert [row.position for row in rows] == [*range(path.start + 1, plan.tree.end(path.id) + 1)]
        assert [row.tokens for row in rows] == [path.recipe.tokens_before(row.position) for row in rows]
    ran = executed([plan], study.ledger.runs())
    assert ran.is_as_planned, ran.sentence()
    # main to 14: 8 · 4 + 6 · 8 windows; v1 from 4 to 10: 4 · 4 + 2 · 8; v2 from 14 to 20: 3 · 8 + 3 · 16
    assert ran.tokens == (80 + 32 + 72) * 16
    assert findings(study) == []


def test_a_plan_and_a_report_say_how_the_batch_grows_and_what_it_costs(grown: Lab) -> None:
    text = describe(grown.project(GROWTH, ACCUMULATING))

    assert "batch       4 sequences × 16 tokens = 64 tokens an update; 8 sequences = 128 tokens from position 8" in text
    assert "1.00 means" in text
    assert "[tokens]" in text
    assert '"tokens_from_scratch": 3200' in describe(grown.project(GROWTH, ACCUMULATING, "format=json"))
    assert "16 sequences = 256 tokens from position 17" in page_of(grown.study())


@pytest.mark.parametrize(
    "moments",
    [
        pytest.param(("reach:9", "rename:3", "manifest:4", "end"), id="at states"),
        pytest.param(("row:5", "half:4", "ledger:2", "ledger:3", "end"), id="at rows, accumulating"),
        pytest.param(("poll:6", "poll:13", "poll:20", "end"), id="from outside"),
    ],
)
def test_a_run_that_was_killed_before_and_behind_a_growth_equals_one_that_was_not(
    grown: Lab, lab: Lab, moments: tuple[str, ...]
) -> None:
    ended = lab.train(GROWTH, ACCUMULATING, moments=moments)

    assert ended.codes == [-9] * (len(moments) - 1) + [0], ended.err
    assert states_of(lab.study()) == states_of(grown.study())
    assert tables_of(lab.study()) == tables_of(grown.study())
    assert findings(lab.study()) == []


def test_forks_across_a_growth_give_equal_bits_when_they_are_run_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = (GROWTH, ACCUMULATING, "cadence.save_every=100", "versions=3", "paradigm=[path_switching,continual]")
    lab.run(*names)
    monkeypatch.setattr(sys, "argv", ["lrpath.verify", *lab.overrides(*names), "null_fork=10"])
    code = 0

    try:
        entry.run(verify.verify, config_name="verify")
    except SystemExit as end:
        code = int(end.code or 0)

    text = capsys.readouterr().out
    assert code == 0, text
    assert "path_switching.main from 4: 10 updates and the state at 10 and the state at 14 are equal" in text
    assert "path_switching.main from 14: 10 updates" in text


def test_two_ranks_make_what_one_process_makes(lab: Lab) -> None:
    pair = (*PAIR, "batch.growth=[{position: 8, sequences_per_update: 4}]")
    lab.run("study=alone", *pair)

    ended = lab.ranked(Job(("study=ddp", "strategy=ddp", *pair)), ranks=2)

    assert lab.codes_of(2) == [(0, 0)], ended.err
    ours, theirs = lab.study("ddp"), lab.study("alone")
    ours_by, theirs_by = losses_of(ours), losses_of(theirs)
    before = [key for key in ours_by if key[1] <= 8]
    assert {key: ours_by[key] for key in before} == {key: theirs_by[key] for key in before}
    # Behind it a rank adds two micro-batches before the ranks add theirs: another order of the same sum.
    assert largest_difference(ours, theirs) < ROUNDING
    check_samples(lab, "ddp", *pair, ranks=2)
    assert findings(ours) == []


def test_a_rewind_goes_back_across_a_growth(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LitCausalLM, "training_step", LitCausalLM.training_step)  # what is planted goes with the test
    plant("main:8=100")
    lab.run("study=rewound", GROWTH, *REWIND)
    plant("main:6=nan main:7=nan")
    lab.run("study=skipped", GROWTH, *SKIP)

    assert faults_of(main_of(lab, "study=rewound", GROWTH, *REWIND)) == [(9, 7, "rewind", "loss")]
    assert along(lab.study("rewound")) == along(lab.study("skipped"))
    assert findings(lab.study("rewound")) == []


def test_what_does_not_divide_a_later_batch_is_refused_before_anything_runs(lab: Lab) -> None:
    with refused(ConfigError, field="strategy.micro_batch", value=4):
        lab.project("batch.growth=[{position: 8, sequences_per_update: 10}]", ACCUMULATING)


@pytest.mark.parametrize(
    ("growth", "field"),
    [
        ("[{position: 0, sequences_per_update: 8}]", "batch.growth[0].position"),
        ("[{position: 8, sequences_per_update: 2}]", "batch.growth[0].sequences_per_update"),
        (
            "[{position: 8, sequences_per_update: 8},{position: 8, sequences_per_update: 16}]",
            "batch.growth[1].position",
        ),
        ("[{position: 10 percent, sequences_per_update: 8}]", "batch.growth[0].position"),
        ("[{position: 8}]", "batch.growth[0].sequences_per_update"),
        ("[8]", "batch.growth[0]"),
        ("8", "batch.growth"),
    ],
)
def test_a_growth_that_is_none_is_refused_by_its_field(lab: Lab, growth: str, field: str) -> None:
    with refused(ConfigError, field=field):
        lab.project(f"batch.growth={growth}")


def test_a_position_may_be_given_in_tokens(lab: Lab) -> None:
    growth = "[{position: 512 tokens, sequences_per_update: 8},{position: 1_664 tokens, sequences_per_update: 16}]"

    assert lab.project(f"batch.growth={growth}").recipe.growth == ((8, 8), (17, 16))


def test_an_increment_in_tokens_has_fewer_updates_where_the_batch_has_grown(lab: Lab) -> None:
    project = lab.project(GROWTH, "increment=[640 tokens,1_280 tokens,all]", "versions=3")
    project.prepare()

    v1, v2, v3 = project.increments
    batch, length = project.recipe.batch, 16
    assert (v1.updates, v1.windows) == (9, 40)
    assert (v2.updates, v2.windows) == (9, 8 * 8 + 16)
    held = project.prepare().windows("v3", length)
    assert v3.windows == batch.between(18, 18 + v3.updates)
    assert v3.windows <= held < v3.windows + 16


def test_a_length_of_no_certain_position_is_not_given_in_tokens(lab: Lab) -> None:
    with refused(ConfigError, field="paradigms.rewarm.rewarm", value="128 tokens"):
        _ = lab.project(GROWTH, "paradigm=[rewarm]", "paradigms.rewarm.rewarm=128 tokens").plan


def runs_of(study: Study, name: str) -> list[Run]:
    return [run for run in study.ledger.runs() if run.name.endswith(name)]


def test_a_batch_that_grows_from_the_next_version_on_keeps_the_main_path(lab: Lab) -> None:
    lab.run()
    states, tables = states_of(lab.study()), tables_of(lab.study())
    later = ("versions=3", "batch.growth=[{position: 20, sequences_per_update: 8}]", "extend=true")

    check_extends(lab.project(*later))
    assert "reuses 26 of 42 updates of study study; v3 costs 16" in read_reuse(lab.project(*later)).text()
    assert lab.run(*later) == 10 + 6

    after = states_of(lab.study())
    assert {key: after[key] for key in states if key in after and key[1] in (10, 20)} == {
        key: states[key] for key in states if key[1] in (10, 20)
    }
    assert all(tables_of(lab.study())[name].startswith(rows[:-1]) for name, rows in tables.items() if "metrics" in name)
    assert [(run.begin, run.end, run.tokens) for run in runs_of(lab.study(), "main")][2:] == [
        (14, 20, 6 * 64),
        (20, 24, 4 * 128),
    ]
    assert findings(lab.study()) == []
    assert lab.run() == 0  # the plan of before is whole
    assert "v3" in page_of(lab.study())


def test_a_batch_that_grows_where_the_study_has_been_leaves_the_main_path_or_is_refused(lab: Lab) -> None:
    lab.run()
    passed = "batch.growth=[{position: 12, sequences_per_update: 8}]"
    at_once = "batch.growth=[{position: 2, sequences_per_update: 8}]"

    with refused(MismatchError, field="extend", value=True):
        check_extends(lab.project(passed, "extend=true"))
    with refused(MismatchError, field="extend", value="auto"):
        check_extends(lab.project(at_once))
    check_extends(lab.project(passed))
    assert lab.run(passed) == 4 + 6  # from the end of v1, as with another text of v2

    assert findings(lab.study()) == []
    assert {run.begin for run in runs_of(lab.study(), "main_from_10")} == {10, 12}


def test_the_windows_of_an_update_are_shown_behind_a_growth(grown: Lab) -> None:
    plan = grown.project(GROWTH, ACCUMULATING).plan
    branch = next(path for path in plan.tree.paths if path.name.endswith("v2"))

    found = windows_of_update(grown.study(), branch, 18, stores=grown.stores)

    assert len(found) == 16
    (planned,) = [
        windows
        for (name, update), windows in grown.planned_windows("study=none", GROWTH, ACCUMULATING).items()
        if name == branch.name and update == 17
    ]
    assert planned.shape == (16, 17)


def test_the_laws_refuse_a_path_whose_batch_grows(grown: Lab) -> None:
    study = grown.study()
    named = next(path for path in paths_of(study) if path.name.endswith("main"))

    with refused(LawError, field="batch.growth"):
        read_path(study, tree=named.tree, path_id=named.path.id)


def test_a_module_with_a_loader_of_its_own_has_no_batch_that_grows(grown: Lab, tmp_path: Path) -> None:
    plan = grown.project(GROWTH, ACCUMULATING).plan

    with refused(ConfigError, field="batch.growth"):
        PathRun.open(plan, "path_switching.main", folder=tmp_path)


def test_two_studies_that_go_on_with_other_batches_are_two_series(lab: Lab) -> None:
    names = ("paradigm=[anytime]", "paradigms.anytime.alpha=0", "paradigms.anytime.reads=own")
    lab.run("study=one", *names)
    lab.run("study=other", *names, "batch.growth=[{position: 12, sequences_per_update: 8}]")

    page = page_of(lab.study("one"), lab.study("other"))

    assert "(batch 8 from 12)" in page


TRAINER = Path(__file__).with_name("outside_trainer.py")


def test_a_command_is_given_the_batch_of_its_stretch(lab: Lab) -> None:
    words = f"engine.run='{sys.executable} {TRAINER} {{stretch}}'"
    command = ("engine=command", "engine.name=abacus", words, "cadence.save_every=1000", GROWTH)
    project = lab.project(*command)
    runner = build_runner(project, build_command_trainer(project, project.prepare()), Console(file=io.StringIO()))
    project.keep_plan()

    assert runner.run() == 26

    ran = executed([project.plan], lab.study().ledger.runs())
    assert ran.is_as_planned, ran.sentence()
    assert [(run.begin, run.end) for run in runs_of(lab.study(), "main")] == [(0, 4), (4, 8), (8, 14)]
    assert findings(lab.study()) == []
