"""The ranks of one run: who this process is, what rank 0 decides for all, and how an error of one ends all.

Three process groups are made, once a run. The default one carries weights and gradients over the device's backend; a
rank that waits in it longer than the timeout ends the run. The second carries decisions over gloo, without a limit that
a long preparation of data could reach: it ends when a process of it does. The third is like the second, for the threads
that write states beside the updates: what the two threads of a rank say must not get mixed.
"""

import contextlib
import gc
import os
import pickle
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from lrpath.errors import ConfigError, TrainingError

Result = TypeVar("Result")

_PATIENCE = timedelta(days=30)


class Ranks:
    """The processes that make updates together; one process alone needs none of this and pays nothing for it.

    Args:
        rank: Number of this process.
        count: Number of processes.
        local_rank: Number of this process on its node.
        local_count: Processes on this node.
        launched: Whether torchrun started this process, be it the only one.

    Attributes:
        background: The same processes, for the thread of each that works beside its updates.
    """

    def __init__(
        self, *, rank: int = 0, count: int = 1, local_rank: int = 0, local_count: int = 1, launched: bool = False
    ) -> None:
        self.rank = rank
        self.count = count
        self.local_rank = local_rank
        self.local_count = local_count
        self.launched = launched
        self.control: dist.ProcessGroup | None = None
        self.background = self
        self._deciding = False
        self._mesh: DeviceMesh | None = None

    @classmethod
    def from_environment(cls) -> "Ranks":
        """Return what torchrun says of this process; without torchrun, one process alone.

        Raises:
            ConfigError: If nodes run different numbers of processes, or a variable is no number.
        """
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        texts = {name: os.environ.get(name, "") for name in names}
        if not all(texts.values()) and texts["WORLD_SIZE"] in ("", "1"):
            return cls()
        if not all(text.isdecimal() for text in texts.values()):
            found = ", ".join(f"{name}={text}" for name, text in texts.items())
            raise ConfigError(f"{found} must all be whole numbers, as torchrun sets them; start this with torchrun")
        rank, count, local_rank, local_count = (int(text) for text in texts.values())
        if count % max(local_count, 1):
            raise ConfigError(
                f"{count} ranks in all, {local_count} on this node: every node must run as many; give every torchrun "
                "the same --nproc-per-node"
            )
        return cls(rank=rank, count=count, local_rank=local_rank, local_count=local_count, launched=True)

    @property
    def is_first(self) -> bool:
        """Whether this is the process that decides, and writes what is written once."""
        return self.rank == 0

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return self.count // self.local_count

    @contextlib.contextmanager
    def joined(self, device: torch.device, *, timeout: timedelta | None) -> Iterator[None]:
        """Hold the process groups while the block runs.

        Args:
            device: The device of this process; a GPU talks over nccl, a CPU over gloo.
            timeout: How long a rank waits for the others in an update; None for torch's choice.

        Raises:
            TrainingError: If another rank is gone, or did not come within the timeout.
        """
        backend = "nccl" if device.type == "cuda" else "gloo"
        if device.type == "cuda":
            torch.cuda.set_device(device)
        try:
            dist.init_process_group(backend, timeout=timeout)
            self.control = dist.new_group(backend="gloo", timeout=_PATIENCE)
            self.background = self._with_group(dist.new_group(backend="gloo", timeout=_PATIENCE))
            yield
        except RuntimeError as error:  # gloo's errors have no class of their own
            if not (isinstance(error, dist.DistError) or "gloo" in str(error)):
                raise
            reason = str(error).strip().splitlines()[0]
            raise TrainingError(
                f"rank {self.rank} of {self.count} lost the others ({reason}); the rank that failed first says why. "
                "All saved states are whole: run the same command again to go on from the last of them"
            ) from error
        finally:
            self._leave()

    def _with_group(self, group: dist.ProcessGroup) -> "Ranks":
        """Return the same processes for another thread, which decides apart from this one."""
        others = Ranks(
            rank=self.rank,
            count=self.count,
            local_rank=self.local_rank,
            local_count=self.local_count,
            launched=self.launched,
        )
        others.control = group
        return others

    def _leave(self) -> None:
        self.control = None
        self.background = self
        self._mesh = None
        # What still holds a group (a sharded module in a cycle, a mesh) ends its threads at the interpreter's exit, and
        # gloo then aborts the process: seen in 4 of 18 runs without the collection.
        gc.collect()
        if dist.is_initialized():
            dist.destroy_process_group()

    def mesh(self, device: torch.device, *, shard_ranks: int) -> DeviceMesh:
        """Return the mesh on which weights are sharded: one dimension, or replicas × shards; made once a run."""
        if self._mesh is None:
            whole = shard_ranks == self.count
            sizes = (self.count,) if whole else (self.count // shard_ranks, shard_ranks)
            names = ("shard",) if whole else ("replicate", "shard")
            self._mesh = init_device_mesh(device.type, sizes, mesh_dim_names=names)
        return self._mesh

    def decide(self, function: Callable[[], Result]) -> Result:
        """Call a function on rank 0 and return its result, or raise its error, on all ranks.

        An error that another rank raises for rank 0 has its attribute `said` set: rank 0 prints it.
        """
        if self.control is None:
            return function()
        assert not self._deciding, "a decision within a decision would be mistaken for it by the other ranks"
        box: list[Any] = [None]
        raised: Exception | None = None
        if self.is_first:
            self._deciding = True
            try:
                box = [(function(), None)]
            except Exception as error:  # whatever it is, the others must not wait for it
                raised = error
                box = [(None, _portable(error))]
            finally:
                self._deciding = False
        dist.broadcast_object_list(box, src=0, group=self.control)
        if raised is not None:
            raise raised
        decided: Result
        decided, refused = box[0]
        if refused is not None:
            raise _marked(refused)
        return decided

    def together(self, function: Callable[[], Result]) -> list[Result]:
        """Call a function on every rank and return all results by rank; raise the error of the first that has one."""
        if self.control is None:
            return [function()]
        assert not self._deciding, "the other ranks wait for a decision"
        mine: tuple[Result | None, Exception | None]
        raised: Exception | None = None
        try:
            mine = (function(), None)
        except Exception as error:  # whatever it is, the others must not wait for it
            raised = error
            mine = (None, _portable(error))
        answers: list[Any] = [None] * self.count
        dist.all_gather_object(answers, mine, group=self.control)
        failed = [rank for rank, (_, error) in enumerate(answers) if error is not None]
        if failed and failed[0] == self.rank and raised is not None:
            raise raised
        if failed:
            raise _marked(answers[failed[0]][1])
        return [result for result, _ in answers]

    def total(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the sum of a tensor over all ranks."""
        if self.control is not None:
            assert not self._deciding, "the other ranks wait for a decision"
            dist.all_reduce(tensor)
        return tensor


ALONE = Ranks()
"""One process, for what one rank of several does for itself."""


def _portable(error: Exception) -> Exception:
    """Return an error that reaches the other ranks: itself, or its text where it cannot be copied."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return TrainingError(f"{type(error).__name__}: {error}")
    return error


def _marked(error: Exception) -> Exception:
    error.said = True  # type: ignore[attr-defined]
    return error
