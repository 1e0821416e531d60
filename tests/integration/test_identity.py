"""Promise 5: schedule, decay and batch come from the plan; what would change the numbers is another path or refused."""

import hashlib
import json
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch

from lrpath.assembly.reuse import check_extends
from lrpath.errors import DataError, MismatchError, StoppedError, TrainingError
from lrpath.records.ledger import RunningCount
from lrpath.records.manifest import seal_manifest
from tests.integration.lab import Lab, states_of
from tests.refusals import refused


def release_ids(lab: Lab, *changes: str) -> list[str]:
    """Return the ids of the paths of releases v1 and v2 of path switching."""
    project = lab.project(*changes)
    project.prepare()
    releases = project.plan.tree.releases
    return [release.last.path_id for release in releases[:2]]


@pytest.fixture(scope="module")
def unchanged(corpus: Path) -> list[str]:
    """Return the ids of the small study as it is, which do not depend on where it is."""
    return release_ids(Lab(folder=corpus, texts=corpus / "texts", stores=corpus / "stores"))


@pytest.mark.parametrize(
    "changes",
    [
        "peak=2e-2",
        "floor=0.2",
        "schedule@branch=linear",
        "warmup=3 updates",
        "optimizer.weight_decay=0.2",
        "optimizer.beta1=0.8",
        "optimizer.beta2=0.9",
        "optimizer.eps=1e-7",
        "optimizer.clip_norm=0.5",
        "optimizer.clip_norm=null",
        "batch.sequences_per_update=8",
        "batch.tokens_per_sequence=8",
        "seed=2",
        "model.hidden_size=32",
        "model.layers=2",
        "model.tie_embeddings=true",
        "model.init_std=0.03",
        "model.rope_theta=5000",
        "precision=bf16",
        "data.source.heldout.share=0.2",
        "data.source.heldout.seed=1",
        "data.tokenizer.vocab_size=299",
        "increment=11 updates",
        "alpha=0.5",
        "guard.policy=skip",
        "guard.policy=rewind",
    ],
)
def test_what_changes_the_numbers_of_a_release_gives_it_another_path(
    lab: Lab, unchanged: list[str], changes: str
) -> None:
    after = release_ids(lab, changes)

    assert not set(unchanged) & set(after)


@pytest.mark.parametrize(
    "changes",
    [
        "study=another",
        "strategy.threads=2",
        "strategy.micro_batch=2",
        "logger=tensorboard",
        "cadence.log_every=1",
        "cadence.evaluate_every=1",
        "cadence.save_every=1",
        "cadence.held_out_windows=null",
        "description=words",
        "versions=3",
        "versions=5",
        "paradigm=[path_switching,continual]",
        "increment=[10 updates,10 updates]",
        "guard.spike=6",  # a rule that may only stop
        "guard.limit=1",
    ],
)
def test_what_changes_no_number_leaves_the_path_as_it_is(lab: Lab, unchanged: list[str], changes: str) -> None:
    assert release_ids(lab, changes) == unchanged


@pytest.fixture
def own(lab: Lab, tmp_path: Path) -> Lab:
    """Return a laboratory whose texts and stores belong to one test."""
    texts = tmp_path / "texts"
    shutil.copytree(lab.texts, texts)
    return replace(lab, texts=texts, stores=tmp_path / "stores")


def alter(lab: Lab, version: str) -> None:
    """Replace an increment's tokens where they lie, with their digest."""
    folder = lab.project("versions=3").prepare().place(version)
    data = (folder / "train.bin").read_bytes()[::-1][1:] + b"\x00"  # 16-bit ids, in another order and below 256
    data = bytes(byte if place % 2 == 0 else 0 for place, byte in enumerate(data))
    before = hashlib.sha256((folder / "train.bin").read_bytes()).hexdigest()
    (folder / "train.bin").write_bytes(data)
    manifest = (folder / "increment.json").read_text()
    assert before in manifest
    record = json.loads(manifest.replace(before, hashlib.sha256(data).hexdigest()))
    (folder / "increment.json").write_text(json.dumps(seal_manifest(record)))


def let_states_have_read_other_data(lab: Lab) -> None:
    """Write into the manifests of all states that the windows of every increment had another digest."""
    for file in lab.study().folder.glob("paths/*/states/*/state.json"):
        record = json.loads(file.read_text())
        for segment in record["read"]["segments"]:
            for entry in segment["increments"].values():
                entry["digest"] = "0" * 64
        file.write_text(json.dumps(seal_manifest(record)))


@pytest.mark.slow
def test_another_first_text_is_another_path(own: Lab) -> None:
    file = own.texts / "V1.jsonl"
    before = release_ids(own)
    file.write_text("".join(reversed(file.read_text().splitlines(keepends=True))))

    assert not set(release_ids(own)) & set(before)


def kept(lab: Lab, *changes: str) -> None:
    project = lab.project(*changes)
    project.prepare()
    project.keep_plan()


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        "peak=2e-2",
        "alpha=0.4",
        "paradigm=[continual]",
    ],
)
def test_a_plan_that_should_extend_its_study_and_does_not_is_refused(lab: Lab, changes: str) -> None:
    kept(lab)

    check_extends(lab.project("extend=true", "versions=3"))
    check_extends(lab.project("extend=true", "versions=1"))
    check_extends(lab.project("extend=false", "versions=3", changes))
    with refused(MismatchError, field="extend", value=True):
        check_extends(lab.project("extend=true", "versions=3", changes))


