import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lrpath.errors import StateError
from lrpath.planning.optimizers import AdamW
from lrpath.planning.paths import StateKey
from lrpath.records.manifest import check_state
from lrpath.training.checkpoints.loading import load_state
from lrpath.training.checkpoints.saver import StateSaver
from lrpath.training.checkpoints.states import tensors_of
from lrpath.training.optimizers import build_optimizer, moments, set_learning_rate
from tests.refusals import refused

KEY = StateKey("0123456789ab", 3)
SETTINGS = AdamW(beta1=0.9, beta2=0.95, eps=1e-8, weight_decay=0.1, clip_norm=1.0)


class Tied(nn.Module):
    """A model whose head is its embedding, with a norm and a frozen weight."""

    def __init__(self, seed: int, *, width: int = 4) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.embedding = nn.Embedding(8, width, _weight=torch.randn(8, width, generator=generator))
        self.norm = nn.Parameter(torch.randn(width, generator=generator))
        self.frozen = nn.Parameter(torch.randn(2, 2, generator=generator), requires_grad=False)
        self.head = nn.Linear(width, 8, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.embedding(ids) * self.norm).square().mean()


def trained(seed: int) -> tuple[Tied, torch.optim.AdamW]:
    """Return a model and its optimizer after three updates."""
    model = Tied(seed)
    optimizer = build_optimizer(model.parameters(), settings=SETTINGS)
    for _ in range(3):
        update(model, optimizer)
    return model, optimizer


def update(model: Tied, optimizer: torch.optim.AdamW) -> None:
    optimizer.zero_grad()
    model(torch.arange(8)).backward()
    set_learning_rate(optimizer, rate=0.1, settings=SETTINGS)
    optimizer.step()


def saved(folder: Path, **facts: Any) -> tuple[Tied, torch.optim.AdamW]:
    model, optimizer = trained(seed=1)
    with StateSaver(background=False) as saver:
        saver.save(folder, key=KEY, tensors=tensors_of(model, optimizer), facts=facts)
    return model, optimizer


def test_a_loaded_state_goes_on_as_the_saved_one_does(tmp_path: Path) -> None:
    model, optimizer = saved(tmp_path / "000000003", name="main")
    other = Tied(seed=2)
    other_optimizer = build_optimizer(other.parameters(), settings=SETTINGS)

    manifest = load_state(tmp_path / "000000003", key=KEY, module=other, optimizer=other_optimizer)
    update(model, optimizer)
    update(other, other_optimizer)

    assert manifest["name"] == "main"
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)
        if one.requires_grad:
            before, after = moments(optimizer, one), moments(other_optimizer, two)
            assert all(torch.equal(before[name], after[name]) for name in ("step", "exp_avg", "exp_avg_sq"))


def test_a_state_is_written_once_for_tied_weights_and_leaves_nothing_else(tmp_path: Path) -> None:
    saved(tmp_path / "000000003")

    manifest = check_state(tmp_path / "000000003", key=KEY)

    assert [folder.name for folder in tmp_path.iterdir()] == ["000000003"]
    (size,) = (entry["bytes"] for entry in manifest["files"].values())
    floats = 3 * (8 * 4 + 4) + 2 + 2 * 2  # weights and two moments of embedding and norm, two step counts, the frozen
    assert floats * 4 < size < floats * 4 + 2_000  # and the header


def test_training_on_does_not_reach_a_state_that_was_saved_or_loaded(tmp_path: Path) -> None:
    model, optimizer = saved(tmp_path / "000000003")
    weights = model.embedding.weight.detach().clone()
    for _ in range(2):
        load_state(tmp_path / "000000003", key=KEY, module=model, optimizer=optimizer)
        assert torch.equal(model.embedding.weight, weights)
        update(model, optimizer)

    check_state(tmp_path / "000000003", key=KEY)


def test_the_weights_alone_can_be_loaded(tmp_path: Path) -> None:
    model, _ = saved(tmp_path / "000000003")
    other = Tied(seed=2)

    load_state(tmp_path / "000000003", key=KEY, module=other, optimizer=None)

    assert torch.equal(other.embedding.weight, model.embedding.weight)
    assert torch.equal(other.frozen, model.frozen)


def test_a_state_of_another_model_is_refused_and_loads_nothing(tmp_path: Path) -> None:
    saved(tmp_path / "000000003")
    wider = Tied(seed=2, width=6)
    before = wider.norm.detach().clone()

    with refused(StateError):
        load_state(tmp_path / "000000003", key=KEY, module=wider, optimizer=None)

    assert torch.equal(wider.norm, before)


def test_a_state_that_lacks_a_weight_of_the_model_is_refused(tmp_path: Path) -> None:
    saved(tmp_path / "000000003")
    other = Tied(seed=2)
    other.extra = nn.Parameter(torch.zeros(2))

    with refused(StateError):
        load_state(tmp_path / "000000003", key=KEY, module=other, optimizer=None)


def test_a_state_is_not_loaded_under_another_key(tmp_path: Path) -> None:
    saved(tmp_path / "000000003")

    with refused(StateError):
        load_state(tmp_path / "000000003", key=StateKey(KEY.path_id, 4), module=Tied(seed=2), optimizer=None)


def test_a_state_is_refused_whichever_of_its_bytes_was_altered_before_it_is_used(tmp_path: Path) -> None:
    saved(tmp_path / "000000003")
    (file,) = (tmp_path / "000000003").glob("*.safetensors")
    data = file.read_bytes()
    model, optimizer = trained(seed=2)

    for at in [*range(0, 400, 7), *range(400, len(data), 211), len(data) - 1]:
        file.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(StateError) as expected:
            check_state(file.parent, key=KEY)
        with pytest.raises(StateError) as found:
            load_state(file.parent, key=KEY, module=model, optimizer=optimizer)
        assert str(found.value) == str(expected.value)

    assert not [thread for thread in threading.enumerate() if thread.name.startswith("digest")]
