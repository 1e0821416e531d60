import threading
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from numpy.typing import NDArray

from lrpath.data.datamodule import MicroBatches, PathDataModule, check_division
from lrpath.data.store import TokenStore
from lrpath.data.stream import TokenBatches
from lrpath.errors import ConfigError, DataError, PlanError
from lrpath.planning.streams import Increment, union
from tests.refusals import refused


@pytest.fixture
def batches(make_store: Callable[..., TokenStore]) -> TokenBatches:
    increments = tuple(Increment(version=f"v{n}", updates=5) for n in (1, 2))
    return TokenBatches.of(make_store(1000, 1000), stream=union(increments), sequences=8, length=8, seed=0)


@pytest.mark.parametrize(
    ("micro_batch", "accumulate", "ranks"), [(8, 1, 1), (2, 4, 1), (2, 2, 2), (1, 2, 4), (1, 1, 8)]
)
def test_the_micro_batches_of_all_ranks_make_up_the_update(
    batches: TokenBatches, micro_batch: int, accumulate: int, ranks: int
) -> None:
    sizes = {"micro_batch": micro_batch, "accumulate": accumulate, "ranks": ranks}
    for update in (3, 4):
        rebuilt = torch.empty((8, 9), dtype=torch.int64)
        for rank in range(ranks):
            mine = list(MicroBatches(batches, start=3, end=5, rank=rank, **sizes))
            pieces = mine[(update - 3) * accumulate :][:accumulate]
            assert {tuple(piece.shape) for piece in pieces} == {(micro_batch, 9)}
            rebuilt[rank::ranks] = torch.cat(pieces)

        assert torch.equal(rebuilt, torch.from_numpy(batches.batch(update)))


def test_the_loader_has_the_updates_asked_for_and_no_more(batches: TokenBatches) -> None:
    micro_batches = MicroBatches(batches, start=3, end=10, micro_batch=4, accumulate=2, rank=0, ranks=1)

    assert len(micro_batches) == len(list(micro_batches)) == 14


@pytest.mark.parametrize(("block_bytes", "threads"), [(1, 1), (1, 4), (8 * 8 * 9 * 3, 2), (1 << 20, 3)])
def test_micro_batches_are_the_same_whichever_thread_reads_them(
    batches: TokenBatches, monkeypatch: pytest.MonkeyPatch, block_bytes: int, threads: int
) -> None:
    monkeypatch.setattr("lrpath.data.datamodule._BLOCK_BYTES", block_bytes)
    monkeypatch.setattr("lrpath.data.datamodule._THREADS", threads)

    read = list(MicroBatches(batches, start=1, end=10, micro_batch=4, accumulate=2, rank=0, ranks=1))

    expected = [torch.from_numpy(batches.batch(update)) for update in range(1, 10)]
    assert torch.equal(torch.cat(read), torch.cat(expected))


def test_the_next_updates_are_read_while_one_runs_and_no_thread_is_left(
    batches: TokenBatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lrpath.data.datamodule._BLOCK_BYTES", 1)
    read, later = set[int](), threading.Event()
    rows = TokenBatches.rows

    def recorded(self: TokenBatches, begin: int, end: int, **slots: slice) -> NDArray[np.int64]:
        read.add(begin)
        if len(read) == 4:
            later.set()
        return rows(self, begin, end, **slots)

    monkeypatch.setattr(TokenBatches, "rows", recorded)
    loader = MicroBatches(batches, start=0, end=10, micro_batch=8, accumulate=1, rank=0, ranks=1)

    first = next(iter(loader))
    assert later.wait(60)
    loader.close()

    assert torch.equal(first, torch.from_numpy(batches.batch(0)))
    assert read >= {0, 1, 2, 3}
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]


@pytest.mark.parametrize("damage", ["removed", "cut", "a folder"])
def test_a_file_that_cannot_be_read_any_more_is_refused_where_its_windows_come(
    batches: TokenBatches, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    monkeypatch.setattr("lrpath.data.datamodule._BLOCK_BYTES", 1)
    loader = MicroBatches(batches, start=0, end=10, micro_batch=8, accumulate=1, rank=0, ranks=1)
    file = batches.store.place("v2") / "train.bin"
    data = file.read_bytes()
    file.unlink()
    if damage == "cut":
        file.write_bytes(data[:200])
    elif damage == "a folder":
        file.mkdir()

    with refused(DataError):
        list(loader)

    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]


def test_updates_beyond_the_stream_are_refused_before_the_first_is_read(batches: TokenBatches) -> None:
    with refused(PlanError):
        MicroBatches(batches, start=3, end=11, micro_batch=8, accumulate=1, rank=0, ranks=1)


@pytest.mark.parametrize(
    ("ranks", "micro_batch", "accumulate", "advice"),
    [
        (
            2,
            4,
            2,
            "= 16, and an update has 8 sequences; with 2 ranks, micro_batch × accumulate may be 1 × 4, 2 × 2, 4 × 1",
        ),
        (3, 1, 1, "with 8 sequences the number of ranks must be one of 1, 2, 4, 8"),
        (1, 0, 8, "micro_batch × accumulate may be 1 × 8"),
        (1, -2, -4, "micro_batch × accumulate may be 1 × 8"),
    ],
)
def test_sizes_that_do_not_make_up_an_update_are_refused(
    ranks: int, micro_batch: int, accumulate: int, advice: str
) -> None:
    with refused(ConfigError):
        check_division(sequences=8, ranks=ranks, micro_batch=micro_batch, accumulate=accumulate)


def test_the_rank_is_the_data_parallel_one_of_the_trainer(batches: TokenBatches) -> None:
    module = PathDataModule(batches, start=0, end=2, micro_batch=2, accumulate=1)
    module.trainer = SimpleNamespace(distributed_sampler_kwargs={"num_replicas": 4, "rank": 3})

    first = next(iter(module.train_dataloader()))

    assert torch.equal(first, torch.from_numpy(batches.batch(0, rank=3, ranks=4)))


class Recorder(LightningModule):
    """Keeps the micro-batches it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[torch.Tensor] = []

    def training_step(self, ids_MT: torch.Tensor, index: int) -> torch.Tensor:
        self.seen.append(ids_MT.clone())
        return self.weight * index

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.slow
# Lightning 2.6 asks torch 2.13 for a class that torch is renaming.
@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")
def test_a_trainer_is_given_every_update_once_and_in_order(batches: TokenBatches) -> None:
    recorder = Recorder()
    trainer = Trainer(
        max_epochs=1, accumulate_grad_batches=2, use_distributed_sampler=False, accelerator="cpu", devices=1,
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip

    trainer.fit(recorder, PathDataModule(batches, start=2, end=5, micro_batch=4, accumulate=2))

    assert trainer.global_step == 3
    expected = torch.cat([torch.from_numpy(batches.batch(update)) for update in (2, 3, 4)])
    assert torch.equal(torch.cat(recorder.seen), expected)
