"""Releases leave the study as Hugging Face folders that are the trained model for everyone who loads them."""

import os
import pathlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, processors
from transformers import AutoModelForCausalLM

from lrpath.analysis.release_choice import choose_release
from lrpath.analysis.verify.study import verify_study
from lrpath.errors import DataError, StateError
from lrpath.models import CausalLM
from lrpath.records.backbone import BACKBONE
from lrpath.records.files import read_json, write_json
from lrpath.records.released import ExportedRelease
from lrpath.reporting.model_card import card_text
from lrpath.training.checkpoints import export as export_module
from lrpath.training.checkpoints.backbone import read_backbone
from lrpath.training.checkpoints.export import Dtype, ReleaseWeights, export_release
from lrpath.training.checkpoints.releases import load_release
from tests.integration.lab import Ended, Lab
from tests.integration.released_families import FAMILIES, LONGEST, TEXTS, load_families
from tests.refusals import refused

pytestmark = pytest.mark.slow


def run_export(lab: Lab, *overrides: str) -> Ended:
    return lab.call("-m", "lrpath.export", "study=study", f"outputs={lab.folder}", *overrides)


def export(lab: Lab, name: str = "v2", study: str = "study", **changes: Any) -> tuple[pathlib.Path, ExportedRelease]:
    """Export a release in this process; return its folder and what was made."""
    series, release = choose_release(lab.study(study), name=name)
    settings: dict[str, Any] = {"dtype": "fp32", "shard_bytes": 10**9, "loads": True, "folder": lab.folder / "released"}
    settings |= changes

    def card(made: ExportedRelease) -> str:
        return card_text(lab.study(study), made, series=series, release=release, command="python -m lrpath.export")

    return settings["folder"], export_release(lab.study(study), release, card=card, **settings)


OF_LLAMA = ("llama", "qwen2", "internlm", "internlm2", "internlm3")
"""Families whose releases are Llamas; of InternLM 3, transformers has a configuration alone."""
IN_BF16 = ("internlm3", "gpt_neox", "gemma")
"""Families that are exported in bf16 too: as a Llama, as itself with biases, and with norms about 0. All of them are in
`experiments/09_exactness/families.py`."""


def test_every_family_is_the_trained_model_in_a_process_without_lrpath(lab: Lab) -> None:
    chosen: list[tuple[str, Dtype]] = [(family, "fp32") for family in FAMILIES]
    chosen += [(family, "bf16") for family in IN_BF16]

    for loaded in load_families(lab, chosen):
        found = loaded.found
        assert found["ids"] == loaded.ids, loaded.family
        assert loaded.different_weights == ()
        assert loaded.logit_difference <= loaded.logit_bound, loaded.family
        assert found["dtype"] == {"fp32": "torch.float32", "bf16": "torch.bfloat16"}[loaded.dtype]
        assert (found["end"], found["pad"], found["longest"], found["cache"]) == ("<|endoftext|>",) * 2 + (16, True)
        assert found["eos"] == [0, 0]
        assert found["bos"] == [None, None]
        assert found["ended"] == [True] * len(TEXTS), loaded.family
        assert found["new"] < LONGEST
        assert (found["class"] == "LlamaForCausalLM") == (loaded.family in OF_LLAMA)


def test_the_command_writes_a_release_into_the_study(lab: Lab) -> None:
    lab.run("model.tie_embeddings=true")

    done = run_export(lab, "release=v2")
    (folder,) = (lab.folder / "study" / "releases").glob("path_switching-v2-*/model")

    assert done.code == 0, done.err
    assert str(folder) in done.out
    assert done.err == ""
    _, release = choose_release(lab.study(), name="v2")
    ours: CausalLM = load_release(lab.study(), release).eval()
    ids_BT = torch.arange(2 * 16).view(2, 16)
    with torch.no_grad():
        assert torch.equal(AutoModelForCausalLM.from_pretrained(folder).eval()(ids_BT).logits, ours.lm(ids_BT).logits)
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o666 & ~_umask()}


def _umask() -> int:
    found = os.umask(0)
    os.umask(found)
    return found


def test_weights_are_written_in_shards_that_transformers_finds(lab: Lab) -> None:
    lab.trained()

    folder, made = export(lab, shard_bytes=4_000)
    index = read_json(folder / "model.safetensors.index.json")

    assert made.files == len(list(folder.glob("model-*.safetensors"))) > 3
    assert set(index["weight_map"].values()) == {file.name for file in folder.glob("model-*.safetensors")}
    assert index["metadata"]["total_size"] == made.bytes
    state, _ = export(lab, "path_switching.main", folder=lab.folder / "state")
    assert "path_switching.main of a path switching study at 14; it is no release" in (state / "README.md").read_text()
    again, _ = export(lab, shard_bytes=4_000, folder=lab.folder / "again")
    assert [(file.name, file.read_bytes()) for file in sorted(again.glob("*.safetensors"))] == [
        (file.name, file.read_bytes()) for file in sorted(folder.glob("*.safetensors"))
    ]


def test_a_merged_release_is_exported_as_the_mean_of_its_states(lab: Lab) -> None:
    lab.run("paradigm=[merged]", "paradigms.merged.states=2", "paradigms.merged.spacing=4")

    folder, _ = export(lab, "merged/v2")

    _, release = choose_release(lab.study(), name="merged/v2")
    ours = load_release(lab.study(), release).eval()
    ids_BT = torch.arange(2 * 16).view(2, 16)
    with torch.no_grad():
        assert torch.equal(AutoModelForCausalLM.from_pretrained(folder).eval()(ids_BT).logits, ours.lm(ids_BT).logits)
    streamed = dict(ReleaseWeights.of(lab.study(), release).tensors())
    assert all(torch.equal(streamed[name], value) for name, value in ours.lm.named_parameters())


