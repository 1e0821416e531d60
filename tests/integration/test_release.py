"""Releases leave the study as Hugging Face folders that transformers loads without lrpath."""

import json
import os
import pathlib
import subprocess
import sys

import pytest
import torch

from lrpath.models import CausalLM
from lrpath.reporting.model_card import choose_release
from lrpath.training.checkpoints.releases import load_release
from tests.integration.lab import Lab

pytestmark = pytest.mark.slow

LOAD = """
import json, sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
torch.set_num_threads(1)  # as the laboratory: sums are split by thread
model = AutoModelForCausalLM.from_pretrained(sys.argv[1]).eval()
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
ids = tokenizer("main path, branch path", return_tensors="pt").input_ids
assert not any(name.split(".")[0] == "lrpath" for name in sys.modules)
print(json.dumps({"ids": ids.tolist(), "logits": model(ids).logits.tolist(), "end": tokenizer.eos_token}))
"""


def export(lab: Lab, *overrides: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lrpath.export", "study=study", f"outputs={lab.folder}", *overrides]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def load_elsewhere(folder: pathlib.Path) -> dict:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", LOAD, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder.parent, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_an_exported_release_has_equal_logits_in_a_process_without_lrpath(lab: Lab) -> None:
    lab.run("model.tie_embeddings=true")

    done = export(lab, "release=v2")
    (folder,) = (lab.folder / "study" / "releases").glob("path_switching-v2-*/model")
    found = load_elsewhere(folder)

    assert done.returncode == 0, done.stderr
    assert str(folder) in done.stdout
    _, release = choose_release(lab.study(), name="v2")
    ours: CausalLM = load_release(lab.study(), release).eval()
    with torch.no_grad():
        logits = ours.lm(torch.tensor(found["ids"])).logits
    assert torch.equal(torch.tensor(found["logits"]), logits)
    assert found["end"] == "<|endoftext|>"


def test_the_card_tells_lineage_loss_and_training(lab: Lab) -> None:
    lab.run()

    export(lab, "release=v2", f"folder={lab.folder / 'v2'}")
    card = (lab.folder / "v2" / "README.md").read_text()

    main, branch = (lab.study().find(path.id) for path in lab.project().plan.tree.paths if path.name[-4:] != "g.v1")
    assert main is not None
    assert branch is not None
    assert f"`{main.folder.name.split('-')[-1]}` at 14" in card
    assert "updates [14, 20)" in card
    assert "nats per token" in card


def test_a_merged_release_is_exported_as_the_mean_of_its_states(lab: Lab) -> None:
    lab.run("paradigm=[merged]", "paradigms.merged.states=2", "paradigms.merged.spacing=4")

    done = export(lab, "release=merged/v2", f"folder={lab.folder / 'mean'}")
    assert done.returncode == 0, done.stderr
    found = load_elsewhere(lab.folder / "mean")

    _, release = choose_release(lab.study(), name="merged/v2")
    ours = load_release(lab.study(), release).eval()
    with torch.no_grad():
        assert torch.equal(torch.tensor(found["logits"]), ours.lm(torch.tensor(found["ids"])).logits)


def test_an_export_does_not_overwrite(lab: Lab) -> None:
    lab.run()
    (lab.folder / "taken").mkdir()
    (lab.folder / "taken" / "thesis.tex").write_text("mine")

    done = export(lab, "release=v1", f"folder={lab.folder / 'taken'}")

    assert done.returncode == 2
    assert "holds files already; choose another folder" in done.stderr
    assert "Traceback" not in done.stderr
    assert [file.name for file in (lab.folder / "taken").iterdir()] == ["thesis.tex"]


def test_a_release_that_was_not_made_is_refused(lab: Lab) -> None:
    runner = lab.runner()

    done = export(lab, "release=v1")

    assert runner.study.folder.exists()
    assert done.returncode == 2
    assert "is not made yet: 1 of 1 states are missing; run its plan with lrpath.train" in done.stderr
