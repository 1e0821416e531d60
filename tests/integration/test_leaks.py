"""Held-out text that is trained on: whatever came past the preparation, the verification of a study finds it."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from lrpath import entry, verify
from lrpath.assembly.leaks import verify_held_out, verify_tokens
from lrpath.errors import VerificationError
from tests.integration.lab import Lab


def ids_of(lab: Lab, *, planted: bool) -> tuple[str, ...]:
    """Write ids of two versions and a held-out set, which v2 trains on if it is planted; return overrides."""
    generator = np.random.default_rng(0)
    first, second, held_out = (generator.integers(0, 200, size=count).astype("<u2") for count in (900, 900, 300))
    if planted:
        second[100:400] = held_out
    lab.folder.mkdir(exist_ok=True)
    files = [lab.folder / name for name in ("v1.bin", "v2.bin", "held_out.bin")]
    for file, ids_N in zip(files, (first, second, held_out), strict=True):
        ids_N.tofile(file)
    return (
        "data=tokens",
        f"data.source.files=[{files[0]},{files[1]}]",
        f"+data.source.heldout.web=[{files[2]}]",
        "data.source.vocab_size=200",
        "data.tokenizer=null",
        "model.vocab_size=200",
        f"data.folder={lab.folder / 'stores'}",
    )


@pytest.fixture(autouse=True)
def planted_ids_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a preparation take held-out ids that are trained on, which it refuses."""
    monkeypatch.setattr("lrpath.data.given_ids.REFUSED_SHARE", 1.0)


@pytest.mark.parametrize("planted", [True, False])
def test_a_held_out_document_that_is_trained_on_is_a_finding(lab: Lab, planted: bool) -> None:
    project = lab.project(*ids_of(lab, planted=planted))
    project.prepare()
    project.keep_plan()

    check = verify_held_out(project.study, folder=lab.folder / "stores")

    # A set without an end mark is one document; every version is judged on it.
    assert (check.count, check.notes) == (2, ())
    assert [finding.text.split(", domain")[0] for finding in check.findings] == (
        ["v2 trains on document 0 of the valid set of v1", "v2 trains on document 0 of the valid set of v2"]
        if planted
        else []
    )


def test_tokens_that_are_elsewhere_are_said_and_are_no_finding(lab: Lab, tmp_path: Path) -> None:
    project = lab.project(*ids_of(lab, planted=True))
    project.prepare()
    project.keep_plan()

    check = verify_held_out(project.study, folder=tmp_path / "nothing")

    assert (check.count, check.findings, len(check.notes)) == (0, (), 1)
    assert not verify_held_out(project.study, folder=lab.folder / "stores", reads=False).count


def test_tokens_that_were_cut_are_a_finding(lab: Lab) -> None:
    project = lab.project(*ids_of(lab, planted=False))
    store = project.prepare()
    project.keep_plan()
    file = store.place("v2") / "train.bin"
    file.write_bytes(file.read_bytes()[:-2])

    check = verify_held_out(project.study, folder=lab.folder / "stores")

    assert [str(file) in finding.text for finding in check.findings] == [True]


def test_text_that_was_prepared_leaks_nothing(lab: Lab) -> None:
    project = lab.project("study=whole")
    project.prepare()
    project.keep_plan()

    check = verify_held_out(project.study, folder=lab.stores)

    assert check.count > 0
    assert (check.findings, check.notes) == ((), ())


def test_the_command_ends_with_its_code_for_findings(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = lab.project(*ids_of(lab, planted=True))
    project.prepare()
    project.keep_plan()
    arguments = ["study=study", f"outputs={lab.folder}", f"data.folder={lab.folder / 'stores'}", "format=json"]
    monkeypatch.setattr(sys, "argv", ["lrpath.verify", *arguments])

    with pytest.raises(SystemExit) as end:
        entry.run(verify.verify, config_name="verify")

    assert end.value.code == VerificationError.exit_code
    assert len(json.loads(capsys.readouterr().out)["checks"][-1]["findings"]) == 2


@pytest.mark.parametrize("name", ["train.bin", "heldout/text.bin", "documents.bin", "held_out.bin", "increment.json"])
def test_token_files_that_were_altered_are_a_finding(lab: Lab, tmp_path: Path, name: str) -> None:
    project = lab.project(f"data.folder={tmp_path / 'stores'}")
    place = project.prepare().place("v1")
    project.keep_plan()
    file = place / name

    assert verify_tokens(project.study, folder=tmp_path / "stores").findings == ()
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    check = verify_tokens(project.study, folder=tmp_path / "stores")
    assert [str(file) in finding.text for finding in check.findings] == [True]
