"""The ranks of one run: who this process is, what rank 0 decides for all, and how an error of one ends all.

Four process groups are made, once a run. The default one carries weights and gradients over the device's backend. The
others go over gloo, without a limit that a long preparation of data or a slow disk could reach, and end when a process
of theirs does: one for decisions, one for what ranks tell each other while updates run, and one for the threads that
write states beside the updates, since what two threads of a rank say must not get mixed. Who stands still, and who
failed first, is found out by `lrpath.training.distributed.watchdog`.
"""

import contextlib
import gc
import os
import pickle
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, TypeVar
from uuid import uuid4

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore, rendezvous  # type: ignore[attr-defined]
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from lrpath.errors import ConfigError, LrpathError, TrainingError, is_reported, reported
from lrpath.training.distributed import signals
from lrpath.training.distributed.slurm import set_environment
from lrpath.training.distributed.watchdog import Reason, Watchdog

Result = TypeVar("Result")

_PATIENCE = timedelta(days=30)
_MARGIN = timedelta(seconds=30)


class ProcessGroup:
    """The processes that make updates together; one process alone needs none of this and pays nothing for it.

    Args:
        rank: Number of this process.
        count: Number of processes.
        local_rank: Number of this process on its node.
        local_count: Processes on this node.
        launched: Whether torchrun or srun started this process, be it the only one.

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
        self.watchdog = Watchdog(rank=rank, count=count)
        self._talk: dist.ProcessGroup | None = None
        self._deciding = False
        self._mesh: DeviceMesh | None = None

    @classmethod
    def from_environment(cls) -> "ProcessGroup":
        """Return what torchrun or srun says of this process; without them, one process alone.

        Raises:
            ConfigError: If nodes run different numbers of processes, or a variable is no number.
        """
        set_environment()
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
            timeout: How long a rank may show no change in an update; None for torch's choice.

        Raises:
            TrainingError: If another rank is gone, or has failed; with its reason and exit code, if it could say them.
        """
        lost = False
        backend = "nccl" if device.type == "cuda" else "gloo"
        if device.type == "cuda":
            torch.cuda.set_device(device)
        try:
            # The watch finds a rank that stands still before, and says which; the group's own limit is a net behind it.
            net = None if timeout is None else 1.5 * timeout + _MARGIN
            store, rank, count = next(rendezvous("env://"))
            # torchrun keeps the store over its restarts, and with it the addresses of the ranks that are gone
            store = PrefixStore(f"restart {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
            dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=net)
            self.control = dist.new_group(backend="gloo", timeout=_PATIENCE)
            self.background = self._with_group(dist.new_group(backend="gloo", timeout=_PATIENCE))
            self._talk = dist.new_group(backend="gloo", timeout=_PATIENCE)
            self.watchdog.begin(name=self.on_rank_zero(lambda: uuid4().hex), timeout=timeout)
            yield
        except Exception as error:
            lost = True
            signals.ignore()  # a launcher ends the ranks that are left when the first has gone
            if not is_process_group_error(error):
                self._publish(error)
                raise
            reason = self.watchdog.reason()
            raise self._lost(error) if reason is None else reason.error() from error
        finally:
            self._leave(lost=lost)

    def _with_group(self, group: dist.ProcessGroup) -> "ProcessGroup":
        """Return the same processes for another thread, which decides apart from this one."""
        others = ProcessGroup(
            rank=self.rank,
            count=self.count,
            local_rank=self.local_rank,
            local_count=self.local_count,
            launched=self.launched,
        )
        others.control = group
        return others

    def _publish(self, error: Exception) -> None:
        """Tell the others why this rank leaves them; the error of one that was not the first is not printed."""
        if is_reported(error):
            return
        message = str(error) if isinstance(error, LrpathError) else f"{type(error).__name__}: {error}"
        code = error.exit_code if isinstance(error, LrpathError) else 1
        if not self.watchdog.publish(Reason(rank=self.rank, message=message, code=code)):
            reported(error)

    def _lost(self, error: Exception) -> TrainingError:
        reason = str(error).strip().splitlines()[0]
        return TrainingError(
            f"rank {self.rank} of {self.count} lost the others ({reason}); the rank that failed first says why. "
            "All saved states are whole: run the same command again to go on from the last of them"
        )

    def _leave(self, *, lost: bool) -> None:
        """Leave the others; when one was lost, without NCCL's farewell, for which all of them would be needed."""
        self.watchdog.end()
        self.control = None
        self.background = self
        self._talk = None
        self._mesh = None
        # What still holds a group (a sharded module in a cycle, a mesh) ends its threads at the interpreter's exit, and
        # gloo then aborts the process: seen in 4 of 18 runs without the collection.
        gc.collect()
        if dist.is_initialized() and not (lost and dist.get_backend() == "nccl"):
            dist.destroy_process_group()

    def mesh(self, device: torch.device, *, shard_ranks: int) -> DeviceMesh:
        """Return the mesh on which weights are sharded: one dimension, or replicas × shards; made once a run."""
        if self._mesh is None:
            whole = shard_ranks == self.count
            sizes = (self.count,) if whole else (self.count // shard_ranks, shard_ranks)
            names = ("shard",) if whole else ("replicate", "shard")
            self._mesh = init_device_mesh(device.type, sizes, mesh_dim_names=names)
        return self._mesh

    def on_rank_zero(self, function: Callable[[], Result]) -> Result:
        """Call a function on rank 0 and return its result, or raise its error, on all ranks.

        An error that another rank raises for rank 0 has its attribute `reported` set: rank 0 prints it.
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
        with self.watchdog.waiting():
            dist.broadcast_object_list(box, src=0, group=self.control)
        if raised is not None:
            raise raised
        decided: Result
        decided, refused = box[0]
        if refused is not None:
            raise reported(refused)
        return decided

    def gather(self, function: Callable[[], Result]) -> list[Result]:
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
        with self.watchdog.waiting():
            dist.all_gather_object(answers, mine, group=self.control)
        failed = [rank for rank, (_, error) in enumerate(answers) if error is not None]
        if failed and failed[0] == self.rank and raised is not None:
            raise raised
        if failed:
            raise reported(answers[failed[0]][1])
        return [result for result, _ in answers]

    def total(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the sum of a tensor over all ranks."""
        if self.control is not None:
            assert not self._deciding, "the other ranks wait for a decision"
            with self.watchdog.waiting():
                dist.all_reduce(tensor)
        return tensor

    def largest(self, code: int) -> Callable[[], int]:
        """Begin to find the largest code of all ranks; call what is returned to wait for it. All ranks must do both."""
        if self._talk is None:
            return lambda: code
        codes_1 = torch.tensor([code])
        work = dist.all_reduce(codes_1, dist.ReduceOp.MAX, group=self._talk, async_op=True)
        assert work is not None

        def answer() -> int:
            with self.watchdog.waiting():
                work.wait()
            return int(codes_1)

        return answer


SINGLE_PROCESS = ProcessGroup()
"""One process, for what one rank of several does for itself."""


def _portable(error: Exception) -> Exception:
    """Return an error that reaches the other ranks: itself, or its text where it cannot be copied."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return TrainingError(f"{type(error).__name__}: {error}")
    return error


def is_process_group_error(error: BaseException | None) -> bool:
    """Say whether an error comes from a process group: gloo's have no class of their own."""
    return isinstance(error, RuntimeError) and (isinstance(error, dist.DistError) or "gloo" in str(error))
