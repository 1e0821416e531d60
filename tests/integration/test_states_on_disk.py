"""Promise 7: a state is whole or absent; an incomplete or altered one is named and never loaded."""

import io
import json
import math
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from lrpath.errors import StateError, TrainingError
from lrpath.training.callbacks.set_learning_rate import SetLearningRate
from lrpath.training.fit_evaluation import FitEvaluation
from lrpath.training.lit_module import LitCausalLM
from tests.integration.lab import Lab, losses_of, states_of, tables_of
from tests.refusals import refused

pytestmark = pytest.mark.slow


def shard_of(state: Path) -> Path:
    (shard,) = state.glob("*.safetensors")
    return shard


def flip_a_byte(state: Path) -> None:
    with shard_of(state).open("r+b") as file:
        file.seek(-5, 2)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))


def cut_the_shard(state: Path) -> None:
    shard_of(state).write_bytes(shard_of(state).read_bytes()[:-1])


def remove_the_shard(state: Path) -> None:
    shard_of(state).unlink()


def link_the_shard(state: Path) -> None:
    shard = shard_of(state)
    elsewhere = state.parents[3] / "elsewhere"
    shard.rename(elsewhere)
    shard.symlink_to(elsewhere)


def add_a_file(state: Path) -> None:
    (state / "extra.safetensors").write_bytes(b"")


def change_manifest(state: Path, field: str, value: object) -> None:
    record = json.loads((state / "state.json").read_text())
    (state / "state.json").write_text(json.dumps(record | {field: value}))


def move_the_position(state: Path) -> None:
    change_manifest(state, "position", 5)


def claim_another_path(state: Path) -> None:
    change_manifest(state, "path_id", "0123456789ab")


def claim_another_format(state: Path) -> None:
    change_manifest(state, "format", 2)


