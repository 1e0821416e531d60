"""One GPU, at most eight minutes, one command: lrpath beside a bare compiled loop and litgpt, at 124M and 1.2B in bf16.

    python experiments/10_throughput/gpu.py FOLDER            everything, on the GPU
    python experiments/10_throughput/gpu.py FOLDER --tiny     the same code on the CPU, a few thousand parameters

Prints a table, and writes it with every report into FOLDER, which must be new: nothing is resumed. Each contender
runs in a process of its own (contenders.py), at its best. Windows have 2,048 tokens. MFU is the share of the dense bf16
peak by PaLM's count of FLOPs, for all contenders. "tree" is a plan of two versions by path switching: how long updates
wait for a state that is saved in the background, how long it takes to the next path, and what a profile finds.
Contenders that would not be done in time are left out, and named. LITGPT names the Python that has litgpt.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import torch
from contenders import Job, lrpath_project
from speed import run, write_inputs

from lrpath.planning.cost import flops_per_token
from lrpath.planning.utilization import utilization

CONTEXT = 2_048
SIZES = {  # model, sequences of an update, of a micro-batch on 80 GB, updates, of which the first are not timed
    "1.2B": ({"vocab_size": 32_000, "hidden_size": 2048, "ffn_size": 5504, "layers": 24, "heads": 16}, 16, 4, 22, 6),
    "124M": ({"vocab_size": 50_304, "hidden_size": 768, "ffn_size": 2048, "layers": 12, "heads": 12}, 32, 16, 40, 10),
}  # fmt: skip
TINY = {"tiny": ({"vocab_size": 64, "hidden_size": 16, "ffn_size": 44, "layers": 2, "heads": 2}, 4, 2, 12, 3)}
ORDER = ("lrpath", "lrpath tree", "bare loop", "litgpt")
LOSS_GATE = 2.0**-8
"""By which share first losses of equal weights and windows may differ: bf16 has eight binary digits."""
AIM = {"1.2B": 0.55, "124M": 0.45}
"""MFU aimed at on an H100 or H200."""


def job_of(size: str, *, folder: Path, device: str, name: str) -> Job:
    model, sequences, micro_batch, updates, skipped = (SIZES | TINY)[size]
    context = CONTEXT if device == "cuda" else 16
    return Job(
        size=model | {"context": context, "tied": size == "124M"},
        updates=updates,
        skipped=skipped,
        sequences=sequences,
        micro_batch=micro_batch,
        device=device,
        threads=torch.get_num_threads(),
        is_best=True,
        ids=str(folder / size),
        folder=str(folder / size / name.replace(" ", "_")),
        same_weights=size != "1.2B",
        increments=2 if name == "lrpath tree" else 1,
    )


def row(size: str, name: str, report: dict, *, job: Job, flops: float, card: str) -> list[str]:
    tokens = job.sequences * job.size["context"] / report["wall"]
    mfu = utilization(tokens, flops_per_token=flops, device=card, ranks=1)
    aim = f" (aim {AIM[size]:.0%})" if name == "lrpath" and size in AIM and mfu is not None else ""
    return [
        size,
        name,
        f"{report['parameters']:,}",
        f"{tokens:,.0f}",
        "not known" if mfu is None else f"{mfu:.1%}{aim}",
        f"{report['memory'] / 1e9:.2f} GB",
        f"{report['first_loss']:.4f}",
    ]


def loss_line(size: str, reports: dict[str, dict], *, same_weights: bool) -> str:
    """Say by how much the losses of the first update differ, and whether bf16 explains it."""
    if not same_weights:
        return f"{size}: first losses are not compared, as each contender draws weights of its own"
    losses = {name: reports[f"{size} {name}"]["first_loss"] for name in ORDER if f"{size} {name}" in reports}
    losses = {name: loss for name, loss in losses.items() if loss == loss}  # the tree's process notes none
    if "lrpath" not in losses or len(losses) < 2:
        return f"{size}: first losses are not compared, as too few contenders ran"
    apart = {name: abs(loss / losses["lrpath"] - 1) for name, loss in losses.items()}
    odd = [name for name, share in apart.items() if share > LOSS_GATE]
    said = f"not the same work: {', '.join(odd)}" if odd else "the same work"
    return f"{size}: first losses differ by at most {max(apart.values()):.4%} (bf16 resolves {LOSS_GATE:.2%}): {said}"


def tree_lines(size: str, report: dict) -> list[str]:
    """Return what the tree's process measured, and the ten costliest operations of an update on its main path."""
    updates, stalls, switches = (report[name] for name in ("updates", "stalls", "switches"))

    def ms(values: list[float]) -> str:
        return f"median {1e3 * statistics.median(values):.1f} ms, most {1e3 * max(values):.1f} ms ({len(values)})"

    lines = [
        f"{size}: an update with its saving {ms(updates)}",
        f"{size}: updates wait for a state that is saved in the background {ms(stalls)}",
        f"{size}: from the last update of a path to the first of the next {ms(switches)}",
    ]
    profiles = report["profiles"]
    return [*lines, *([f"{size}, profile:", *top_ten(profiles[0])] if profiles else [f"{size}: no run was profiled"])]


