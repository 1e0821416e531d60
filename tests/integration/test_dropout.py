"""Dropout is a function of position and slot: neither micro-batches nor ranks change what a path with it becomes."""

import json

import pytest

from lrpath.errors import MismatchError
from lrpath.models import CausalLM
from lrpath.records.files import read_json, write_json
from lrpath.records.manifest import seal_manifest
from tests.integration.lab import Job, Lab, states_of
from tests.integration.test_ranks import DDP, FSDP, ROUNDING, largest_difference
from tests.refusals import refused

pytestmark = pytest.mark.slow

GPT2 = {"model_type": "gpt2", "vocab_size": 300, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 16}


def dropping(lab: Lab, **changes: float) -> tuple[str, ...]:
    """Return the overrides of a model that drops a tenth, as GPT-2's own configuration says when it does not say."""
    file = lab.folder / "dropping.json"
    file.write_text(json.dumps(GPT2 | changes))
    return "model=hf_file", f"model.file={file}", "paradigm=[from_scratch]", "versions=1"


def test_micro_batches_and_ranks_leave_dropout_as_it_is(lab: Lab) -> None:
    model = dropping(lab)
    lab.run(*model, "study=whole")
    lab.run(*model, "study=pieces", "strategy.micro_batch=1")
    ended = lab.ranked(
        Job((*model, "study=ddp", DDP)),
        Job((*model, "study=fsdp", FSDP, "strategy.micro_batch=1")),
        ranks=2,
    )

    assert ended.code == 0, ended.err
    for study in ("pieces", "ddp", "fsdp"):
        assert largest_difference(lab.study(study), lab.study("whole")) < ROUNDING
    lab.run(*dropping(lab, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0), "study=without")
    losses = [[row.loss for row in lab.study(name).folders()[0].metrics.rows()] for name in ("whole", "without")]
    assert max(abs(one - other) for one, other in zip(*losses, strict=True)) > 1000 * ROUNDING


def test_a_path_whose_dropout_followed_micro_batches_does_not_go_on(lab: Lab) -> None:
    changes = (*dropping(lab), "paradigm=[path_switching]")
    lab.run(*changes)
    main, branch = sorted(lab.study().folders(), key=lambda folder: folder.folder.name)
    manifest = main.state(4) / "state.json"
    record = read_json(manifest)
    assert record.pop("dropout") == "by sequence"
    write_json(manifest, seal_manifest(record))
    branch.remove_state(10)

    with refused(MismatchError, stable=False):
        lab.run(*changes)


def test_a_path_that_was_begun_as_one_with_dropout_goes_on_as_it_began(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earlier versions took every GPT-NeoX for one with dropout, for its `classifier_dropout`: a sequence at a time."""
    file = lab.folder / "config.json"
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    shape = {"model_type": "gpt_neox", "vocab_size": 300, "max_position_embeddings": 16}
    file.write_text(json.dumps(shape | sizes))
    neox = ("model=hf_file", f"model.file={file}")
    with monkeypatch.context() as earlier:
        earlier.setattr(CausalLM, "has_dropout", True)
        lab.run(*neox, "study=whole")
        lab.run(*neox, "study=begun", "versions=1")

    lab.run(*neox, "study=begun", "versions=2")
    lab.run(*neox, "study=now")

    main = lab.project(*neox).plan.tree.paths[0]
    line = [key for key in states_of(lab.study("whole")) if key[0] == main.id]
    whole, begun, now = (states_of(lab.study(name)) for name in ("whole", "begun", "now"))
    assert [begun[key] for key in line] == [whole[key] for key in line]
    assert [now[key] for key in line] != [whole[key] for key in line]
