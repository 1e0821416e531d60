"""Gives Lightning the micro-batches of the updates `[start, end)` by position; no sampler, no loader state.

The Trainer needs `use_distributed_sampler=False`, `accumulate_grad_batches=accumulate` and one epoch. Micro-batch
number i of the loader belongs to update `start + i // accumulate`; a rank's slots of an update are cut into
`accumulate` pieces of `micro_batch`.

Shapes: M windows of a micro-batch, T = length + 1 tokens of a window.
"""

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lrpath.data.stream import TokenBatches
from lrpath.errors import ConfigError


def check_division(*, sequences: int, ranks: int, micro_batch: int, accumulate: int) -> None:
    """Check that ranks, micro-batches and accumulation make up an update.

    Args:
        sequences: Windows of an update, over all ranks.
        ranks: Data-parallel ranks.
        micro_batch: Windows of a micro-batch.
        accumulate: Micro-batches of an update on a rank.

    Raises:
        ConfigError: If `ranks × micro_batch × accumulate` is not `sequences`; the message says what would work.
    """
    product = ranks * micro_batch * accumulate
    if min(ranks, micro_batch, accumulate) >= 1 and product == sequences:
        return
    if ranks < 1 or sequences % ranks:
        fitting = [number for number in range(1, sequences + 1) if sequences % number == 0]
        advice = f"with {sequences} sequences the number of ranks must be one of {', '.join(map(str, fitting))}"
    else:
        share = sequences // ranks
        pairs = [f"{size} × {share // size}" for size in range(1, share + 1) if share % size == 0]
        advice = f"with {ranks} ranks, micro_batch × accumulate may be {', '.join(pairs)}"
    raise ConfigError(
        f"{ranks} ranks × micro_batch {micro_batch} × accumulate {accumulate} = {product}, "
        f"and an update has {sequences} sequences; {advice}",
        field="strategy.micro_batch",
        value=micro_batch,
    )


class MicroBatches(Dataset[Tensor]):
    """The micro-batches of one rank: item i is `ids_MT` int64, a pure function of i.

    Args:
        batches: The token ids of every update.
        start: First update.
        end: First update that is not read.
        micro_batch: Windows of a micro-batch (M).
        accumulate: Micro-batches of an update.
        rank: This data-parallel rank.
        ranks: Data-parallel ranks.

    Raises:
        ConfigError: If the sizes do not make up an update.
        PlanError: If the stream does not describe all of `[start, end)`.
    """

    def __init__(
        self, batches: TokenBatches, *, start: int, end: int, micro_batch: int, accumulate: int, rank: int, ranks: int
    ) -> None:
        check_division(sequences=batches.order.sequences, ranks=ranks, micro_batch=micro_batch, accumulate=accumulate)
        batches.order.stream.spans(start, end)
        self._batches = batches
        self._start = start
        self._end = end
        self._micro_batch = micro_batch
        self._accumulate = accumulate
        self._slots = batches.order.rank_slots(rank, ranks)

    def __len__(self) -> int:
        """Return the number of micro-batches."""
        return (self._end - self._start) * self._accumulate

    def __getitem__(self, index: int) -> Tensor:
        """Return micro-batch `index`, `[M, T]`."""
        if not 0 <= index < len(self):
            raise IndexError(f"micro-batch {index} must lie in [0, {len(self)})")
        update, piece = divmod(index, self._accumulate)
        first, ranks = self._slots.start, self._slots.step
        begin = first + piece * self._micro_batch * ranks
        slots = slice(begin, begin + self._micro_batch * ranks, ranks)
        return torch.from_numpy(self._batches.rows(self._start + update, slots=slots))


class PathDataModule(LightningDataModule):
    """The updates `[start, end)` of a path, for whichever data-parallel rank the Trainer gives this process.

    Args:
        batches: The token ids of every update.
        start: First update.
        end: First update that is not read.
        micro_batch: Windows of a micro-batch on a rank.
        accumulate: Micro-batches of an update; also the Trainer's `accumulate_grad_batches`.
        workers: Processes that read ahead; 0 reads in the training process, which a memory map makes cheap.
    """

    def __init__(
        self, batches: TokenBatches, *, start: int, end: int, micro_batch: int, accumulate: int, workers: int = 0
    ) -> None:
        super().__init__()
        self._batches = batches
        self._start = start
        self._end = end
        self._micro_batch = micro_batch
        self._accumulate = accumulate
        self._workers = workers

    def train_dataloader(self) -> DataLoader[Tensor]:
        """Return the loader of this rank.

        Raises:
            ConfigError: If the sizes do not make up an update with the Trainer's number of ranks.
        """
        rank, ranks = self._data_rank()
        micro_batches = MicroBatches(
            self._batches,
            start=self._start,
            end=self._end,
            micro_batch=self._micro_batch,
            accumulate=self._accumulate,
            rank=rank,
            ranks=ranks,
        )
        return DataLoader(
            micro_batches,
            batch_size=None,  # an item is a whole micro-batch already
            shuffle=False,
            num_workers=self._workers,
            prefetch_factor=4 if self._workers else None,
            pin_memory=torch.cuda.is_available(),
        )

    def _data_rank(self) -> tuple[int, int]:
        # Lightning keeps these for its own sampler, which is off. They are the ranks of the data-parallel mesh:
        # `global_rank` would be wrong under tensor parallelism, where several ranks read the same windows.
        parallel = None if self.trainer is None else self.trainer.distributed_sampler_kwargs
        return (0, 1) if parallel is None else (parallel["rank"], parallel["num_replicas"])
