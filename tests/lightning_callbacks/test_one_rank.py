"""The two callbacks in a LightningModule with SGD that knows nothing of lrpath, in one process."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch

from lrpath.errors import ConfigError, LrpathError, MismatchError, StateError, TrainingError
from lrpath.lightning import PathRun, plan_module
from lrpath.records.study import Study
from tests.lightning_callbacks.plain import BATCH, Dying, Net, fit, plan, run
from tests.refusals import refused


def bits(folder: Path) -> dict[str, dict[str, str]]:
    """Return the digests of the files of every state of a study, by path and position."""
    found = {}
    for manifest in sorted(folder.glob("paths/*/states/*/state.json")):
        files = json.loads(manifest.read_text())["files"]
        found[f"{manifest.parents[2].name} {manifest.parent.name}"] = {
            name: one["sha256"] for name, one in files.items()
        }
    return found


def train(folder: Path, *paths: str, **options: Any) -> list[Any]:
    return [fit(run(folder, path), **options) for path in paths]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a study whose three paths were trained without disturbance."""
    folder = tmp_path_factory.mktemp("whole")
    train(folder, "main", "switching.v1", "switching.v2")
    return folder


def test_every_update_runs_at_the_plans_rate_and_groups_keep_their_ratios(tmp_path: Path) -> None:
    main, branch = train(tmp_path, "main", "v1")
    schedules = [path.schedule for path in plan().tree.paths]

    expected = [[schedules[0].rate(k) for k in range(14)], [schedules[1].rate(k) for k in range(4, 10)]]
    assert [[body for body, _ in module.rates] for module in (main, branch)] == expected
    assert all(head == body * 0.1 for module in (main, branch) for body, head in module.rates)


def test_states_are_kept_at_forks_releases_and_ends_of_increments_and_nowhere_else(whole: Path) -> None:
    positions = {folder.folder.name.split("-")[0]: folder.positions() for folder in Study(whole).folders()}

    assert positions == {"switching.main": [4, 10, 14], "switching.v1": [10], "switching.v2": [20]}
    runs = Study(whole).ledger.runs()
    assert [(one.begin, one.end, one.outcome, one.repeated) for one in runs] == [
        (0, 14, "done", 0),
        (4, 10, "done", 0),
        (14, 20, "done", 0),
    ]


def test_a_path_that_was_killed_and_opened_again_ends_at_equal_bits(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        fit(run(tmp_path, "main", save_every=3), Dying(8))
    resumed = run(tmp_path, "main")
    begin = resumed.begin
    fit(resumed)
    train(tmp_path, "switching.v1", "switching.v2")

    assert begin == 6
    assert {name: one for name, one in bits(tmp_path).items() if name in bits(whole)} == bits(whole)
    assert [one.repeated for one in Study(tmp_path).ledger.runs()] == [
        0,
        1,
        0,
        0,
    ]  # the fit died before it counted the last


def test_micro_batches_are_no_updates(tmp_path: Path) -> None:
    (module,) = train(tmp_path, "main", accumulate=2)

    assert [one for one, _ in module.rates] == [plan().tree.paths[0].schedule.rate(k) for k in range(14)]
    assert run(tmp_path, "main").updates == 0


def test_a_finished_path_loads_its_release_and_runs_nothing(whole: Path) -> None:
    finished = run(whole, "switching.v2")
    module = fit(finished)

    assert finished.updates == 0
    assert module.rates == []
    assert not torch.equal(module.head.weight, Net().head.weight)


def test_a_branch_waits_for_its_fork(tmp_path: Path) -> None:
    with refused(StateError, field="path"):
        run(tmp_path, "v1")


class Scheduled(Net):
    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 5)]


class Sneaky(Net):
    def configure_gradient_clipping(self, optimizer: Any, *_: Any, **__: Any) -> None:
        optimizer.param_groups[0]["lr"] = 0.3


class Rateless(Net):
    def configure_optimizers(self) -> Any:
        groups = [{"params": self.body.parameters()}, {"params": self.head.parameters(), "lr": 0.1}]
        return torch.optim.SGD(groups, lr=0.0)


class Exploding(Net):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return super().training_step(batch, batch_idx) * (float("inf") if batch_idx == 2 else 1.0)


class Extra(Net):
    def get_extra_state(self) -> object:
        return {"anything": self}


