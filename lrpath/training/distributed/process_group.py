"""The ranks of one command: who this process is, what rank 0 decides for all, and how an error of one rank ends all.

Four torch process groups are made, once a command, because collectives of one group are matched by their order alone:

- the default group carries weights and gradients over the device's backend (nccl or gloo);
- `control` broadcasts what rank 0 decides and gathers what ranks answer;
- `_stop_group` finds, while updates run, whether any rank was asked to stop; its results are awaited an update later,
  when a decision may have been made in `control` meanwhile;
- `background.control` belongs to the threads that write states while updates go on, since collectives that two
  threads of a rank start in one group would be mixed up.

The last three go over gloo. Once they are made they have practically no timeout, which a long preparation of data or a
slow disk could reach, and fail at once when a process of theirs ends. Making them is another matter: a rank that ends
meanwhile is nobody's peer yet, so that has a limit of minutes. Which rank hangs, and which failed first, is found by
`lrpath.training.distributed.watchdog`, which is started before the groups.
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
from torch.distributed import PrefixStore, Store, rendezvous  # type: ignore[attr-defined]
from torch.distributed.constants import default_pg_nccl_timeout, default_pg_timeout
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.distributed_c10d import _set_pg_timeout

from lrpath.errors import ConfigError, LrpathError, TrainingError, is_reported, reported
from lrpath.training.distributed import signals
from lrpath.training.distributed.slurm import set_environment
from lrpath.training.distributed.watchdog import Reason, Watchdog

Result = TypeVar("Result")

_NO_TIMEOUT = timedelta(days=20)
"""gloo needs a timeout; this one is never reached. It counts milliseconds in 32 bits, which end at 24 days."""
_CONNECT_TIMEOUT = timedelta(minutes=5)
"""How long ranks may take to find each other: they may be started minutes apart."""
_TIMEOUT_MARGIN = timedelta(seconds=30)


class ProcessGroup:
    """The processes that make updates together; one process alone needs none of this and pays nothing for it.

    Args:
        rank: Number of this process.
        world_size: Number of processes.
        local_rank: Number of this process on its node.
        local_world_size: Processes on this node.
        launched: Whether torchrun or srun started this process, be it the only one.

    Attributes:
        background: The same processes, for the thread of each that writes states while updates go on.
    """

    def __init__(
        self,
        *,
        rank: int = 0,
        world_size: int = 1,
        local_rank: int = 0,
        local_world_size: int = 1,
        launched: bool = False,
    ) -> None:
        self.rank = rank
        self.world_size = world_size
        self.local_rank = local_rank
        self.local_world_size = local_world_size
        self.launched = launched
        self.control: dist.ProcessGroup | None = None
        self.background = self
        self.watchdog = Watchdog(rank=rank, world_size=world_size)
        self._stop_group: dist.ProcessGroup | None = None
        self._inside_decision = False
        self._mesh: DeviceMesh | None = None

    @classmethod
    def from_environment(cls) -> "ProcessGroup":
        """Return the ranks that torchrun's or srun's variables describe; without them, one process alone.

        Raises:
            ConfigError: If nodes run different numbers of processes, or a variable is not a number.
        """
        set_environment()
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        texts = {name: os.environ.get(name, "") for name in names}
        if not all(texts.values()) and texts["WORLD_SIZE"] in ("", "1"):
            return cls()
        if not all(text.isdecimal() for text in texts.values()):
            found = ", ".join(f"{name}={text}" for name, text in texts.items())
            raise ConfigError(f"{found} must all be whole numbers, as torchrun sets them; start this with torchrun")
        rank, world_size, local_rank, local_world_size = (int(text) for text in texts.values())
        if world_size % max(local_world_size, 1):
            raise ConfigError(
                f"WORLD_SIZE={world_size} is no multiple of LOCAL_WORLD_SIZE={local_world_size}: every node must run "
                "the same number of ranks; give every torchrun the same --nproc-per-node"
            )
        return cls(
            rank=rank,
            world_size=world_size,
            local_rank=local_rank,
            local_world_size=local_world_size,
            launched=True,
        )

    @property
    def is_rank_zero(self) -> bool:
        """Whether this process decides for all, and writes what is written once."""
        return self.rank == 0

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return self.world_size // self.local_world_size

    @contextlib.contextmanager
    def initialized(self, device: torch.device, *, timeout: timedelta | None) -> Iterator[None]:
        """Hold the process groups while the block runs.

        Args:
            device: The device of this process; GPUs communicate over nccl, CPUs over gloo.
            timeout: How long a rank may make no progress within an update; None for torch's choice.

        Raises:
            TrainingError: If another rank has ended or failed; with its reason and exit code, if it could publish them.
        """
        lost = False
        backend = "nccl" if device.type == "cuda" else "gloo"
        if device.type == "cuda":
            torch.cuda.set_device(device)
        try:
            # The watchdog finds a rank that hangs earlier, and says which; the group's own timeout, which names nobody,
            # is a safety net behind it.
            group_timeout = None if timeout is None else 1.5 * timeout + _TIMEOUT_MARGIN
            store, rank, world_size = next(rendezvous("env://", timeout=_CONNECT_TIMEOUT))
            # torchrun keeps the store over its restarts, and with it the addresses of ranks that have ended
            store = PrefixStore(f"restart {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
            self.watchdog.start(name=_shared_name(store, rank=rank), timeout=timeout)
            self.watchdog.enter_phase("making process groups", unlimited=True)
            dist.init_process_group(backend, store=store, rank=rank, world_size=world_size, timeout=_CONNECT_TIMEOUT)
            self.control, background, self._stop_group = (_control_group() for _ in range(3))
            self.background = self._with_group(background)
            _set_pg_timeout(_default_timeout(backend) if group_timeout is None else group_timeout)
            self.watchdog.leave_fit()
            yield
        except Exception as error:
            lost = True
            signals.ignore_signals()  # a launcher signals the remaining ranks when the first has ended
            if not is_process_group_error(error):
                self._publish(error)
                raise
            reason = self.watchdog.reason()
            raise self._lost_ranks_error(error) if reason is None else reason.error() from error
        finally:
            self._destroy(lost=lost)

    def _with_group(self, group: dist.ProcessGroup) -> "ProcessGroup":
        """Return the same processes with a control group for another thread."""
        others = ProcessGroup(
            rank=self.rank,
            world_size=self.world_size,
            local_rank=self.local_rank,
            local_world_size=self.local_world_size,
            launched=self.launched,
        )
        others.control = group
        return others

    def _publish(self, error: Exception) -> None:
        """Publish why this rank fails; the error of a rank that was not the first to fail is not printed."""
        if is_reported(error):
            return
        message = str(error) if isinstance(error, LrpathError) else f"{type(error).__name__}: {error}"
        code = error.exit_code if isinstance(error, LrpathError) else 1
        if not self.watchdog.publish(Reason(rank=self.rank, message=message, code=code)):
            reported(error)

    def _lost_ranks_error(self, error: Exception) -> TrainingError:
        reason = str(error).strip().splitlines()[0]
        return TrainingError(
            f"rank {self.rank} of {self.world_size} lost the others ({reason}); see the error of the rank that failed "
            "first. All saved states are whole: run the same command again to go on from the last of them"
        )

    def _destroy(self, *, lost: bool) -> None:
        """Destroy the groups; when a rank was lost, without nccl's own shutdown, which needs all ranks."""
        self.watchdog.stop()
        self.control = None
        self.background = self
        self._stop_group = None
        self._mesh = None
        # Whatever still refers to a group (a sharded module in a reference cycle, a mesh) would end its threads at the
        # interpreter's exit, where gloo aborts the process: seen in 4 of 18 runs without this collection.
        gc.collect()
        if dist.is_initialized() and not (lost and dist.get_backend() == "nccl"):
            dist.destroy_process_group()

    def mesh(self, device: torch.device, *, shard_ranks: int) -> DeviceMesh:
        """Return the mesh on which weights are sharded: one dimension, or replicas × shards; made once a run."""
        if self._mesh is None:
            whole = shard_ranks == self.world_size
            sizes = (self.world_size,) if whole else (self.world_size // shard_ranks, shard_ranks)
            names = ("shard",) if whole else ("replicate", "shard")
            self._mesh = init_device_mesh(device.type, sizes, mesh_dim_names=names)
        return self._mesh

    def on_rank_zero(self, function: Callable[[], Result]) -> Result:
        """Call a function on rank 0 and return its result, or raise its error, on all ranks.

        An error that another rank raises for rank 0 has its attribute `reported` set: rank 0 prints it.
        """
        if self.control is None:
            return function()
        assert not self._inside_decision, (
            "the other ranks would take the result of a nested decision for that of the outer one"
        )
        box: list[Any] = [None]
        raised: Exception | None = None
        if self.is_rank_zero:
            self._inside_decision = True
            try:
                box = [(function(), None)]
            except Exception as error:  # whatever it is, the other ranks must not wait for ever
                raised = error
                box = [(None, _picklable(error))]
            finally:
                self._inside_decision = False
        with self.watchdog.waiting():
            dist.broadcast_object_list(box, src=0, group=self.control)
        if raised is not None:
            raise raised
        decided: Result
        decided, error_of_rank_zero = box[0]
        if error_of_rank_zero is not None:
            raise reported(error_of_rank_zero)
        return decided

    def gather(self, function: Callable[[], Result]) -> list[Result]:
        """Call a function on every rank and return all results by rank; raise the error of the first that has one."""
        if self.control is None:
            return [function()]
        assert not self._inside_decision, "the other ranks wait for the decision"
        mine: tuple[Result | None, Exception | None]
        raised: Exception | None = None
        try:
            mine = (function(), None)
        except Exception as error:  # whatever it is, the other ranks must not wait for ever
            raised = error
            mine = (None, _picklable(error))
        answers: list[Any] = [None] * self.world_size
        with self.watchdog.waiting():
            dist.all_gather_object(answers, mine, group=self.control)
        failed = [rank for rank, (_, error) in enumerate(answers) if error is not None]
        if failed and failed[0] == self.rank and raised is not None:
            raise raised
        if failed:
            raise reported(answers[failed[0]][1])
        return [result for result, _ in answers]

    def all_reduce_sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the sum of a tensor over all ranks."""
        if self.control is not None:
            assert not self._inside_decision, "the other ranks wait for the decision"
            with self.watchdog.waiting():
                dist.all_reduce(tensor)
        return tensor

    def all_gather(self, tensor: torch.Tensor, group: object = None) -> list[torch.Tensor]:  # noqa: ARG002
        """Return the tensors of all ranks, by rank; all have one shape. The signature is torchmetrics'."""
        if self.control is None:
            return [tensor]
        assert not self._inside_decision, "the other ranks wait for the decision"
        gathered = [torch.empty_like(tensor) for _ in range(self.world_size)]
        with self.watchdog.waiting():
            dist.all_gather(gathered, tensor.contiguous())
        return gathered

    def start_maximum(self, code: int) -> Callable[[], int]:
        """Start to find the largest code of all ranks; return a function that waits for it. All ranks must call both.

        A rank that is asked to stop is thereby known to all an update later, and no rank waits for another.
        """
        if self._stop_group is None:
            return lambda: code
        codes_1 = torch.tensor([code])
        work = dist.all_reduce(codes_1, dist.ReduceOp.MAX, group=self._stop_group, async_op=True)
        assert work is not None

        def wait() -> int:
            with self.watchdog.waiting():
                work.wait()
            return int(codes_1)

        return wait


def _shared_name(store: Store, *, rank: int) -> str:
    """Return a name that all ranks take from rank 0: the store may be used again."""
    if rank == 0:
        store.set("watchdog", uuid4().hex)
    name: bytes = store.get("watchdog")
    return name.decode()


def _control_group() -> dist.ProcessGroup:
    """Return a group over gloo that is made within minutes, and then has no timeout."""
    group = dist.new_group(backend="gloo", timeout=_CONNECT_TIMEOUT)
    assert isinstance(group, dist.ProcessGroup)
    _set_pg_timeout(_NO_TIMEOUT, group)
    return group


def _default_timeout(backend: str) -> timedelta:
    return default_pg_nccl_timeout if backend == "nccl" and default_pg_nccl_timeout is not None else default_pg_timeout


SINGLE_PROCESS = ProcessGroup()
"""One process, for what one rank of several computes by itself."""


def _picklable(error: Exception) -> Exception:
    """Return an error that can be sent to the other ranks: itself, or its text where it cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return TrainingError(f"{type(error).__name__}: {error}")
    return error


def is_process_group_error(error: BaseException | None) -> bool:
    """Say whether an error comes from a process group: gloo's have no class of their own."""
    return isinstance(error, RuntimeError) and (isinstance(error, dist.DistError) or "gloo" in str(error))
