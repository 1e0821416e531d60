"""A laboratory: studies on the real conf/ tree with small numbers, run in this process or in another one."""

import contextlib
import io
import json
import os
import random
import shutil
import socket
import subprocess
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
from torch.distributed.checkpoint.state_dict_loader import load

from lrpath.assembly.project import Project
from lrpath.assembly.training_factory import ProjectTrainingFactory, build_hardware
from lrpath.planning.lineage import content_id
from lrpath.records.study import Study
from lrpath.training.plan_runner import PlanRunner
from tests.composing import project_of
from tests.integration import fork_server
from tests.integration.fork_server import REPOSITORY, ForkedProcess

SMALL = {
    "model": "tiny",
    "model.hidden_size": "16",
    "model.layers": "1",
    "model.ffn_size": "32",
    "data": "text",
    "data.tokenizer.vocab_size": "300",
    "paradigm": "[path_switching]",
    "study": "study",
    "versions": "2",
    "increment": "10 updates",
    "warmup": "2 updates",
    "batch.sequences_per_update": "4",
    "batch.tokens_per_sequence": "16",
    "cadence.log_every": "4",
    "cadence.evaluate_every": "7",
    "cadence.save_every": "3",
    "cadence.held_out_windows": "8",
    "strategy.accelerator": "cpu",
    "strategy.threads": "1",
    "logger": "none",
}
"""With α = 0.6: a main path that forks at 4 and 14, and branches from there to 10 and 20; 26 updates in all."""

WORDS = ["path", "rate", "main", "branch", "fork", "state", "token", "window", "update", "version", "plan", "study"]

KILLING = Path(__file__).with_name("killing.py")
RANKED = Path(__file__).with_name("ranked.py")
FORKED_TORCHRUN = Path(__file__).with_name("forked_torchrun.py")

Bits = dict[tuple[str, int], dict[str, bytes]]


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a process ended: its exit code, −9 for a killed one, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def codes(self) -> list[int]:
        """Exit codes of the processes that `killing.py` ran."""
        assert self.code == 0, self.err
        return json.loads(self.out.splitlines()[-1])


def free_ports(count: int) -> list[str]:
    """Return ports of this machine that nothing listens on."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("localhost", 0))
        return [str(one.getsockname()[1]) for one in sockets]


def write_texts(folder: Path) -> None:
    """Write `V1.jsonl` … `V5.jsonl`, 60 short documents each, into a new folder."""
    folder.mkdir()
    for number in range(1, 6):
        words = random.Random(number)
        records = [{"text": " ".join(words.choices(WORDS, k=40)) + f" {number}.{n}"} for n in range(60)]
        (folder / f"V{number}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def fork(
    *words: str, folder: Path, env: Mapping[str, str] = MappingProxyType({}), session: bool = False
) -> ForkedProcess:
    """Start a command of Python in a folder, with everything imported already."""
    ours = {name: value for name, value in os.environ.items() if name != "HYDRA_FULL_ERROR"}
    environment = ours | {"PYTHONPATH": str(REPOSITORY)} | env
    return fork_server.start(words, folder=folder, environment=environment, session=session)


def call(*words: str, folder: Path, env: Mapping[str, str] = MappingProxyType({})) -> Ended:
    """Run a command of Python in a folder, with everything imported already, and return how it ended."""
    process = fork(*words, folder=folder, env=env)
    out, err = process.communicate()
    return Ended(code=process.wait(), out=out, err=err)


def call_on_ranks(*words: str, ranks: int, folder: Path) -> Ended:
    """Run a command of Python on several ranks over gloo, which are forks of torchrun's agent."""
    return call(str(FORKED_TORCHRUN), str(ranks), *words, folder=folder, env={"OMP_NUM_THREADS": "1"})


@dataclass(frozen=True)
class Job:
    """One run of a small study on several ranks.

    Args:
        changes: Overrides.
        kill: The rank that ends itself, and the moment of `killing.py` at which it does.
    """

    changes: tuple[str, ...]
    kill: tuple[int, str] | None = None


