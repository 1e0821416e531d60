"""A study whose text is mixed from domains and whose attention ends with a document: plan, ledger, ranks, release."""

import json
import random
from collections import Counter
from pathlib import Path

import pytest
import torch

from lrpath.analysis.comparison import StudyComparison
from lrpath.errors import ConfigError, DataError
from lrpath.planning.readings import domain_tokens
from lrpath.reporting.domain_table import executed_domain_table
from lrpath.training.checkpoints.releases import load_release
from tests.integration.lab import WORDS, Job, Lab, states_of, tables_of
from tests.integration.test_ranks import DDP, FSDP, PAIR, ROUNDING, check_samples, largest_difference
from tests.refusals import refused

MIXED = ("data.mixture={web: 3, code: 1}", "data.mask=document")


@pytest.fixture(scope="module")
def mixed_texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two versions of 60 documents of `web` and 30 of `code`, one after another in no order."""
    folder = tmp_path_factory.mktemp("mixed") / "texts"
    folder.mkdir()
    for number in (1, 2):
        words = random.Random(number)
        records = [
            {"text": " ".join(words.choices(WORDS, k=30)) + f" {number}.{n}", "domain": "code" if n % 3 else "web"}
            for n in range(90)
        ]
        (folder / f"V{number}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


@pytest.fixture
def mixing(lab: Lab, mixed_texts: Path) -> Lab:
    return Lab(folder=lab.folder, texts=mixed_texts, stores=mixed_texts.parent / "stores")


def test_a_mixture_and_a_mask_are_other_paths_and_their_absence_is_the_old_one(mixing: Lab) -> None:
    plain, explicit, mask, mixture = (
        {path.id for path in mixing.project(*changes).plan.tree.paths}
        for changes in ((), ("data.mixture=null", "data.mask=none"), MIXED[1:], MIXED[:1])
    )

    assert plain == explicit
    assert not plain & mask
    assert not plain & mixture
    assert not mask & mixture


@pytest.mark.slow
def test_the_ledger_counts_the_tokens_of_each_domain_that_were_planned(mixing: Lab) -> None:
    changes = ("study=ledger", *MIXED)
    mixing.run(*changes)
    table = executed_domain_table(StudyComparison.read(mixing.study("ledger")))
    assert table is not None

    assert [row[2] for row in table.rows] == [row[3] for row in table.rows]
    assert [row[1] for row in table.rows] == ["code", "web"]
    assert sum(row[2] for row in table.rows) == 26 * 4 * 16
    project = mixing.project(*changes)
    batches = {path.id: project.batches(path, store=project.prepare()) for path in project.plan.tree.paths}
    for path in project.plan.tree.paths:
        end = project.plan.tree.end(path.id)
        parts = Counter(
            part.partition("/")[2]
            for update in range(path.start, end)
            for part in batches[path.id].order.windows_of(update)[0].tolist()
        )
        assert {name: count * 16 for name, count in parts.items()} == domain_tokens(path, path.start, end)


def test_the_plan_says_how_often_each_domain_is_read(mixing: Lab) -> None:
    project = mixing.project(*MIXED)
    project.prepare()
    facts = project.increment_facts()[0]

    assert facts.mixed == {"web": 480, "code": 160}
    assert facts.epochs == {name: tokens / facts.domains[name] for name, tokens in facts.mixed.items()}
    assert "epochs" in facts.line()


def test_all_of_a_version_ends_where_its_first_domain_does(mixing: Lab) -> None:
    project = mixing.project(*MIXED, "increment=all")
    project.prepare()

    for increment, facts in zip(project.increments, project.increment_facts(), strict=True):
        held = {name: (tokens - 1) // 16 for name, tokens in facts.domains.items()}
        assert increment.updates == min(held["web"] * 4 // 3, held["code"] * 4) // 4


def test_domains_that_the_text_has_not_or_that_the_mixture_forgets_are_refused(mixing: Lab) -> None:
    for mixture, field in (("{web: 1}", "code"), ("{web: 1, code: 1, law: 1}", "law")):
        with refused(DataError, field=f"data.mixture.{field}"):
            mixing.project(f"data.mixture={mixture}").prepare()
    with refused(ConfigError, field="data.mixture"):
        _ = mixing.project("data.mixture=[{web: 1}]").plan
    with refused(DataError, field="data.mixture", value="web"):
        mixing.project("data.mixture={web: 1, code: 0}", "increment=100 updates").prepare()


@pytest.mark.slow
def test_a_release_is_judged_with_the_mask_that_it_was_trained_with(mixing: Lab) -> None:
    project = mixing.project("study=judged", *MIXED)
    mixing.run("study=judged", *MIXED)
    study = mixing.study("judged")
    release = project.plan.release("path_switching", "v2")
    model = load_release(study, release).eval()
    store = project.prepare()
    assert model.document_end == store.end_id

    folder = study.find(release.last.path_id)
    assert folder is not None
    row = next(row for row in folder.evaluations() if row.position == release.last.position)
    windows = torch.from_numpy(mixing.runner("study=judged", *MIXED).path_trainer.held_out[row.held_out])
    masked = model.nll(windows).sum().item()
    model.document_end = None
    unmasked = model.nll(windows).sum().item()
    assert masked == pytest.approx(row.nll, rel=1e-6)
    assert abs(unmasked - row.nll) > 1e-3


@pytest.mark.slow
def test_other_ranks_and_micro_batches_read_the_same_and_make_the_same(mixing: Lab) -> None:
    one = ("versions=1", *MIXED)
    mixing.run("study=pair", *one, *PAIR)
    mixing.run("study=whole", *one)

    ended = mixing.ranked(
        Job(("study=ddp", DDP, *one, *PAIR)),
        Job(("study=pieces", DDP, *one, "strategy.micro_batch=1")),
        Job(("study=shards", FSDP, *one)),
        ranks=2,
    )

    assert ended.code == 0, ended.err
    assert states_of(mixing.study("ddp")) == states_of(mixing.study("pair"))
    assert tables_of(mixing.study("ddp")) == tables_of(mixing.study("pair"))
    for study in ("pieces", "shards"):
        assert largest_difference(mixing.study(study), mixing.study("whole")) < ROUNDING
    check_samples(mixing, "ddp", *one, *PAIR, ranks=2)
    check_samples(mixing, "pieces", *one, ranks=2)


def test_ids_without_named_domains_cannot_be_mixed(mixing: Lab) -> None:
    ids = ("data=tokens", "data.source.files=[a.bin,b.bin]", "data.tokenizer=null", "data.source.vocab_size=300")

    with refused(ConfigError, field="data.source.files"):
        _ = mixing.project(*ids, "model.vocab_size=300", "data.mixture={web: 1}").plan
