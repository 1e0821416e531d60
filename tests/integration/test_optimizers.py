"""Optimizers other than AdamW keep the promises that it keeps: resume, evaluation, release, ranks."""

import io

import pytest
import torch
from rich.console import Console

from lrpath.analysis.release_choice import choose_release
from lrpath.records.document_losses import read_document_losses
from lrpath.training.checkpoints.releases import load_release
from lrpath.training.document_losses import evaluate_documents
from lrpath.training.evaluation import evaluate
from lrpath.training.null_fork import verify_null_forks
from tests.integration.lab import Job, Lab, states_of, tables_of

pytestmark = pytest.mark.slow

KINDS = ("schedule_free", "schedule_free_plus", "averaged_adamw")
FROM_AVERAGE = "from_average"
WITH_BRANCHES = ("muon", "ademamix")
EVERY_KIND = (*KINDS, *WITH_BRANCHES, FROM_AVERAGE)
BASE = ("paradigm=[anytime]", "paradigms.anytime.alpha=0.4")


def overrides(kind: str) -> tuple[str, ...]:
    if kind == "ademamix":  # what grows has grown on the first branch, and on the main path after its first fork
        return ("optimizer=ademamix", "optimizer.beta3=0.99", "optimizer.growing_updates=7")
    if kind == "muon":
        return ("optimizer=muon",)
    if kind == FROM_AVERAGE:
        return ("optimizer=averaged_adamw", "+paradigms.path_switching.from_average=0.3")
    return (*BASE, f"optimizer@paradigms.anytime.optimizer={kind}")


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_run_that_was_killed_and_run_again_equals_one_that_was_not(lab: Lab, kind: str) -> None:
    lab.trained("study=undisturbed", *overrides(kind))

    ended = lab.train("study=killed", *overrides(kind), moments=("reach:5", "shards:2", "manifest:2", "end"))

    assert ended.codes == [-9, -9, -9, 0], ended.err
    assert states_of(lab.study("killed")) == states_of(lab.study("undisturbed"))
    assert tables_of(lab.study("killed")) == tables_of(lab.study("undisturbed"))


@pytest.mark.parametrize("kind", [*WITH_BRANCHES, "schedule_free_plus", FROM_AVERAGE])
def test_a_null_fork_repeats_its_parent(lab: Lab, kind: str) -> None:
    runner = lab.runner(*overrides(kind))
    runner.run()

    check = verify_null_forks(runner.path_trainer, runner.tree, updates=4, console=Console(file=io.StringIO()))

    assert (check.findings, check.count > 0) == ((), True)


def test_a_branch_from_the_average_begins_with_it_and_goes_on_with_the_moments(lab: Lab) -> None:
    """At a rate of next to nothing, it also ends with the average."""
    runner = lab.runner("optimizer=averaged_adamw", "+paradigms.path_switching.from_average=1.0e-12")
    runner.run()
    states, branch = states_of(lab.study()), runner.tree.paths[-1]
    assert branch.parent is not None

    ours, theirs = states[branch.id, 20], states[branch.parent.path_id, branch.start]
    names = [name.removeprefix("model.") for name in ours if name.startswith("model.")]
    assert names
    for name in names:
        end, average, live = (
            torch.frombuffer(bytearray(bits), dtype=torch.float32)
            for bits in (ours[f"model.{name}"], theirs[f"average.{name}"], theirs[f"model.{name}"])
        )
        torch.testing.assert_close(end, average, rtol=0, atol=1e-9)
        assert not torch.equal(live, average)
        assert torch.frombuffer(bytearray(ours[f"step.{name}"]), dtype=torch.float32).item() == 20
    assert not any(name.startswith("average.") for name in ours)


def test_what_grows_goes_on_growing_on_a_branch_where_its_fork_was(lab: Lab) -> None:
    runner = lab.runner(*overrides("ademamix"))
    runner.run()
    states, branch = states_of(lab.study()), next(path for path in runner.tree.paths if path.start == 4)

    counts = {bits for name, bits in states[branch.id, 10].items() if name.startswith("updates.")}

    assert {torch.frombuffer(bytearray(bits), dtype=torch.float64).item() for bits in counts} == {10}


@pytest.mark.parametrize("kind", KINDS)
def test_an_evaluation_changes_no_update(lab: Lab, kind: str) -> None:
    lab.run("study=often", *overrides(kind), "cadence.evaluate_every=1")
    lab.run("study=seldom", *overrides(kind), "cadence.evaluate_every=1000")

    assert states_of(lab.study("often")) == states_of(lab.study("seldom"))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_evaluated_is_what_is_released_and_not_the_live_weights(lab: Lab, kind: str) -> None:
    runner = lab.runner(*overrides(kind))
    runner.run()
    _, release = choose_release(lab.study(), name="v2")
    path = lab.study().find(release.last.path_id)
    assert path is not None

    model = load_release(lab.study(), release)
    found = evaluate(model, runner.path_trainer.held_out, device=torch.device("cpu"), precision="fp32")

    rows = {row.held_out: row.nll for row in path.evaluation.rows() if row.position == release.last.position}
    assert {name: nll for name, (nll, _) in found.items()} == rows
    live = states_of(lab.study())[release.last.path_id, release.last.position]
    name, parameter = next(iter(model.named_parameters()))
    assert parameter.detach().numpy().tobytes() != live[f"model.{name}"]
    documents = evaluate_documents(model, runner.path_trainer.documents, device=torch.device("cpu"), precision="fp32")
    assert list(documents) == read_document_losses(path.document_losses(release.last.position))


def test_two_ranks_make_what_one_process_makes(lab: Lab) -> None:
    """Sharded, every kind; replicated, one that evaluates other weights, one of whole matrices, and one that counts."""
    replicated = ("schedule_free", "muon", "ademamix")
    made = [*((kind, "fsdp") for kind in EVERY_KIND), *((kind, "ddp") for kind in replicated)]
    for kind in EVERY_KIND:
        lab.trained(f"study={kind}_one", *overrides(kind))
    jobs = [Job((f"study={kind}_{strategy}", *overrides(kind), f"strategy={strategy}")) for kind, strategy in made]
    ended = lab.ranked(*jobs, ranks=2)

    assert lab.codes_of(2) == [(0, 0)] * len(jobs), ended.err
    for kind, strategy in made:
        one, two = states_of(lab.study(f"{kind}_one")), states_of(lab.study(f"{kind}_{strategy}"))
        assert one.keys() == two.keys()
        for key, tensors in one.items():
            for name, bits in tensors.items():
                ours, theirs = (torch.frombuffer(bytearray(b), dtype=torch.float32) for b in (bits, two[key][name]))
                torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-5)  # the order of sums over ranks
