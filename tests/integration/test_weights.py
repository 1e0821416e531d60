"""Root paths that begin with the weights of a folder: a checkpoint of transformers, or a release."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from lrpath.analysis.release_choice import choose_release
from lrpath.analysis.verify.study import verify_study
from lrpath.assembly.reuse import check_extends
from lrpath.errors import ConfigError, MismatchError
from lrpath.models import CausalLM
from lrpath.records.path_folder import PathFolder
from lrpath.records.study import Study
from lrpath.reporting.model_card import card_text
from lrpath.reporting.report import write_report
from lrpath.training.checkpoints.export import export_release
from lrpath.training.evaluation import evaluate
from tests.integration.lab import Job, Lab, states_of, tables_of
from tests.pretrained import END_MARK, load_checkpoint, made_tokenizer, write_checkpoint
from tests.refusals import refused

pytestmark = pytest.mark.slow

FAMILIES: dict[str, dict[str, Any]] = {
    "gpt_neox": {"dtype": torch.float16},
    "llama": {"shard": "10KB"},
    "qwen3": {"dtype": torch.bfloat16},
}
"""By family, how its checkpoint is written: GPT-NeoX in fp16, Llama tied and in shards, Qwen3 in bf16."""


def beginning(folder: Path, *changes: str) -> tuple[str, ...]:
    """Return the overrides of a small study that begins with a folder's weights, and takes its tokenizer along."""
    return ("model=weights", f"model.weights={folder}", "data.tokenizer.vocab_size=null", *changes)


def root_of(study: Study) -> PathFolder:
    """Return the folder of the main path."""
    (folder,) = (one for one in study.folders() if ".main-" in one.folder.name)
    return folder


def first_loss(study: Study) -> float:
    """Return the loss of the main path's first update."""
    return float(root_of(study).metrics.rows()[0].loss)


def export(lab: Lab, study: str, release: str, folder: Path) -> str:
    """Export a release with all comparisons, and return its card."""
    series, chosen = choose_release(lab.study(study), name=release)
    command = "python -m lrpath.export"
    export_release(
        lab.study(study),
        chosen,
        folder=folder,
        card=lambda made: card_text(lab.study(study), made, series=series, release=chosen, command=command),
        dtype="fp32",
        shard_bytes=10**9,
        loads=True,
    )
    return (folder / "README.md").read_text()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_root_begins_with_the_checkpoints_own_loss(lab: Lab, family: str) -> None:
    checkpoint = write_checkpoint(lab.folder / family, family, **FAMILIES[family])
    runner = lab.runner(*beginning(checkpoint))
    batches = runner.path_trainer.factory.batches(runner.tree.paths[0])

    runner.run()

    model, ids_BL = load_checkpoint(checkpoint).train(), torch.as_tensor(batches.batch(0))
    read_BT, targets_BT = ids_BL[:, :-1].contiguous(), ids_BL[:, 1:].contiguous()
    loss = first_loss(lab.study())
    assert loss == CausalLM(model)(ids_BL).item()
    # transformers adds the same terms in another order, and divides: one unit in the last place was seen.
    own = model(input_ids=read_BT, labels=read_BT, shift_labels=targets_BT).loss.item()
    assert abs(loss - own) <= 2e-7 * own
    held_out = runner.path_trainer.held_out
    expected = evaluate(CausalLM(model), held_out, device=torch.device("cpu"), precision="fp32")
    at_start = [row for row in root_of(lab.study()).evaluation.rows() if row.position == 0]
    assert {row.held_out: (row.nll, row.tokens) for row in at_start} == expected


def test_attention_that_ends_with_a_document_does_so_from_weights_too(lab: Lab) -> None:
    checkpoint = write_checkpoint(lab.folder / "llama", "llama")
    large = ("batch.sequences_per_update=32", "increment=4 updates", "versions=1")  # some window holds a border
    runner = lab.runner(*beginning(checkpoint, "data.mask=document", *large))
    batches, end_id = runner.path_trainer.factory.batches(runner.tree.paths[0]), made_tokenizer().eos_token_id

    runner.run()

    ids_BL = torch.as_tensor(batches.batch(0))
    losses = [CausalLM(load_checkpoint(checkpoint), document_end=end)(ids_BL).item() for end in (end_id, None)]
    assert first_loss(lab.study()) == losses[0] != losses[1]


def test_a_checkpoint_is_rewarmed_on_another_domain_released_and_the_root_of_a_new_study(lab: Lab) -> None:
    checkpoint = write_checkpoint(lab.folder / "neox", "gpt_neox")
    rewarm = ("paradigm=[rewarm]", "paradigms.rewarm.rewarm=2")
    lab.run(*beginning(checkpoint, "study=first", *rewarm))

    card = export(lab, "first", "v2", lab.folder / "released")
    second = lab.runner(*beginning(lab.folder / "released", "study=second"))
    second.run()

    released = load_checkpoint(lab.folder / "released")
    ids_BL = torch.as_tensor(second.path_trainer.factory.batches(second.tree.paths[0]).batch(0))
    assert type(released).__name__ == "GPTNeoXForCausalLM"
    assert first_loss(lab.study("second")) == CausalLM(released.train())(ids_BL).item()
    assert f"trained on from the weights of {checkpoint}" in card
    assert f"`{END_MARK}`" in card
    write_report(lab.study("second"))
    weights = lab.project(*beginning(lab.folder / "released", "study=second")).plan.weights
    assert weights is not None
    assert weights.line() in (lab.study("second").folder / "report" / "setup.md").read_text()
    checks = {check.name: check for check in verify_study(lab.study("second"))}
    assert [finding for check in checks.values() for finding in check.findings] == []
    assert checks["weights"].details == (f"path_switching.main: {weights.line()}",)


