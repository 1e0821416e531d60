"""Gives Lightning the micro-batches of the updates `[start, end)` by position; no sampler, no loader state.

What is read is a function of position, so that threads may read it in any order: while an update runs, they read those
that come next, and a disk at the other end of a network is not felt. Updates with few tokens are read many at a time,
which takes a tenth of the time.

The Trainer needs `use_distributed_sampler=False`, `accumulate_grad_batches=accumulate` and one epoch. Micro-batch
number i of the loader belongs to update `start + i // accumulate`; a rank's slots of an update are cut into
`accumulate` pieces of `micro_batch`.

Shapes: M windows of a micro-batch, A micro-batches of an update, T = length + 1 tokens of a window, U updates.
"""

import math
from collections.abc import Generator, Iterator

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from lrpath.data.ahead import in_order
from lrpath.data.stream import TokenBatches
from lrpath.errors import ConfigError

# Of windows that lie anywhere on a disk, several at a time are asked for; each thread holds one block, and two more
# blocks wait or are trained on.
_THREADS = 3
_BLOCK_BYTES = 2 << 20
_MOST_UPDATES = 64  # more at a time save nothing, and the first update of a fit waits for them


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


class MicroBatches:
    """The micro-batches of one rank, `ids_MT` int64, in the order in which they are trained on.

    Args:
        batches: The token ids of every update.
        start: First update.
        end: First update that is not read; all before it have one batch, since the Trainer accumulates equally often.
        micro_batch: Windows of a micro-batch (M).
        accumulate: Micro-batches of an update.
        rank: This data-parallel rank.
        ranks: Data-parallel ranks.

    Raises:
        ConfigError: If the sizes do not make up an update.
        PlanError: If the stream does not describe all of `[start, end)`.
        ValueError: If the batch grows among these updates.
    """

    def __init__(
        self, batches: TokenBatches, *, start: int, end: int, micro_batch: int, accumulate: int, rank: int, ranks: int
    ) -> None:
        sequences = batches.order.batch.at(start)
        check_division(sequences=sequences, ranks=ranks, micro_batch=micro_batch, accumulate=accumulate)
        batches.order.stream.spans(start, end)
        if end > start and batches.order.batch.at(end - 1) != sequences:
            raise ValueError(
                f"the batch grows inside of the updates [{start}, {end}); read those of one batch at a time"
            )
        self._batches = batches
        self._updates = range(start, end)
        self._shape = (accumulate, micro_batch, batches.order.length + 1)
        self._slots = batches.order.rank_slots(rank, ranks, update=start)
        self._pins = torch.cuda.is_available()
        self._readers: list[Generator[Tensor, None, None]] = []

    def __len__(self) -> int:
        """Return the number of micro-batches."""
        return len(self._updates) * self._shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        """Yield the micro-batches, `[M, T]`; threads read ahead until `close`, or the last one.

        Raises:
            DataError: If a file of the store cannot be read.
        """
        at_once = max(1, min(_MOST_UPDATES, _BLOCK_BYTES // (8 * math.prod(self._shape))))
        begins = range(self._updates.start, self._updates.stop, at_once)
        blocks = [self._updates[begin - self._updates.start :][:at_once] for begin in begins]
        reader = in_order(self._read, blocks, threads=_THREADS)
        self._readers.append(reader)
        for block_UAMT in reader:
            yield from block_UAMT.flatten(0, 1)

    def _read(self, updates: range) -> Tensor:
        """Return this rank's micro-batches of some updates, `[U, A, M, T]`."""
        rows_UNT = torch.from_numpy(self._batches.rows(updates.start, updates.stop, slots=self._slots))
        block_UAMT = rows_UNT.reshape(len(updates), *self._shape)
        return block_UAMT.pin_memory() if self._pins else block_UAMT

    def close(self) -> None:
        """End the threads that read ahead."""
        while self._readers:
            self._readers.pop().close()


class PathDataModule(LightningDataModule):
    """The updates `[start, end)` of a path, for whichever data-parallel rank the Trainer gives this process.

    Args:
        batches: The token ids of every update.
        start: First update.
        end: First update that is not read.
        micro_batch: Windows of a micro-batch on a rank.
        accumulate: Micro-batches of an update; also the Trainer's `accumulate_grad_batches`.
    """

    def __init__(self, batches: TokenBatches, *, start: int, end: int, micro_batch: int, accumulate: int) -> None:
        super().__init__()
        self._batches = batches
        self._start = start
        self._end = end
        self._micro_batch = micro_batch
        self._accumulate = accumulate
        self._loaders: list[MicroBatches] = []

    def train_dataloader(self) -> MicroBatches:
        """Return the loader of this rank.

        Raises:
            ConfigError: If the sizes do not make up an update with the Trainer's number of ranks.
        """
        rank, ranks = self._data_rank()
        loader = MicroBatches(
            self._batches,
            start=self._start,
            end=self._end,
            micro_batch=self._micro_batch,
            accumulate=self._accumulate,
            rank=rank,
            ranks=ranks,
        )
        self._loaders.append(loader)
        return loader

    def close(self) -> None:
        """End the threads that read ahead, which Lightning would leave when a fit ends before the data."""
        for loader in self._loaders:
            loader.close()

    def _data_rank(self) -> tuple[int, int]:
        # Lightning keeps these for its own sampler, which is off. They are the ranks of the data-parallel mesh:
        # `global_rank` would be wrong under tensor parallelism, where several ranks read the same windows.
        parallel = None if self.trainer is None else self.trainer.distributed_sampler_kwargs
        return (0, 1) if parallel is None else (parallel["rank"], parallel["num_replicas"])
