"""The files that a command is given for a stretch of a path, as plain data; docs/another_trainer.md explains them.

Shapes: U updates of the stretch, B sequences of an update, T = L + 1 tokens of a window, N = 2 numbers of a window.
"""

import os
import pathlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lrpath.data.manifest import TRAIN_FILE, token_dtype
from lrpath.data.store import TokenStore
from lrpath.data.stream import TokenBatches
from lrpath.errors import ConfigError
from lrpath.planning.paths import Path, StateKey
from lrpath.records.files import make_folder, write_json, write_whole
from lrpath.records.held_out import SetName

EXCHANGE_FORMAT = 1
"""Of `stretch.json` and the report; a larger number when a field changes its meaning, not when one is added."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Updates that one command makes, all of one batch.

    Args:
        path: The path.
        begin: Position that it starts from.
        end: Position that it leads to.
        load: The state that it starts from; None for initial weights.
        evaluate_at: Positions at which the report wants losses on the held-out sets.
    """

    path: Path
    begin: int
    end: int
    load: StateKey | None
    evaluate_at: tuple[int, ...]

    @property
    def updates(self) -> int:
        """How many there are."""
        return self.end - self.begin

    def rates(self) -> list[float]:
        """Return the rate of each update."""
        return [self.path.schedule.rate(update) for update in range(self.begin, self.end)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """The folder through which lrpath and a command talk about one stretch.

    Args:
        folder: The folder, with a name that nobody else uses.
        save: Folder that the command fills with its state.
    """

    folder: pathlib.Path
    save: pathlib.Path

    @property
    def report(self) -> pathlib.Path:
        """File in which the command says what it did."""
        return self.folder / "report.json"

    @property
    def progress(self) -> pathlib.Path:
        """File in which the command may note the position that it has reached."""
        return self.folder / "progress"

    def write(
        self,
        stretch: Stretch,
        *,
        load: pathlib.Path | None,
        batches: TokenBatches,
        held_out: Mapping[SetName, NDArray[np.int64]],
        data: Literal["windows", "ids"],
        counter: pathlib.Path,
    ) -> dict[str, object]:
        """Write what the command reads, and return the values of its placeholders.

        Args:
            stretch: What it is to do.
            load: Folder of the state that it starts from.
            batches: The data of the path.
            held_out: Windows of the held-out sets, given where an evaluation is due.
            data: How positions of the data are given.
            counter: The path's count of updates, for the ledger; what the command notes goes there at once.
        """
        make_folder(self.folder)
        make_folder(self.save)
        rates, file = self.folder / "rates.txt", self.folder / f"{data}.npy"
        write_whole(rates, "".join(f"{rate!r}\n" for rate in stretch.rates()))
        described = _write_windows(file, stretch, batches) if data == "windows" else _write_ids(file, stretch, batches)
        self._link(counter)
        record = {
            "format": EXCHANGE_FORMAT,
            "path": {"id": stretch.path.id, "name": stretch.path.name},
            "begin": stretch.begin,
            "end": stretch.end,
            "load": None if load is None else str(load),
            "save": str(self.save),
            "rates": str(rates),
            "report": str(self.report),
            "progress": str(self.progress),
            "recipe": stretch.path.recipe.as_record(),
            "data": {"kind": data, "file": str(file)} | described | _about_tokens(batches.store),
            "evaluate_at": list(stretch.evaluate_at),
            "held_out": self._write_held_out(held_out) if stretch.evaluate_at else [],
        }
        write_json(self.folder / "stretch.json", record)
        names = ("begin", "end", "save", "rates", "report", "progress")
        values: dict[str, object] = {name: record[name] for name in names}
        return values | {"load": record["load"] or "", "data": file, "stretch": self.folder / "stretch.json"}

    def _link(self, counter: pathlib.Path) -> None:
        """Let the command note its position where the ledger looks for it, should lrpath be killed too.

        A second name of one file, not the file's own: the next owner of the path makes a file of its own, into which a
        command that has outlived this process cannot write.
        """
        try:
            os.link(counter, self.progress)
        except OSError:  # a file system without links: updates before a kill are then not counted
            self.progress.touch()

    def _write_held_out(self, held_out: Mapping[SetName, NDArray[np.int64]]) -> list[dict[str, Any]]:
        found = []
        for number, ((version, domain), windows_NL) in enumerate(held_out.items()):
            file = self.folder / f"held_out_{number}.npy"
            np.save(file, windows_NL)
            found.append({"version": version, "domain": domain, "file": str(file), "shape": list(windows_NL.shape)})
        return found


def _write_windows(file: pathlib.Path, stretch: Stretch, batches: TokenBatches) -> dict[str, Any]:
    """Write the windows of every update, `[U, B, N]`: number of the increment in the list, number of the window in it.

    Raises:
        ConfigError: If the tokens of an increment lie in several files of their source.
    """
    store, recipe = batches.store, stretch.path.recipe
    versions = list(store.versions)
    numbers = {version: number for number, version in enumerate(versions)}
    read: set[str] = set()
    shape = (stretch.updates, recipe.sequences_at(stretch.begin), 2)
    windows_UBN = np.lib.format.open_memmap(file, mode="w+", dtype=np.int64, shape=shape)
    for update in range(stretch.begin, stretch.end):
        versions_B, windows_B = batches.order.windows_of(update)
        read |= set(versions_B.tolist())
        windows_UBN[update - stretch.begin, :, 0] = [numbers[version] for version in versions_B.tolist()]
        windows_UBN[update - stretch.begin, :, 1] = windows_B
    windows_UBN.flush()
    for version in read:
        if store.manifest(version).mapped:
            raise ConfigError(
                f"engine.data=windows: the ids of {version} lie in several files outside of the token store; give "
                "engine.data=ids",
                field="engine.data",
                value="windows",
            )
    increments = [
        {
            "version": version,
            "file": str((store.place(version) / TRAIN_FILE).absolute()),
            "dtype": store.manifest(version).dtype,
            "tokens": store.manifest(version).tokens,
        }
        for version in versions
    ]
    return {"shape": list(shape), "tokens_per_sequence": recipe.tokens_per_sequence, "increments": increments}


def _write_ids(file: pathlib.Path, stretch: Stretch, batches: TokenBatches) -> dict[str, Any]:
    """Write the token ids of every update, `[U, B, T]`, in the order of the slots."""
    recipe = stretch.path.recipe
    shape = (stretch.updates, recipe.sequences_at(stretch.begin), recipe.tokens_per_sequence + 1)
    dtype = token_dtype(batches.store.vocab_size)
    ids_UBT = np.lib.format.open_memmap(file, mode="w+", dtype=dtype, shape=shape)
    for update in range(stretch.begin, stretch.end):
        ids_UBT[update - stretch.begin] = batches.batch(update)
    ids_UBT.flush()
    return {"shape": list(shape), "tokens_per_sequence": recipe.tokens_per_sequence}


def _about_tokens(store: TokenStore) -> dict[str, Any]:
    tokenizer = store.tokenizer_file
    return {
        "vocab_size": store.vocab_size,
        "end_id": store.end_id,
        "tokenizer": None if tokenizer is None else str(tokenizer.absolute()),
    }
