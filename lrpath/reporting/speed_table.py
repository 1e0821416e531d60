"""How fast every path was computed: tokens per second, MFU and memory."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from lrpath.analysis.comparison import StudyComparison
from lrpath.planning.units import write_bytes
from lrpath.planning.utilization import device_named, utilization
from lrpath.records.ledger import Run
from lrpath.records.path_folder import PathFolder
from lrpath.records.study import Study
from lrpath.reporting.tables import Align, Column, ReportTable, write_fixed, write_whole_number

_COLUMNS = (
    Column(key="path", title="path", align=Align.LEFT),
    Column(key="device", title="device", align=Align.LEFT),
    Column(key="ranks", title="ranks", write=write_whole_number),
    Column(key="tokens_per_second", title="speed", unit="tokens/s", write=write_whole_number),
    Column(key="mfu", title="MFU", unit="%", write=write_fixed(1)),
    Column(key="memory_bytes", title="memory", write=write_bytes),
)


def speed_tables(comparison: StudyComparison) -> list[ReportTable]:
    """Return one row for every path and kind of device that it ran on; no table if nothing has run."""
    rows = [row for study in comparison.studies for row in _rows(study, comparison.runs[study])]
    if not rows:
        return []
    devices = sorted({row[1] for row in rows})
    unknown = [device for device in devices if device_named(device) is None]
    return [
        ReportTable(
            title="Speed of the updates",
            columns=_COLUMNS,
            rows=tuple(sorted(rows, key=lambda row: row[:3])),
            notes=(
                "Evaluations and saving are no part of the speed. MFU: share of the dense bf16 peak, by PaLM's count "
                "of FLOPs. Memory: largest use of the first rank's GPU, on the CPU of the process.",
                *([f"No MFU: no peak is known of {', '.join(unknown)}."] if unknown else []),
            ),
        )
    ]


def _rows(study: Study, runs: Sequence[Run]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a study's paths; of one that moved between devices, that of the last."""
    by_path: dict[str, list[Run]] = {}
    for run in runs:
        by_path.setdefault(run.path_id, []).append(run)
    for path_id, found in by_path.items():
        folder, last = study.find(path_id), found[-1]
        speed = None if folder is None else _speed(folder, last)
        if speed is None:
            continue
        mfu = utilization(speed, flops_per_token=last.flops / max(last.tokens, 1), device=last.device, ranks=last.ranks)
        same = [run.memory_bytes for run in found if run.device == last.device and run.memory_bytes is not None]
        percent = None if mfu is None else 100 * mfu
        yield last.name, last.device, last.ranks, round(speed), percent, max(same, default=None)


def _speed(folder: PathFolder, run: Run) -> float | None:
    """Return the speed within a run [tokens per second], by the rows that were written while it ran.

    The first is left out where there are others: blocks are compiled in its time, and memory is taken.
    """
    rows = [row for row in folder.speed.rows() if run.begin < row.position <= run.end]
    rows = rows[1:] or rows
    seconds = math.fsum(row.seconds for row in rows)
    return math.fsum(row.seconds * row.tokens_per_second for row in rows) / seconds if seconds else None
