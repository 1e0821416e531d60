"""What both adapters share: they read a stretch, and write the report. numpy and torch are all that it needs."""

import json
import sys
from pathlib import Path

import numpy as np
import torch


class Stretch:
    """A stretch of a path, as docs/another_trainer.md describes it."""

    def __init__(self, file: str) -> None:
        self.job = json.loads(Path(file).read_text())
        assert self.job["format"] == 1, "another format of stretches: read docs/another_trainer.md again"
        self.begin, self.end = self.job["begin"], self.job["end"]
        self.rates = [float(line) for line in Path(self.job["rates"]).read_text().split()]
        self.recipe, self.model = self.job["recipe"], self.job["recipe"]["model"]
        seed = self.recipe["seed"]
        self.seed = seed["weights"] if isinstance(seed, dict) else seed

    def rows(self) -> torch.utils.data.Dataset:
        """Return the sequences of all updates in order, each of `tokens_per_sequence + 1` ids."""
        return _Rows(self.job["data"])

    def note(self, position: int) -> None:
        """Tell the ledger how far the command is, should it be killed."""
        Path(self.job["progress"]).write_text(f"{position}\n")

    @torch.no_grad()
    def evaluate(self, logits_of) -> list[dict]:
        """Return the losses at the end of the stretch on the held-out sets, if they are wanted there."""
        found = []
        for one in self.job["held_out"] if self.end in self.job["evaluate_at"] else []:
            ids_NT = torch.from_numpy(np.load(one["file"]))
            nll = sum(
                torch.nn.functional.cross_entropy(
                    logits_of(part[:, :-1]).flatten(0, 1).float(), part[:, 1:].flatten(), reduction="sum"
                ).item()
                for part in ids_NT.split(32)
            )
            place = {"position": self.end, "version": one["version"], "domain": one["domain"]}
            found.append(place | {"nll": nll, "tokens": ids_NT[:, 1:].numel()})
        return found

    def report(self, **fields: object) -> None:
        Path(self.job["report"]).write_text(json.dumps({"position": self.end, "device": "cpu", "ranks": 1} | fields))


class _Rows(torch.utils.data.Dataset):
    def __init__(self, data: dict) -> None:
        self.data = data
        self.length = data["tokens_per_sequence"]
        slots = np.load(data["file"], mmap_mode="r")
        self.slots = slots.reshape(-1, slots.shape[-1])
        self.tokens: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.slots)

    def __getitem__(self, number: int) -> torch.Tensor:
        slot = self.slots[number]
        if self.data["kind"] == "ids":
            return torch.from_numpy(slot.astype(np.int64))
        increment, window = int(slot[0]), int(slot[1])
        if increment not in self.tokens:
            about = self.data["increments"][increment]
            self.tokens[increment] = np.memmap(about["file"], dtype=about["dtype"], mode="r")
        begin = window * self.length
        return torch.from_numpy(self.tokens[increment][begin : begin + self.length + 1].astype(np.int64))


def given() -> Stretch:
    return Stretch(sys.argv[1])