class History(Net):
    def configure_optimizers(self) -> Any:
        return torch.optim.LBFGS(self.parameters(), lr=1.0, max_iter=1)


@pytest.mark.parametrize(
    ("error", "field", "module"),
    [
        (ConfigError, "lr_scheduler", Scheduled),
        (TrainingError, None, Sneaky),
        (ConfigError, "lr", Rateless),
        (TrainingError, None, Exploding),
        (ConfigError, "get_extra_state", Extra),
        (ConfigError, "optimizer", History),
    ],
)
def test_a_module_that_would_fail_silently_is_refused(
    tmp_path: Path, error: type[LrpathError], field: str | None, module: type[Net]
) -> None:
    with refused(error, field=field):
        fit(run(tmp_path, "main"), module=module())

    assert bits(tmp_path) == {}
    fit(run(tmp_path, "main"))  # the path is free again


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("max_steps", {"max_steps": 13}),
        ("max_steps", {"max_steps": -1, "max_epochs": 1, "limit_train_batches": 13}),
        ("min_steps", {"max_steps": 20, "min_steps": 20}),
    ],
)
def test_a_trainer_that_is_shorter_or_longer_than_the_path_is_refused(
    tmp_path: Path, field: str, options: dict[str, Any]
) -> None:
    with refused(ConfigError, field=field):
        fit(run(tmp_path, "main"), **options)


def test_a_trainer_without_an_end_stops_where_the_path_ends(tmp_path: Path) -> None:
    module = fit(run(tmp_path, "main"), max_steps=-1)

    assert len(module.rates) == 14


def test_a_data_loader_that_starts_over_is_found(tmp_path: Path) -> None:
    train(tmp_path, "main")

    with refused(MismatchError, field="check_batches"):
        fit(run(tmp_path, "v1"), begin=0)


def test_a_branch_reads_what_the_main_path_has_read_at_the_fork(tmp_path: Path) -> None:
    train(tmp_path, "main")

    with refused(MismatchError, field="check_batches"):
        fit(run(tmp_path, "v1"), begin=5)


def test_a_state_of_another_path_is_refused_by_its_id(tmp_path: Path) -> None:
    train(tmp_path, "main")
    folder = Study(tmp_path).folders()[0]
    folder.state(4).rename(folder.state(5))
    folder.state(10).rename(folder.state(4))

    with refused(StateError):
        fit(run(tmp_path, "v1"))


def test_another_description_is_another_path(tmp_path: Path) -> None:
    train(tmp_path, "main")

    with refused(StateError, field="path"):
        PathRun.open(plan(optimizer="adam"), "v1", folder=tmp_path)


@pytest.mark.parametrize(("sizes", "replay"), [({"v1": 10, "v2": 10}, 0.5), ({"v1": 10, "v2": 12}, None)])
def test_a_state_that_has_read_other_data_than_the_plan_says_is_refused(
    whole: Path, sizes: dict[str, int], replay: float | None
) -> None:
    # The id of the main path holds what it begins with, v1, in all of these plans.
    describes = {"optimizer": "sgd", "data": "sums"}
    switching = replace(plan().paradigms["switching"], replay=replay)
    paradigms = {"switching": switching}
    other = plan_module("net", describes=describes, increments=sizes, paradigms=paradigms, batch=BATCH, seed=1)
    assert other.tree.paths[0].id == plan().tree.paths[0].id

    with refused(MismatchError, field="increments", value="switching.main"):
        PathRun.open(other, "main", folder=whole)

    assert PathRun.open(other, "v1", folder=whole).updates == 0


def test_a_version_that_arrives_later_goes_on_from_what_there_is(whole: Path) -> None:
    describes, sizes = {"optimizer": "sgd", "data": "sums"}, {"v1": 10, "v2": 10, "v3": 10}
    longer = plan_module("net", describes=describes, increments=sizes, paradigms=plan().paradigms, batch=BATCH, seed=1)

    assert PathRun.open(longer, "main", folder=whole).begin == 14


class Undecayed(Net):
    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        optimizer.param_groups[1]["weight_decay"] = 0.0
        return optimizer


def test_a_state_is_not_loaded_into_an_optimizer_of_other_settings(tmp_path: Path) -> None:
    train(tmp_path, "main")

    with refused(MismatchError):
        fit(run(tmp_path, "v1"), module=Undecayed())


