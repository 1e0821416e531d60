"""Promises 1 and 2: an update is a function of configuration, path and position; a branch can repeat its parent."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch

from lrpath.planning.paths import Path as LearningPath
from lrpath.planning.paths import Release, StateKey, Tree
from lrpath.planning.schedule import Schedule, constant
from lrpath.records.rows import MetricsRow
from lrpath.training.plan_runner import PlanRunner
from tests.integration.lab import Lab, disturb, states_of, tables_of

pytestmark = pytest.mark.slow


@pytest.fixture
def gpt2(tmp_path: Path) -> str:
    """Return the override for a model with dropout, whose updates need random numbers."""
    file = tmp_path / "config.json"
    sizes = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 16, "vocab_size": 300}
    dropout = {"resid_pdrop": 0.1, "embd_pdrop": 0.1, "attn_pdrop": 0.1}
    file.write_text(json.dumps({"model_type": "gpt2", **sizes, **dropout}))
    return f"model.file={file}"


class Disturbing(lightning.Callback):
    """Puts the global generators somewhere else after every micro-batch."""

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        disturb(torch.randint(2**31, ()).item())


def with_disturbance(runner: PlanRunner) -> PlanRunner:
    """Return a plan runner beside whose updates other code draws random numbers."""
    return replace(runner, path_trainer=replace(runner.path_trainer, extra_callbacks=(Disturbing(),)))


def only(runner: PlanRunner, *needed: StateKey, paths: tuple[LearningPath, ...]) -> PlanRunner:
    """Return the plan runner of a hand-made tree that needs some states."""
    releases = tuple(Release(paradigm="by_hand", version="v2", parts=((key, 1.0),)) for key in needed)
    return replace(runner, tree=Tree(paths=paths, releases=releases))


@pytest.mark.parametrize("dropout", [False, True])
def test_fresh_studies_are_equal_to_the_last_bit_whatever_else_draws_random_numbers(
    lab: Lab, gpt2: str, dropout: bool
) -> None:
    model = ("model=hf_file", gpt2) if dropout else ()
    disturb(1)
    lab.run("study=one", *model)
    disturb(2)
    with_disturbance(lab.runner("study=two", *model)).run()

    assert states_of(lab.study("one")) == states_of(lab.study("two"))
    assert tables_of(lab.study("one")) == tables_of(lab.study("two"))


def test_dropout_draws_other_numbers_at_every_update(lab: Lab, gpt2: str) -> None:
    """Otherwise the tests with dropout would prove nothing."""
    paths = lab.project("model=hf_file", gpt2).plan.tree.paths
    runner = lab.runner("model=hf_file", gpt2)
    module = runner.path_trainer.factory.model(paths[0].recipe)
    ids = torch.arange(17)[None]

    losses = set()
    for seed in range(3):
        torch.manual_seed(seed)
        losses.add(module(ids).item())

    assert len(losses) == 3


def test_a_straight_run_equals_a_run_in_pieces(lab: Lab, gpt2: str) -> None:
    main = lab.project("model=hf_file", gpt2).plan.tree.paths[0]
    end = StateKey(main.id, 14)
    straight = only(lab.runner("study=straight", "model=hf_file", gpt2), end, paths=(main,))
    pieces = lab.runner("study=pieces", "model=hf_file", gpt2)
    keys = [StateKey(main.id, position) for position in (1, 2, 5, 13)]

    assert straight.run() == 14
    assert [only(pieces, key, paths=(main,)).run() for key in (*keys, end)] == [1, 1, 3, 8, 1]

    assert states_of(lab.study("straight"))[main.id, 14] == states_of(lab.study("pieces"))[main.id, 14]
    assert rows_of(lab, "straight", main) == rows_of(lab, "pieces", main)


@pytest.mark.parametrize("fork", [1, 7, 13])
def test_a_branch_with_its_parents_schedule_and_stream_is_its_parent(lab: Lab, gpt2: str, fork: int) -> None:
    runner = lab.runner("model=hf_file", gpt2)
    main = runner.tree.paths[0]
    branch = LearningPath(
        name="null",
        recipe=main.recipe,
        schedule=Schedule(start=fork, pieces=(constant(main.schedule.rate(10)),)),
        stream=main.stream,
        parent=StateKey(main.id, fork),
    )
    assert [branch.schedule.rate(k) for k in range(fork, 20)] == [main.schedule.rate(k) for k in range(fork, 20)]

    only(runner, StateKey(main.id, 20), StateKey(branch.id, 20), paths=(main, branch)).run()

    states = states_of(lab.study())
    assert branch.id != main.id
    assert {name.split(".")[0] for name in states[branch.id, 20]} == {"model", "exp_avg", "exp_avg_sq", "step"}
    assert states[branch.id, 20] == states[main.id, 20]
    assert rows_of(lab, "study", branch) == rows_of(lab, "study", main)[fork:]


def rows_of(lab: Lab, study: str, path: LearningPath) -> list[MetricsRow]:
    folder = lab.study(study).find(path.id)
    assert folder is not None
    return folder.metrics.rows()


def test_two_micro_batches_of_two_make_the_update_of_one_batch_of_four(lab: Lab) -> None:
    lab.run("study=whole", "strategy.micro_batch=4")
    lab.run("study=halves", "strategy.micro_batch=2")
    main = lab.project().plan.tree.paths[0]

    whole, halves = rows_of(lab, "whole", main), rows_of(lab, "halves", main)

    assert readings(lab, "whole") == readings(lab, "halves")
    assert [row.lr for row in whole] == [row.lr for row in halves]
    # The same sums in another order: float32 keeps 1.2e-7, and Adam divides by small second moments at first.
    losses = [row.loss for row in whole]
    assert [row.loss for row in halves] == pytest.approx(losses, rel=1e-4)
    assert [row.loss for row in whole] != [row.loss for row in halves]  # or micro_batch was not heard


def readings(lab: Lab, study: str) -> list[dict[str, Any]]:
    manifests = sorted((lab.study(study).folder / "paths").glob("*/states/*/state.json"))
    return [json.loads(file.read_text())["read"] for file in manifests]


def test_bf16_computes_in_bf16_and_keeps_fp32_weights_and_moments(lab: Lab) -> None:
    lab.run("study=fp32")
    lab.run("study=bf16", "precision=bf16")
    fp32, bf16 = (lab.project(f"precision={name}").plan.tree.paths[0] for name in ("fp32", "bf16"))

    exact, rough = rows_of(lab, "fp32", fp32), rows_of(lab, "bf16", bf16)

    assert exact[0].loss != rough[0].loss
    # bf16 keeps 8 bits, 0.4 %, of each factor; the loss is a mean of many
    assert rough[0].loss == pytest.approx(exact[0].loss, rel=2e-3)
    assert sizes_of(lab, "bf16") == sizes_of(lab, "fp32")


def sizes_of(lab: Lab, study: str) -> list[dict[str, int]]:
    states = states_of(lab.study(study)).values()
    return [{name: len(bits) for name, bits in state.items()} for state in states]