def tear_the_manifest(state: Path) -> None:
    text = (state / "state.json").read_text()
    (state / "state.json").write_text(text[: len(text) // 2])


DAMAGES: dict[Callable[[Path], None], str] = {
    flip_a_byte: r"000000004/shard.*\.safetensors was altered: its SHA-256 is not the one in state\.json",
    cut_the_shard: r"000000004/shard.*\.safetensors has [\d,]+ bytes, state\.json says [\d,]+",
    remove_the_shard: r"000000004: shard.*\.safetensors missing or not listed",
    link_the_shard: r"000000004/shard.*\.safetensors is a link, folder or device, not a file",
    add_a_file: r"000000004: extra\.safetensors missing or not listed",
    move_the_position: r"000000004 says it is state \('[0-9a-f]{12}', 5\), not \([0-9a-f]{12}, 4\)",
    claim_another_path: r"000000004 says it is state \('0123456789ab', 4\), not",
    claim_another_format: r"000000004 has state format 2; this lrpath reads 1",
    tear_the_manifest: r"000000004/state\.json is not JSON",
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_state_is_named_and_never_loaded(lab: Lab, damage: Callable[[Path], None]) -> None:
    lab.trained()
    before, tables = states_of(lab.study()), tables_of(lab.study())
    (state,) = (lab.study().folder / "paths").glob("*main*/states/000000004")
    branch = next((lab.study().folder / "paths").glob("*.v1-*"))
    shutil.rmtree(branch)
    damage(state)

    with refused(StateError):
        lab.run()
    assert not list(branch.glob("states/*"))
    shutil.rmtree(state)  # which the message advises
    lab.run()

    assert states_of(lab.study()) == before
    assert tables_of(lab.study()) == tables


def test_a_damaged_newest_state_costs_the_updates_since_the_one_before_and_the_message_says_so(lab: Lab) -> None:
    lab.trained("study=whole", "versions=3")
    lab.trained()
    (state,) = (lab.study().folder / "paths").glob("*main*/states/000000014")
    flip_a_byte(state)

    with refused(StateError) as caught:
        lab.run("versions=3")
    assert "goes on from its state at 12, and 2 updates are run again" in str(caught.value)
    shutil.rmtree(state)  # which the message advises
    updates = lab.run("versions=3")

    assert updates == 2 + 10 + 6
    assert states_of(lab.study()) == states_of(lab.study("whole"))
    assert losses_of(lab.study()) == losses_of(lab.study("whole"))


def test_a_state_that_is_named_to_go_on_from_is_whole(lab: Lab) -> None:
    lab.trained()
    for position in (12, 14):
        (state,) = (lab.study().folder / "paths").glob(f"*main*/states/{position:09d}")
        flip_a_byte(state)

    with refused(StateError) as caught:
        lab.run("versions=3")

    assert "remove" in str(caught.value)
    assert "and 000000012 and run" in str(caught.value)
    assert "from its state at 10, and 4 updates are run again" in str(caught.value)


@pytest.mark.parametrize("moment", ["shards:6", "manifest:6"])
def test_a_half_written_state_is_not_loaded_and_is_removed_by_the_next_run(lab: Lab, moment: str) -> None:
    """The sixth save is the main path's at 6: before its manifest is there, and before it is renamed into its place."""
    killed = lab.train(moments=(moment,))
    main = lab.project().plan.tree.paths[0]
    folder = lab.study().find(main.id)
    assert folder is not None
    names = [state.name for state in (folder.folder / "states").iterdir()]
    positions = folder.positions()

    updates = lab.run()

    assert killed.codes == [-9]
    assert len([name for name in names if name.startswith(".tmp-")]) == 1
    assert len(names) == 3
    assert positions == [3, 4]
    assert updates == 26 - 4 - 6
    assert sorted(state.name for state in (folder.folder / "states").iterdir()) == [
        "000000004",
        "000000010",
        "000000012",
        "000000014",
    ]


def test_a_folder_that_a_kill_of_an_earlier_version_left_without_a_manifest_is_removed(lab: Lab) -> None:
    lab.trained("paths=main", "versions=1")
    (main,) = (lab.study().folder / "paths").glob("*main*")
    shutil.copytree(main / "states/000000004", main / "states/000000006")
    (main / "states/000000006/state.json").unlink()
    (main / ".speed.csv.9b26a1f0c3d44e5f").touch()

    assert lab.run("paths=main") == 10

    assert not (main / "states/000000006").exists()
    assert not (main / ".speed.csv.9b26a1f0c3d44e5f").exists()


def test_equal_states_are_equal_bytes_and_everyone_may_read_them(lab: Lab) -> None:
    previous = os.umask(0o022)
    try:
        lab.train("study=first")
        lab.train("study=second")
    finally:
        os.umask(previous)

    first, second = (sorted((lab.folder / name).glob("paths/*/states/*/*.safetensors")) for name in ("first", "second"))
    assert len(first) == 6
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]
    files = [file for file in (lab.folder / "first").rglob("*") if file.is_file()]
    assert {oct(file.stat().st_mode & 0o777) for file in files} == {"0o644"}


def test_weights_that_are_not_finite_are_never_saved(lab: Lab) -> None:
    with refused(TrainingError, stable=False):
        lab.run("peak=1e38", "cadence.save_every=1")

    kept = states_of(lab.study())
    assert kept.keys() == {(key, position) for key, position in kept if position < 4}
    for bits in kept.values():
        assert all(np.isfinite(np.frombuffer(one, dtype=np.float32)).all() for one in bits.values())


def test_a_moment_that_is_not_finite_ends_the_run_though_the_loss_is(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil_a_moment(monkeypatch, at=5)

    with refused(TrainingError) as caught:
        lab.run("paths=main", "cadence.save_every=1")

    assert "a weight or moment at position 6 is not finite" in str(caught.value)
    assert sorted(position for _, position in states_of(lab.study())) == [4, 5]


def test_a_rewind_goes_back_from_weights_that_are_not_finite(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil_a_moment(monkeypatch, at=5)

    lab.run("paths=main", "cadence.save_every=1", "guard.policy=rewind", "guard.back=1")

    (folder,) = lab.study().folders()
    assert [(row.position, row.first, row.quantity) for row in folder.guard.rows()] == [(6, 5, "weight or moment")]
    assert max(folder.positions()) == 14


def spoil_a_moment(monkeypatch: pytest.MonkeyPatch, *, at: int) -> None:
    """Let a second moment become infinite in the update after a position, once: its weight then stands still."""
    step, spoilt = LitCausalLM.optimizer_step, []

    def spoil(module: LitCausalLM, *args: Any, **kwargs: Any) -> None:
        step(module, *args, **kwargs)
        (rate,) = [one for one in module.trainer.callbacks if isinstance(one, SetLearningRate)]  # type: ignore[attr-defined]
        if rate.run.begin + module.trainer.global_step >= at and not spoilt:
            (optimizer,) = module.trainer.optimizers
            next(iter(optimizer.state.values()))["exp_avg_sq"].view(-1)[0] = float("inf")
            spoilt.append(at)

    monkeypatch.setattr(LitCausalLM, "optimizer_step", spoil)


def test_a_rewind_goes_back_from_a_held_out_loss_that_is_not_finite(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    true, spoilt = FitEvaluation.losses, []

    def spoil(*args: Any, **kwargs: Any) -> dict[tuple[str, str], tuple[float, int]]:
        found = true(*args, **kwargs)
        spoilt.append(1)
        return {name: (math.nan, tokens) for name, (_, tokens) in found.items()} if len(spoilt) == 2 else found

    monkeypatch.setattr(FitEvaluation, "losses", spoil)  # at 4 and then at 7

    lab.run("paths=main", "guard.policy=rewind", "guard.back=2")

    (folder,) = lab.study().folders()
    assert [(row.position, row.first, row.quantity) for row in folder.guard.rows()] == [(7, 5, "held-out loss")]
    assert [row.position for row in folder.metrics.rows()] == [*range(1, 15)]
    assert sorted({row.position for row in folder.evaluation.rows()}) == [4, 7, 14]


def test_a_run_goes_on_under_other_threads_and_says_so_once(lab: Lab) -> None:
    lab.trained("paths=main", "versions=1")
    threads = torch.get_num_threads()
    try:
        said = []
        for _ in range(2):
            runner = lab.runner("strategy.threads=2")
            console = Console(file=io.StringIO(), width=200)
            replace(runner, console=console).run()
            said.append(console.file.getvalue().count("threads 1 → 2"))
    finally:
        torch.set_num_threads(threads)

    assert said == [1, 0]


def test_a_study_of_a_version_without_digests_of_rows_goes_on_and_has_them_from_then_on(lab: Lab) -> None:
    lab.trained("study=whole", "versions=3")
    lab.trained()
    for file in lab.study().folder.glob("paths/*/states/*/state.json"):
        record = json.loads(file.read_text())
        del record["tables"], record["threads"], record["sha256"]
        file.write_text(json.dumps(record, indent=1) + "\n")

    assert lab.run("versions=3") == 10 + 6

    assert states_of(lab.study()) == states_of(lab.study("whole"))
    records = [json.loads(file.read_text()) for file in lab.study().folder.glob("paths/*/states/*/state.json")]
    assert all("tables" in record for record in records)