def test_a_mark_that_a_tokenizer_puts_before_a_text_is_left_out(lab: Lab, tmp_path: pathlib.Path) -> None:
    lab.run("study=first")
    tokenizer = read_backbone(lab.study("first").folders()[0]).tokenizer
    assert tokenizer is not None
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)]
    )
    tokenizer.save(str(tmp_path / "given.json"))
    lab.run(f"data.tokenizer.file={tmp_path / 'given.json'}")

    folder, _ = export(lab)

    written = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert written.encode("main path").ids == tokenizer.encode("main path", add_special_tokens=False).ids


def flip(file: pathlib.Path) -> None:
    text = file.read_text()
    at = len(text) // 2
    file.write_text(text[:at] + chr(ord(text[at]) ^ 1) + text[at + 1 :])


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "training.json"])
@pytest.mark.parametrize("damage", [flip, pathlib.Path.unlink, lambda file: (file.parent / "evil.py").write_text("")])
def test_what_lies_beside_the_weights_is_verified(
    lab: Lab, name: str, damage: Callable[[pathlib.Path], object]
) -> None:
    lab.trained("versions=1", "paradigm=[from_scratch]")
    (folder,) = lab.study().folders()
    assert [finding for check in verify_study(lab.study()) for finding in check.findings] == []

    damage(folder.folder / BACKBONE / name)

    with refused(StateError, stable=False):
        export(lab, "v1")
    (check,) = (check for check in verify_study(lab.study()) if check.name == "backbones")
    assert len(check.findings) == 1


def test_digests_that_are_lost_are_missed(lab: Lab) -> None:
    lab.trained("versions=1", "paradigm=[from_scratch]")
    (folder,) = lab.study().folders()
    record = read_json(folder.folder / "path.json")
    write_json(folder.folder / "path.json", {name: value for name, value in record.items() if name != BACKBONE})

    with refused(StateError, stable=False):
        export(lab, "v1")


def test_a_folder_that_an_earlier_version_made_is_exported_and_made_anew_when_the_path_goes_on(lab: Lab) -> None:
    lab.trained("versions=1", "paradigm=[continual]")
    (folder,) = lab.study().folders()
    place = folder.folder / BACKBONE
    (place / "training.json").unlink()
    (place / "tokenizer_config.json").write_text('{"eos_token": "<|endoftext|>"}')
    record = read_json(folder.folder / "path.json")
    write_json(folder.folder / "path.json", {name: value for name, value in record.items() if name != BACKBONE})

    released, _ = export(lab, "v1")
    (check,) = (check for check in verify_study(lab.study()) if check.name == "backbones")
    folder.remove_state(10)
    lab.run("versions=1", "paradigm=[continual]")

    assert read_json(released / "generation_config.json")["eos_token_id"] == 0
    assert (check.findings, len(check.notes)) == ((), 1)
    assert read_backbone(folder).is_verified
    assert sorted(file.name for file in place.iterdir()) == ["config.json", "tokenizer.json", "training.json"]


def test_a_release_whose_logits_differ_is_refused_and_leaves_nothing(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.trained("versions=1", "paradigm=[from_scratch]")
    written = export_module._for_transformers_4
    monkeypatch.setattr(export_module, "_for_transformers_4", lambda config: written(config) | {"rms_norm_eps": 0.5})

    with refused(DataError, stable=False):
        export(lab, "v1")
    assert [place.name for place in lab.folder.glob("*released*")] == []
    export(lab, "v1", loads=False)


def test_the_card_tells_how_to_use_the_model_and_what_it_is_made_of(lab: Lab) -> None:
    lab.trained()

    folder, made = export(lab)
    card = (folder / "README.md").read_text()

    main, branch = (lab.study().find(path.id) for path in lab.project().plan.tree.paths if path.name[-4:] != "g.v1")
    assert main is not None
    assert branch is not None
    for text in (
        f"`{main.folder.name.split('-')[-1]}` at 14",
        "updates [14, 20)",
        "nats per token",
        "`<|endoftext|>` (id 0)",
        "windows of 16 tokens",
        "python -m lrpath.export",
        f"SHA-256 `{lab.project().prepare().digest('v2')}`",
        *made.compared,
    ):
        assert text in card
    code = card.split("```python\n")[1].split("```")[0]
    assert len(code.strip().splitlines()) == 10
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_export_does_not_overwrite(lab: Lab) -> None:
    lab.trained()
    (lab.folder / "taken").mkdir()
    (lab.folder / "taken" / "thesis.tex").write_text("mine")

    done = run_export(lab, "release=v1", f"folder={lab.folder / 'taken'}")

    assert done.code == 2
    assert "holds files already; choose another folder" in done.err
    assert "Traceback" not in done.err
    assert [file.name for file in (lab.folder / "taken").iterdir()] == ["thesis.tex"]


def test_a_release_that_was_not_made_is_refused(lab: Lab) -> None:
    runner = lab.runner()

    done = run_export(lab, "release=v1")

    assert runner.study.folder.exists()
    assert done.code == 2
    assert "is not made yet: 1 of 1 states are missing; run its plan with lrpath.train" in done.err
