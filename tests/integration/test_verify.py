"""A study that was trained is as it claims, its forks run again give the same bits, and damage to it is found."""

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from lrpath import entry, verify
from lrpath.analysis.verify.study import verify_study
from lrpath.records.files import digest_file, read_json, write_json
from lrpath.records.manifest import seal_manifest
from lrpath.records.path_folder import PathFolder
from lrpath.records.study import Study
from tests.integration.lab import Lab, call_on_ranks

pytestmark = pytest.mark.slow

PAIR = ("batch.sequences_per_update=2", "strategy.micro_batch=1")


def part(lab: Lab, name: str) -> PathFolder:
    """Return the folder of a path by its name."""
    (folder,) = (lab.study().folder / "paths").glob(f"path_switching.{name}-*")
    return PathFolder(folder)


def files_of(study: Study) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in study.folder.rglob("*") if file.is_file()}


def edit(file: Path, before: str, after: str) -> None:
    """Replace the first match of a pattern in a file."""
    text, count = re.subn(before, after, file.read_text(), count=1, flags=re.MULTILINE)
    assert count == 1
    file.write_text(text)


@pytest.fixture
def verified(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Return a function that verifies the small study and returns exit code and text."""

    def run(*changes: str) -> tuple[int, str]:
        overrides = [word for word in lab.overrides(*changes) if not word.startswith("null_fork=")]
        asked = [word for word in changes if word.startswith("null_fork=")]
        monkeypatch.setattr(sys, "argv", ["lrpath.verify", *overrides, *asked])
        code = 0
        try:
            entry.run(verify.verify, config_name="verify")
        except SystemExit as end:
            code = int(end.code or 0)
        return code, capsys.readouterr().out

    return run


def flip_a_byte(place: Path) -> None:
    (shard,) = place.glob("*.safetensors")
    content = bytearray(shard.read_bytes())
    content[-5] ^= 1
    shard.write_bytes(content)


def nudge(place: Path, tensor: str) -> None:
    """Change one number of a state by its last bit and make the manifest fit."""
    (shard,) = place.glob("*.safetensors")
    tensors = load_file(shard)
    flat = tensors[tensor].view(-1)
    flat[0] = flat[0].nextafter(flat[0] + 1)
    save_file(tensors, shard)
    manifest = read_json(place / "state.json")
    manifest["files"][shard.name] = {"bytes": shard.stat().st_size, "sha256": digest_file(shard)}
    write_json(place / "state.json", seal_manifest(manifest))


def test_a_trained_study_is_as_it_claims_and_its_damages_are_found(
    lab: Lab, verified: Callable[..., tuple[int, str]]
) -> None:
    lab.run("paradigm=[path_switching,continual]", "cadence.save_every=100")
    before = files_of(lab.study())
    weights = "model.lm.model.norm.weight"

    code, text = verified("paradigm=[path_switching,continual]", "null_fork=8")

    assert code == 0, text
    assert text.endswith("everything is as it should be\n")
    assert "  path_switching.main from 4: 8 updates and the state at 10 are equal\n" in text
    assert (
        "  path_switching.v2 from 14, which its parent has not passed: 6 updates and the state at 20 are equal\n"
        in text
    )
    assert "  continual.v2 from 10, which its parent has not passed: 8 updates are equal\n" in text
    assert files_of(lab.study()) == before
    assert [file.name for file in lab.folder.iterdir() if "null_fork" in file.name] == []

    def text_after(damage: Callable[[], object], *asked: str) -> str:
        damage()
        code, text = verified("paradigm=[path_switching]", *asked)
        shutil.rmtree(lab.study().folder)
        for file, content in before.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        assert code == 5, text
        return text

    def found_after(damage: Callable[[], object], *asked: str) -> list[str]:
        return text_after(damage, *asked).split("\nwrong\n")[1].split("\n\n")[0].splitlines()

    rows, ledger = part(lab, "v1").metrics.file, lab.study().ledger.file
    (first,) = found_after(lambda: edit(rows, r"^5,([^,]*),[^,]*", r"5,\1,0.01"))
    assert "rows: path_switching.v1: the row at 5, its first update, has lr 0.01, the plan says" in first
    (flipped,) = found_after(lambda: flip_a_byte(part(lab, "main").state(4)))
    assert re.search("states: .*000000004.* was altered: its SHA-256 is not the one in state.json", flipped)
    (lost,) = found_after(lambda: edit(ledger, r"^.*path_switching.v2.*\n", ""))
    assert "ledger: path_switching.v2: 6 updates from 14 to 20 are in no run of the ledger" in lost

    def nudge_what_two_ranks_made() -> None:
        nudge(part(lab, "main").state(4), weights)
        text = ledger.read_text().replace('"ranks": 1', '"ranks": 2')
        ledger.write_text(re.sub(', "sha256": "[0-9a-f]+"', "", text))  # as an earlier version wrote it

    begin = r"null forks: path_switching.main from 4: (loss|grad_norm) at \d is .*"
    (moved,) = found_after(lambda: nudge(part(lab, "main").state(4), weights), "null_fork=3")
    assert re.search(begin + "so bits should be equal", moved)
    (other,) = found_after(nudge_what_two_ranks_made, "null_fork=3")
    assert re.search(begin + "it was made on 2 ranks of cpu, where sums run in another order", other)
    later, branch = found_after(lambda: nudge(part(lab, "main").state(14), weights), "null_fork=10")
    assert "main from 4: rows are equal, but model.lm.model.norm.weight in the state at 14 differs by up to" in later
    assert re.search("v2 from 14: (loss|grad_norm) at 1[5-9] is", branch)
    (_, damaged) = found_after(lambda: flip_a_byte(part(lab, "main").state(4)), "null_fork=1")
    assert "null forks: path_switching.main from 4: cannot be run again: " in damaged
    text = text_after(lambda: part(lab, "main").remove_state(14), "null_fork=1")
    assert "  path_switching.main from 4: 1 updates are equal\n" in text
    assert "the fork of path_switching.main at 14 was not run again: its state is not on disk" in text


def test_a_configuration_that_the_study_was_not_trained_with_is_refused(
    lab: Lab, verified: Callable[..., tuple[int, str]]
) -> None:
    project = lab.project()
    project.prepare()
    project.keep_plan()

    code, text = verified("seed=5", "null_fork=1")

    assert (code, text) == (2, "")


def test_forks_are_run_again_on_several_ranks(lab: Lab) -> None:
    lab.run(*PAIR, "cadence.save_every=100")
    checks = verify_study(lab.study())
    before = files_of(lab.study())

    words = ("-m", "lrpath.verify", *lab.overrides(*PAIR, "strategy=ddp"), "null_fork=6")
    ended = call_on_ranks(*words, ranks=2, folder=lab.folder)

    assert not any(check.findings for check in checks)
    assert ended.code == 0, ended.err
    assert "run again on 2 ranks of cpu" in ended.out
    assert "  path_switching.main from 4: 6 updates and the state at 10 are equal\n" in ended.out
    assert (
        "  path_switching.v2 from 14, which its parent has not passed: 6 updates and the state at 20 are equal\n"
        in ended.out
    )
    assert files_of(lab.study()) == before