def top_ten(text: str) -> list[str]:
    """Return the head and the first ten operations of torch's table."""
    lines = [line for line in text.splitlines() if line and not set(line) <= {"-", " "}]
    return [line[:58] + line[-150:] if len(line) > 210 else line for line in lines[:12]]


def environment(device: str) -> list[str]:
    card = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    ).stdout.strip()
    driver = f", CUDA {torch.version.cuda}" if device == "cuda" else ""
    when = datetime.now(tz=UTC).strftime("%Y-%m-%d %H:%M UTC")
    return [f"{when}, {card}, torch {torch.__version__}{driver}, Python {platform.python_version()}, commit {commit}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tiny", action="store_true", help="a few thousand parameters on the CPU")
    parser.add_argument("--minutes", type=float, default=8.0)
    given = parser.parse_args()
    if not given.tiny and not torch.cuda.is_available():
        sys.exit("torch sees no GPU here; --tiny runs the same code on the CPU")
    device = "cpu" if given.tiny else "cuda"
    given.folder.mkdir(parents=True)
    # Compiled kernels of an earlier day would make the first minutes look better than they are.
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(given.folder.resolve() / "compiled")
    deadline = time.monotonic() + 60 * given.minutes
    lines, left_out, reports = environment(device), [], {}
    card = lines[0].split(", ")[1]
    rows = [["size", "contender", "parameters", "tokens/s", "MFU", "memory", "first loss"]]
    sizes = TINY if given.tiny else SIZES
    flops = {}
    for size in sizes:
        first = job_of(size, folder=given.folder.resolve(), device=device, name="inputs")
        (given.folder / size).mkdir()
        write_inputs(first)
        flops[size] = flops_per_token(lrpath_project(first).shape, sequence_length=first.size["context"])
    for name in ORDER:
        for size in sizes:
            job = job_of(size, folder=given.folder.resolve(), device=device, name=name)
            try:
                report = run(name, job, seconds=max(deadline - time.monotonic(), 1.0))
            except RuntimeError as error:
                left_out.append(f"{size}, {name}: {str(error).strip().splitlines()[-1]}")
                continue
            reports[f"{size} {name}"] = report
            if name == "lrpath tree":
                lines += tree_lines(size, report)
            else:
                rows.append(row(size, name, report, job=job, flops=flops[size], card=card))
    for size in sizes:
        lines.append(loss_line(size, reports, same_weights=size != "1.2B"))
    widths = [max(len(cells[number]) for cells in rows) for number in range(len(rows[0]))]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) for cells in rows]
    text = "\n".join([lines[0], "", *table, "", *lines[1:], *(f"left out: {line}" for line in left_out)])
    print(text)
    (given.folder / "table.txt").write_text(f"{text}\n")
    (given.folder / "reports.json").write_text(json.dumps(reports))


if __name__ == "__main__":
    main()