def test_a_path_is_as_if_it_was_never_killed_and_goes_on_without_the_folder(lab: Lab) -> None:
    checkpoint = write_checkpoint(lab.folder / "llama", "llama")
    lab.run(*beginning(checkpoint, "study=whole"))

    killed = lab.train(*beginning(checkpoint, "study=killed"), moments=("reach:2", "reach:7"))
    shutil.move(checkpoint, lab.folder / "elsewhere")
    updates = lab.run(*beginning(checkpoint, "study=killed"))

    assert killed.codes == [-9, -9]
    assert 0 < updates < 26  # a state was kept before the last kill
    assert states_of(lab.study("killed")) == states_of(lab.study("whole"))
    assert tables_of(lab.study("killed")) == tables_of(lab.study("whole"))
    assert [finding for check in verify_study(lab.study("killed")) for finding in check.findings] == []
    with refused(ConfigError, field="model.weights", value=str(checkpoint)):
        lab.run(*beginning(checkpoint, "study=other"))
    moved = beginning(lab.folder / "elsewhere", "study=killed")
    assert lab.run(*moved) == 0  # the same tensors in another place are the same path


def test_a_folder_that_changes_is_another_path_or_refused(lab: Lab) -> None:
    checkpoint = write_checkpoint(lab.folder / "llama", "llama")
    lab.run(*beginning(checkpoint, "versions=1"))
    planned = lab.runner(*beginning(checkpoint, "study=planned"))

    write_checkpoint(lab.folder / "llama", "llama", dtype=torch.bfloat16)

    with refused(MismatchError, field="extend", value="auto"):
        check_extends(lab.project(*beginning(checkpoint, "versions=1")))
    with refused(ConfigError, field="model.weights", value=str(checkpoint)):
        planned.run()
    (check,) = (one for one in verify_study(lab.study()) if one.name == "weights")
    assert len(check.notes) == 1
    assert "has other weights now" in check.notes[0]
    assert lab.run(*beginning(checkpoint, "versions=1", "extend=false")) == 10


def test_ranks_begin_with_the_same_weights_whole_or_sharded(lab: Lab) -> None:
    checkpoint = write_checkpoint(lab.folder / "llama", "llama", dtype=torch.bfloat16)
    pair = ("batch.sequences_per_update=2", "strategy.micro_batch=1", "versions=1")
    lab.run(*beginning(checkpoint, *pair, "optimizer.clip_norm=null", "study=alone"))

    ended = lab.ranked(
        *(
            Job((*beginning(checkpoint, *pair, f"study={name}", f"strategy={name}"), "optimizer.clip_norm=null"))
            for name in ("ddp", "fsdp")
        ),
        ranks=2,
    )

    assert lab.codes_of(2) == [(0, 0)] * 2, ended.err
    for name in ("ddp", "fsdp"):
        assert states_of(lab.study(name)) == states_of(lab.study("alone"))
        assert first_loss(lab.study(name)) == first_loss(lab.study("alone"))


def test_the_tokenizer_of_the_folder_is_taken_and_another_vocabulary_is_refused(lab: Lab) -> None:
    checkpoint = write_checkpoint(lab.folder / "llama", "llama")
    project = lab.project(*beginning(checkpoint))
    other = lab.folder / "other"
    made_tokenizer(ids=270).save_pretrained(other)

    tokenizer = project.config.data.tokenizer

    assert tokenizer is not None
    assert (tokenizer.file, tokenizer.end_mark) == (str(checkpoint / "tokenizer.json"), END_MARK)
    with refused(ConfigError, field="data.tokenizer.file", value=str(other / "tokenizer.json")):
        _ = lab.project(*beginning(checkpoint, f"data.tokenizer.file={other / 'tokenizer.json'}")).shape
    content = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(content | {"vocab_size": 100}))
    with refused(ConfigError, field="model.weights", value=str(checkpoint)):
        _ = lab.project(*beginning(checkpoint)).shape
    (checkpoint / "tokenizer.json").unlink()
    with refused(ConfigError, field="model.weights", value=str(checkpoint)):
        lab.project(*beginning(checkpoint))


def test_release_weights_are_found_by_their_tensors_whatever_their_shards(lab: Lab) -> None:
    whole = write_checkpoint(lab.folder / "whole", "llama")
    sharded = write_checkpoint(lab.folder / "sharded", "llama", shard="10KB")

    ids = [lab.project(*beginning(one)).plan.tree.paths[0].id for one in (whole, sharded)]

    assert ids[0] == ids[1]
    assert lab.project(*beginning(whole)).plan.parameters == load_checkpoint(whole).num_parameters()