@dataclass(frozen=True, kw_only=True)
class Lab:
    """Small studies in one folder.

    Args:
        folder: Where the studies are.
        texts: Folder of the increments' texts.
        stores: Where the prepared tokens are.
    """

    folder: Path
    texts: Path
    stores: Path

    def overrides(self, *changes: str) -> list[str]:
        """Return Hydra's overrides of a small study with some changes; another group drops the small group's fields."""
        changed = dict(change.split("=", 1) for change in changes)
        places = {"outputs": self.folder, "data.folder": self.stores, "data.source.paths": f"[{self.texts}]"}
        small = {
            name: value
            for name, value in (SMALL | places).items()
            if "." not in name or name.split(".")[0] not in changed
        }
        return [f"{name}={value}" for name, value in (small | changed).items()]

    def project(self, *changes: str) -> Project:
        """Return a project composed from conf/."""
        return project_of(*self.overrides(*changes))

    def runner(self, *changes: str) -> PlanRunner:
        """Return the plan runner of a small study, its plan kept and its text prepared."""
        project = self.project(*changes)
        factory = ProjectTrainingFactory(project=project, store=project.prepare())
        project.keep_plan()
        return factory.runner(build_hardware(project), Console(file=io.StringIO()))

    def run(self, *changes: str) -> int:
        """Run a small study in this process and return how many updates that took."""
        return self.runner(*changes).run()

    def trained(self, *changes: str) -> None:
        """Have the study that `run` makes, for a test of what comes after it: a copy of one that was made once.

        Tests of one process share it, by what was changed; of two calls with equal changes the second trains nothing.
        """
        name = next((change.removeprefix("study=") for change in changes if change.startswith("study=")), "study")
        changed = [change for change in changes if not change.startswith("study=")]
        once = replace(self, folder=self.texts.parent / f"trained-{content_id(changed)}")
        if not once.folder.exists():
            making = replace(once, folder=once.folder.with_name(f"{once.folder.name}-unfinished"))
            making.run(*changed)
            making.folder.rename(once.folder)
        shutil.copytree(once.study().folder, self.study(name).folder, symlinks=True)

    def study(self, name: str = "study") -> Study:
        """Return the records of a study."""
        return Study(self.folder / name)

    def start(
        self,
        *changes: str,
        moments: tuple[str, ...] = (),
        env: Mapping[str, str] = MappingProxyType({}),
        start_new_session: bool = False,
    ) -> ForkedProcess:
        """Start `python -m lrpath.train` on a small study; with moments, `killing.py` in its place."""
        begin = [str(KILLING), *moments, "--"] if moments else ["-m", "lrpath.train"]
        return self.fork(*begin, *self.overrides(*changes), env=env, session=start_new_session)

    def fork(self, *words: str, env: Mapping[str, str] = MappingProxyType({}), session: bool = False) -> ForkedProcess:
        """Start a command of Python in the folder of the studies, with everything imported already."""
        return fork(*words, folder=self.folder, env=env, session=session)

    def call(self, *words: str, env: Mapping[str, str] = MappingProxyType({})) -> Ended:
        """Run a command of Python in the folder of the studies and return how it ended."""
        return call(*words, folder=self.folder, env=env)

    def torchrun(self, *words: str, ranks: int) -> ForkedProcess:
        """Start a module or script on several ranks of one node under torchrun itself, whose ranks start anew."""
        place = (f"--nproc-per-node={ranks}", "--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0")
        return self.fork("-m", "torch.distributed.run", *place, *words, env={"OMP_NUM_THREADS": "1"})

    def ranked(self, *jobs: Job, ranks: int, nodes: int = 1) -> Ended:
        """Run jobs one after another on several ranks under torchrun's agent, one for each "node"; see `codes_of`."""
        file = self.folder / "jobs.json"
        ports = free_ports(len(jobs))
        listed = [
            {"overrides": self.overrides(*job.changes), "kill": job.kill, "port": port}
            for job, port in zip(jobs, ports, strict=True)
        ]
        file.write_text(json.dumps(listed))
        (port,) = free_ports(1)
        place = (f"--ranks={ranks // nodes}", f"--nodes={nodes}", f"--endpoint=localhost:{port}")
        processes = [self.fork(str(RANKED), str(file), *place, env={"OMP_NUM_THREADS": "1"}) for _ in range(nodes)]
        ended = [process.communicate() for process in processes]
        code = max(process.wait() for process in processes)
        return Ended(code=code, out="".join(out for out, _ in ended), err="".join(err for _, err in ended))

    def codes_of(self, ranks: int) -> list[tuple[int, ...]]:
        """Return the exit codes of the last jobs on several ranks, by job and rank."""
        by_rank = [json.loads((self.folder / f"codes-{rank}.json").read_text()) for rank in range(ranks)]
        return list(zip(*by_rank, strict=True))

    def windows_of(self, study: str, *, ranks: int) -> NDArray[np.int64]:
        """Return the windows that the ranks of the last job on a study were given, in their global order, [N, T].

        Every update has a multiple of the ranks as windows, so striding over all of them is striding in each.
        """
        parts = [np.load(self.folder / f"{study}-{rank}.npy") for rank in range(ranks)]
        return np.stack(parts, axis=1).reshape(-1, parts[0].shape[-1])

    def planned_windows(self, *changes: str) -> dict[tuple[str, int], NDArray[np.int64]]:
        """Return the windows of every update that a small study lacks, by path name and update, in order, [B, T]."""
        runner = self.runner(*changes)
        return {
            (run.path.name, update): runner.path_trainer.factory.batches(run.path).batch(update)
            for run in runner.missing()
            for update in range(run.begin, run.end)
        }

    def train(
        self, *changes: str, moments: tuple[str, ...] = (), env: Mapping[str, str] = MappingProxyType({})
    ) -> Ended:
        """Run a small study in another process and return how it ended."""
        process = self.start(*changes, moments=moments, env=env)
        out, err = process.communicate()
        return Ended(code=process.wait(), out=out, err=err)