@pytest.mark.parametrize(
    "changes",
    [
        ["peak=2e-2"],
        ["seed=2", "versions=3"],
        ["seed=2", "optimizer.eps=1e-7"],
        ["increment=11 updates"],
        ["optimizer.eps=1e-7"],
    ],
    ids=" ".join,
)
def test_a_plan_that_goes_on_from_nothing_of_its_study_is_refused_unless_it_is_asked_for(
    lab: Lab, changes: list[str]
) -> None:
    kept(lab)

    with refused(MismatchError, field="extend", value="auto"):
        check_extends(lab.project(*changes))
    check_extends(lab.project("extend=false", *changes))


@pytest.mark.parametrize(
    "changes", ["alpha=0.4", "versions=3", "versions=1", "floor=0.2", "paradigm=[continual]", "cadence.log_every=1"]
)
def test_a_plan_that_shares_a_path_with_its_study_or_adds_a_paradigm_is_not_refused(lab: Lab, changes: str) -> None:
    kept(lab)

    check_extends(lab.project(changes))


@pytest.mark.parametrize(
    "changes", [["seed=2"], ["seed={weights: 1, order: 2}"], ["seed=2", "versions=1"]], ids=" ".join
)
def test_another_seed_of_what_the_study_has_is_not_refused_unless_old_versions_must_stay(
    lab: Lab, changes: list[str]
) -> None:
    kept(lab)

    check_extends(lab.project(*changes))
    with refused(MismatchError, field="extend", value=True):
        check_extends(lab.project("extend=true", *changes))


def test_a_changed_old_text_is_named_where_a_plan_should_extend_its_study(own: Lab) -> None:
    kept(own)
    with (own.texts / "V1.jsonl").open("a") as file:
        file.write('{"text": "one more"}\n')
    project = own.project("versions=3")

    check_extends(project)  # it may be the same text
    project.prepare()
    with refused(MismatchError, field="extend", value="auto"):
        check_extends(project)


@pytest.mark.slow
def test_a_path_does_not_go_on_over_data_that_was_changed_under_the_same_id(own: Lab) -> None:
    own.run()
    alter(own, "v1")
    before = states_of(own.study())

    with refused(DataError):
        own.run("versions=3")

    assert states_of(own.study()) == before


@pytest.mark.slow
def test_a_branch_does_not_leave_a_state_that_has_read_other_data(own: Lab) -> None:
    own.run()
    shutil.rmtree(next((own.study().folder / "paths").glob("*.v2-*")))
    let_states_have_read_other_data(own)

    with refused(MismatchError):
        own.run()

    assert not list((own.study().folder / "paths").glob("*.v2-*/states/*"))


@pytest.mark.slow
def test_a_path_does_not_go_on_from_a_rolling_state_over_changed_data(
    own: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    reach = RunningCount.reach

    def interrupt(count: RunningCount, position: int) -> None:
        reach(count, position)
        if position == 8:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(RunningCount, "reach", interrupt)
        with refused(StoppedError):
            own.run("paradigm=[from_scratch]", "versions=1")
    assert [position for _, position in states_of(own.study())] == [6, 9]
    let_states_have_read_other_data(own)

    with refused(MismatchError):
        own.run("paradigm=[from_scratch]", "versions=1")


@pytest.mark.slow
def test_an_increment_that_was_not_read_yet_may_change(own: Lab) -> None:
    own.run()
    own.runner("versions=3")
    file = own.texts / "V3.jsonl"
    file.write_text("".join(reversed(file.read_text().splitlines(keepends=True))))

    assert own.run("versions=3") == 10 + 6


@pytest.mark.slow
def test_every_update_runs_at_the_plans_rate(lab: Lab) -> None:
    lab.run("paradigm=[path_switching,continual,from_scratch,wsd_s]")
    study = lab.study()
    paths = lab.project("paradigm=[path_switching,continual,from_scratch,wsd_s]").plan.tree.paths

    for path in paths:
        folder = study.find(path.id)
        assert folder is not None
        rates = [row.lr for row in folder.metrics.rows()]
        assert rates == [path.schedule.rate(path.start + number) for number in range(len(rates))]
        assert len(rates) >= 6


class Rogue(lightning.Callback):
    """Changes the rate of one update after lrpath has set it."""

    def __init__(self, update: int) -> None:
        self.update = update

    def on_before_optimizer_step(self, trainer: Any, _module: Any, optimizer: torch.optim.Optimizer) -> None:
        if trainer.global_step == self.update:
            for group in optimizer.param_groups:
                group["lr"] *= 2


@pytest.mark.slow
@pytest.mark.parametrize("update", [0, 2])
def test_an_update_at_another_rate_is_caught_before_any_state_is_saved(lab: Lab, update: int) -> None:
    runner = lab.runner("cadence.save_every=1000")

    with refused(TrainingError):
        replace(runner, path_trainer=replace(runner.path_trainer, extra_callbacks=(Rogue(update),))).run()

    assert states_of(lab.study()) == {}