def test_a_trainer_is_used_once_and_without_a_checkpoint_of_lightning(tmp_path: Path) -> None:
    path = run(tmp_path, "main")
    from lrpath.lightning import PathForks

    trainer = lightning.Trainer(accelerator="cpu", callbacks=[PathForks(path)], logger=False, max_steps=14)
    trainer.fit_loop.epoch_loop.automatic_optimization.optim_progress.optimizer.step.total.completed = 3

    with refused(ConfigError, field="ckpt_path"):
        trainer.fit(Net(), torch.utils.data.DataLoader([(torch.zeros(6), torch.zeros(()))] * 64, batch_size=8))


class Pair(Net):
    """Two optimizers under manual optimization; the second steps every `every` batches."""

    def __init__(self, every: int) -> None:
        super().__init__()
        self.automatic_optimization, self.every = False, every

    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD(self.body.parameters(), lr=1.0), torch.optim.AdamW(self.head.parameters(), lr=0.5)]

    def training_step(self, batch: Any, batch_idx: int) -> None:
        first, second = self.optimizers()
        loss = super().training_step(batch, batch_idx)
        self.manual_backward(loss)
        first.step()
        if batch_idx % self.every == 0:
            second.step()
        self.rates.append(tuple(one.param_groups[0]["lr"] for one in (first, second)))
        first.zero_grad()
        second.zero_grad()


def test_two_optimizers_step_together(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        fit(run(tmp_path / "killed", "main"), Dying(2 * 12), module=Pair(1), max_steps=28)
    resumed = run(tmp_path / "killed", "main")
    module = fit(resumed, module=Pair(1), max_steps=8)
    fit(run(tmp_path / "straight", "main"), module=Pair(1), max_steps=28)

    assert resumed.begin == 10
    assert module.rates == [(0.05, 0.025)] * 4
    assert bits(tmp_path / "killed") == bits(tmp_path / "straight")


def test_optimizers_that_step_unequally_often_have_no_position(tmp_path: Path) -> None:
    with refused(TrainingError):
        fit(run(tmp_path, "main"), module=Pair(2), max_steps=28)


def test_a_step_that_mixed_precision_skips_is_an_update_and_is_noted(tmp_path: Path) -> None:
    from lightning.pytorch.plugins.precision import MixedPrecision

    class Half(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return super().training_step(batch, batch_idx) * (float("inf") if batch_idx == 2 else 1.0)

    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    fit(run(tmp_path, "main"), module=Half(), plugins=[MixedPrecision("16-mixed", "cpu", scaler)])
    folder = Study(tmp_path).folders()[0]
    manifest = json.loads((folder.state(14) / "state.json").read_text())

    assert folder.positions() == [4, 10, 14]
    assert manifest["module"]["skipped"] == [3]
    assert manifest["module"]["scaler"]["scale"] == 2.0


def test_an_altered_state_is_never_loaded(tmp_path: Path) -> None:
    train(tmp_path, "main")
    (file,) = Study(tmp_path).folders()[0].state(4).glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-1] + b"!")

    with refused(StateError):
        fit(run(tmp_path, "v1"))


def test_a_name_of_several_paths_is_refused(tmp_path: Path) -> None:
    with refused(StateError, field="path"):
        run(tmp_path, "switching")


class Averaging(lightning.Callback):
    """A callback with a state."""

    def state_dict(self) -> dict[str, Any]:
        return {"average": 1.0}


def test_a_callback_whose_state_is_not_saved_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr("lrpath.lightning.path_forks.rank_zero_warn", told.append)

    fit(run(tmp_path, "main"), Averaging())

    assert [text.split()[0] for text in told] == ["Averaging"]


def test_a_path_that_draws_on_several_increments_says_that_the_loader_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr("lrpath.lightning.path_forks.rank_zero_warn", told.append)
    one = plan()
    replayed = plan_module(
        "net",
        describes={"data": "sums"},
        increments={"v1": 10, "v2": 10},
        paradigms={"switching": replace(one.paradigms["switching"], replay=0.5)},
        batch=BATCH,
        seed=1,
    )

    fit(PathRun.open(replayed, "main", folder=tmp_path))

    (text,) = told
    assert "50% of v2, 50% of v1" in text