def started(process: ForkedProcess | subprocess.Popen[str], text: str) -> str:
    """Return a process's first line with a text."""
    assert process.stdout is not None
    while text not in (line := process.stdout.readline()):
        assert line, process.communicate()[1]  # or the process has ended
    return line


def states_of(study: Study) -> Bits:
    """Return the bits of all tensors of all states of a study, by path id and position."""
    found = {}
    for folder in sorted((study.folder / "paths").glob("*/states/*")):
        tensors = {name: tensor.numpy().tobytes() for name, tensor in tensors_in(folder).items()}
        found[folder.parents[1].name.split("-")[-1], int(folder.name)] = tensors
    return found


def tensors_in(folder: Path) -> dict[str, torch.Tensor]:
    """Return the whole tensors of a state, put together from the shards of however many ranks saved it."""
    reader = HuggingFaceStorageReader(str(folder))
    stored = reader.read_metadata().state_dict_metadata
    tensors = {name: torch.empty(entry.size, dtype=entry.properties.dtype) for name, entry in stored.items()}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        load(tensors, storage_reader=reader, no_dist=True)
    return tensors


def tables_of(study: Study) -> dict[str, bytes]:
    """Return the bytes of all tables of a study that a rerun repeats, by path folder and name."""
    folders = sorted(file.parent for file in (study.folder / "paths").glob("*/path.json"))
    files = [folder / name for folder in folders for name in ("metrics.csv", "evaluation.csv")]
    return {f"{file.parent.name}/{file.name}": file.read_bytes() for file in files}


def losses_of(study: Study, column: str = "loss") -> dict[tuple[str, int], float]:
    """Return a column of the metrics of all paths, by path folder and position."""
    return {
        (folder.folder.name, row.position): float(getattr(row, column))
        for folder in study.folders()
        for row in folder.metrics.rows()
    }


def disturb(seed: int) -> None:
    """Put the global generators somewhere else."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 (the global generator is the point)
    torch.manual_seed(seed)
