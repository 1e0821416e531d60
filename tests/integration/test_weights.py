"""Root paths that begin with the weights of a folder: a checkpoint of transformers, or a release."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lrpath.analysis.verify.study import verify_study
from lrpath.assembly.reuse import check_extends
from lrpath.errors import ConfigError, MismatchError
from lrpath.models import CausalLM
from lrpath.planning.paths import StateKey
from lrpath.records.study import Study
from tests.integration.lab import Job, Lab, losses_of, states_of, tables_of, tensors_in
from tests.pretrained import load_checkpoint, write_checkpoint
from tests.refusals import refused

pytestmark = pytest.mark.slow

FAMILIES = {
    "gpt_neox": {"dtype": torch.float16},
    "llama": {"shard": "10KB"},
    "qwen3": {"dtype": torch.bfloat16},
}
"""By family, how its checkpoint is written: GPT-NeoX in fp16, Llama tied and in shards, Qwen3 in bf16."""


def beginning(folder: Path, *changes: str) -> tuple[str, ...]:
    """Return the overrides of a small study that begins with a folder's weights, and takes its tokenizer along."""
    return ("model=weights", f"model.weights={folder}", "data.tokenizer.vocab_size=null", *changes)


def first_row(study: Study, name: str = "path_switching.main") -> tuple[float, Path]:
    """Return the loss of a path's first update, and the path's folder."""
    folder = next(one for one in study.folders() if one.folder.name.startswith(f"{name}-"))
    return float(folder.metrics.rows()[0].loss), folder.folder


@pytest.mark.parametrize("family", FAMILIES)
def test_the_first_loss_is_the_checkpoints_own_and_the_release_is_loaded_by_all(lab: Lab, family: str) -> None:
    checkpoint = write_checkpoint(lab.folder / family, family, **FAMILIES[family])
    runner = lab.runner(*beginning(checkpoint))
    root = runner.tree.paths[0]
    batches = runner.path_trainer.factory.batches(root)

    runner.run()

    ids_BL = torch.as_tensor(batches.batch(0))
    model = load_checkpoint(checkpoint).train()
    loss, _ = first_row(lab.study())
    assert loss == CausalLM(model)(ids_BL).item()
    read_BT, targets_BT = ids_BL[:, :-1].contiguous(), ids_BL[:, 1:].contiguous()
    own = model(input_ids=read_BT, labels=read_BT, shift_labels=targets_BT).loss.item()
    print(family, loss, own, loss-own)
