import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lrpath.analysis.comparison import StudyComparison
from lrpath.analysis.document_intervals import DocumentLosses
from lrpath.errors import StateError
from lrpath.planning.plan import Plan
from lrpath.records.document_losses import DocumentLoss, read_document_losses, write_document_losses
from lrpath.records.held_out import HeldOutSet
from lrpath.records.study import Study
from lrpath.reporting.document_table import document_tables
from tests.analysis.studies import CONTINUAL, SCRATCH, evaluate_evenly, keep, plan_of
from tests.refusals import refused

BOTH = {"from_scratch": SCRATCH, "continual": CONTINUAL}


def losses_of(values: list[list[float]], *, seeds: int | None = None) -> DocumentLosses:
    """Return losses of documents of one token each, a row a seed."""
    count = len(values[0])
    return DocumentLosses(
        documents=tuple(("v1", "all", number) for number in range(count)),
        seeds=tuple((seed, seed) for seed in range(seeds or len(values))),
        nll_SD=np.array(values, dtype=np.float64),
        tokens_D=np.ones(count),
    )


def test_with_one_seed_the_interval_is_that_of_the_mean_over_documents() -> None:
    values = np.random.default_rng(1).normal(3.0, 0.5, size=400)

    found = losses_of([values.tolist()]).interval()

    half = 1.96 * values.std(ddof=1) / math.sqrt(len(values))
    assert found.mean == pytest.approx(values.mean())
    assert (found.documents, found.seeds) == (400, 1)
    # the bootstrap's ends vary by some 4 % of the width; 10 % is never passed with its fixed draws
    assert found.high - found.low == pytest.approx(2 * half, rel=0.1)


def test_seeds_widen_the_interval_of_documents() -> None:
    values = np.random.default_rng(1).normal(3.0, 0.1, size=400)

    alone = losses_of([values.tolist()]).interval()
    apart = losses_of([(values + shift).tolist() for shift in (-0.2, 0.0, 0.2)]).interval()

    assert apart.high - apart.low > 5 * (alone.high - alone.low)


def test_a_paired_gap_knows_nothing_of_what_documents_have_in_common() -> None:
    hard = np.random.default_rng(1).normal(3.0, 1.0, size=100)

    gap = losses_of([hard.tolist()]).gap(losses_of([(hard + 0.1).tolist()]))

    assert gap is not None
    assert (gap.low, gap.mean, gap.high) == pytest.approx((-0.1, -0.1, -0.1))


def test_documents_of_many_tokens_weigh_more() -> None:
    one = losses_of([[10.0, 90.0]])
    weighted = DocumentLosses(
        documents=one.documents, seeds=one.seeds, nll_SD=one.nll_SD, tokens_D=np.array([10.0, 30.0])
    )

    assert weighted.interval().mean == 100.0 / 40.0


def test_sets_of_one_document_each_are_not_certain() -> None:
    documents = tuple((f"v{n}", "web", 0) for n in range(8))
    nll = np.array([[10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0]])
    apart = DocumentLosses(documents=documents, seeds=((1, 1),), nll_SD=nll, tokens_D=np.full(8, 10.0))
    together = replace(apart, documents=tuple(("v0", "web", n) for n in range(8)))

    assert apart.interval() == together.interval()
    assert apart.interval().low != apart.interval().high


def test_one_document_has_no_interval() -> None:
    alone = DocumentLosses(
        documents=(("v1", "web", 0),), seeds=((1, 1), (2, 2)), nll_SD=np.array([[3.0], [5.0]]), tokens_D=np.ones(1)
    )

    assert (alone.interval().mean, alone.interval().low, alone.interval().high) == (4.0, None, None)


def test_the_same_report_has_the_same_intervals() -> None:
    values = np.random.default_rng(1).normal(3.0, 0.5, size=(2, 50)).tolist()

    assert losses_of(values).interval() == losses_of(values).interval()


def write_losses(study: Study, plan: Plan, *, shift: float) -> None:
    for number, release in enumerate(plan.tree.releases):
        folder = study.open(plan.tree.path(release.last.path_id))
        rows = [
            DocumentLoss(
                split=split,
                version=version,
                domain="all",
                document=document,
                nll=10 * (3.0 + shift + 0.1 * number + 0.01 * document),
                tokens=10,
            )
            for split in ("valid", "test")
            for version in plan.versions
            for document in range(20)
        ]
        write_document_losses(folder.document_losses(release.last.position), rows)


def test_test_losses_stand_in_the_report_with_intervals_over_documents_and_seeds(tmp_path: Path) -> None:
    study = Study(tmp_path / "toy")
    for seed in (1, 2):
        plan = plan_of(10, 10, seed=seed, paradigms=BOTH)
        keep(study, plan)
        evaluate_evenly(study, plan, {"from_scratch": [3.0, 2.0], "continual": [3.0, 2.5]})
        write_losses(study, plan, shift=0.1 * seed)

    (table,) = document_tables(StudyComparison.read(study))

    (row,) = (row for row in table.records() if (row["version"], row["paradigm"]) == ("v2", "continual"))
    assert (row["seeds"], row["documents"]) == (2, 40)
    assert row["test_loss_low_95"] < row["test_loss_nats_per_token"] < row["test_loss_high_95"]
    assert row["test_gap_nats_per_token"] == pytest.approx(0.2)  # its release is the fourth, from scratch the second


def test_a_study_without_losses_by_document_has_no_such_table(tmp_path: Path) -> None:
    study, plan = Study(tmp_path / "toy"), plan_of(10, 10)
    keep(study, plan)
    evaluate_evenly(study, plan, {kind: [3.0, 2.0] for kind in plan.paradigms})

    assert document_tables(StudyComparison.read(study)) == []


def test_a_number_of_140_000_digits_is_refused_whatever_a_csv_reader_allows(tmp_path: Path) -> None:
    file = tmp_path / "000000010.csv"
    file.write_text(f"split,version,domain,document,nll,tokens\ntest,v1,all,0,{'3' * 140_000},10\n")

    with refused(StateError, stable=False):
        read_document_losses(file)


def test_losses_on_other_test_sets_stand_in_tables_of_their_own(tmp_path: Path) -> None:
    studies = []
    for name, paradigms in (("one", {"from_scratch": SCRATCH}), ("other", {"continual": CONTINUAL})):
        study = Study(tmp_path / name)
        plan = plan_of(10, 10, paradigms=paradigms, texts={"v1": "a", "v2": "b"})
        plan = replace(plan, increments=tuple(replace(one, held_out=f"{name} test") for one in plan.increments))
        keep(study, plan)
        evaluate_evenly(study, plan, {next(iter(paradigms)): [3.0, 2.0]})
        write_losses(study, plan, shift=0.0)
        sets = {
            (version, "all"): HeldOutSet(sha256=version * 32, tokens=100, text_bytes=None, documents=None)
            for version in plan.versions
        }
        study.held_out.add([path.id for path in plan.tree.paths], sets)
        studies.append(study)
    comparison = StudyComparison.read(*studies)

    tables = document_tables(comparison)

    assert len(comparison.groups) == 1  # the same sets to choose on
    assert [{row["paradigm"] for row in table.records()} for table in tables] == [{"from_scratch"}, {"continual"}]
    assert not any(one.gap for one in comparison.summaries)
