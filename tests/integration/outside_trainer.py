"""A trainer that knows nothing of lrpath but the files of docs/another_trainer.md; its model is one row of numbers.

python outside_trainer.py STRETCH [fault]
"""

import json
import os
import sys
from pathlib import Path

import numpy as np

STRETCH, *FAULTS = sys.argv[1:] or [""]


def main() -> None:
    job = json.loads(Path(STRETCH).read_text())
    rates = [float(line) for line in Path(job["rates"]).read_text().split()]
    weights = np.load(Path(job["load"]) / "deep" / "weights.npy") if job["load"] else np.zeros(8)
    losses, evaluation = [], []
    for number, rate in enumerate(rates):
        target = windows(job, number).astype(float).mean(axis=0)[:8] / 300
        losses.append(float(np.square(weights - target).sum()))
        weights = weights - rate * (weights - target)
        position = job["begin"] + number + 1
        Path(job["progress"]).write_text(f"{position}\n")
        if f"die:{position}" in FAULTS and not Path("died").exists():
            Path("died").touch()
            os._exit(1)
        if position in job["evaluate_at"]:
            evaluation += [row(one, position, weights) for one in job["held_out"]]
        if f"stop:{position}" in FAULTS:
            break
    report = {"position": position, "rates": rates[: len(losses)], "losses": losses, "evaluation": evaluation}
    report |= {"device": "abacus", "ranks": 1}
    if "rate" in FAULTS:
        report["rates"][-1] *= 1.001
    if "early" in FAULTS:
        report["position"] -= 1
    if "nothing" not in FAULTS:
        (Path(job["save"]) / "deep").mkdir()
        np.save(Path(job["save"]) / "deep" / "weights.npy", weights)
    if "empty" in FAULTS:
        (Path(job["save"]) / "empty.bin").touch()
    if "silent" not in FAULTS:
        Path(job["report"]).write_text(json.dumps(report))
    sys.exit(75 if any(fault.startswith("stop") for fault in FAULTS) else 0)


def windows(job: dict, number: int) -> np.ndarray:
    """Return the token ids of an update of the stretch, [B, L + 1]."""
    data = job["data"]
    found = np.load(data["file"], mmap_mode="r")[number]
    if data["kind"] == "ids":
        return np.asarray(found)
    length = data["tokens_per_sequence"]
    rows = []
    for increment, window in found:
        about = data["increments"][increment]
        tokens = np.memmap(about["file"], dtype=about["dtype"], mode="r")
        rows.append(tokens[window * length : window * length + length + 1])
    return np.stack(rows)


def row(held_out: dict, position: int, weights: np.ndarray) -> dict:
    tokens = np.load(held_out["file"])[:, 1:].size
    found = {"position": position, "version": held_out["version"], "domain": held_out["domain"]}
    nll = float(tokens * (1 + np.square(weights).sum()))
    if "mean" in FAULTS:
        nll /= tokens
    if "likelihood" in FAULTS:
        nll = -nll
    return found | {"nll": nll, "tokens": tokens}


if __name__ == "__main__":
    main()
