"""What a command says it did, read as the text of a stranger and compared with what it was asked."""

import math
import pathlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrpath.errors import TrainingError
from lrpath.records.files import read_json
from lrpath.records.held_out import SetName
from lrpath.records.rows import EvaluationRow, MetricsRow
from lrpath.training.command.exchange import Stretch

_LEAST_LOSS = 0.01
"""Loss on text that was not trained on [nats per token] under which a report must have meant something else."""
_FIELDS = ("position", "rates", "losses", "grad_norms", "evaluation", "device", "ranks")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A report that holds what it must.

    Args:
        position: Position that the command reached and whose state it saved.
        metrics: One row for each update; NaN where the report has no loss or norm.
        evaluation: Losses on held-out sets.
        device: What the updates ran on, as the report says.
        ranks: On how many processes.
    """

    position: int
    metrics: list[MetricsRow]
    evaluation: list[EvaluationRow]
    device: str
    ranks: int


def read_answer(
    file: pathlib.Path, stretch: Stretch, *, held_out: Mapping[SetName, NDArray[np.int64]], stopped: bool
) -> Answer:
    """Read a report and compare it with the stretch that was asked for.

    Args:
        file: The report.
        stretch: What was asked.
        held_out: The held-out sets, for the number of their tokens.
        stopped: Whether the command was stopped, so that it may have saved an earlier position.

    Raises:
        TrainingError: Naming what is missing, unknown, or differs.
    """
    remedy = "correct the command, which must write it as docs/another_trainer.md says"
    record = read_json(file, remedy=remedy, kind=TrainingError)
    reading = _Reading(file, stretch)
    reading.check(isinstance(record, dict), "is not a JSON object")
    unknown = sorted(set(record) - set(_FIELDS))
    reading.check(not unknown, f"has the unknown field {unknown[:1]}; known fields: {', '.join(_FIELDS)}")
    position = record.get("position")
    first = stretch.begin + 1 if stopped else stretch.end
    where = f"a position in [{first:,}, {stretch.end:,}]" if stopped else f"{stretch.end:,}"
    reading.check(type(position) is int and first <= position <= stretch.end, f"has position {position!r}, not {where}")
    device, ranks = record.get("device", "unknown"), record.get("ranks", 1)
    reading.check(isinstance(device, str) and device.isprintable(), "has a device that is not a text")
    reading.check(type(ranks) is int and 1 <= ranks < 1 << 31, f"has ranks {ranks!r}, not a number of processes")
    return Answer(
        position=position,
        metrics=reading.metrics(record, position),
        evaluation=reading.evaluation(record.get("evaluation", []), position, held_out),
        device=device[:80],
        ranks=ranks,
    )


class _Reading:
    """Reads the parts of a report, and says of which file and stretch what is wrong."""

    def __init__(self, file: pathlib.Path, stretch: Stretch) -> None:
        self._file = file
        self._stretch = stretch

    def check(self, holds: object, problem: str) -> None:
        if not holds:
            one = self._stretch
            raise TrainingError(
                f"{self._file} {problem}: the command was asked for {one.path.name} from {one.begin:,} to {one.end:,}. "
                "Its state was not kept; correct the command and run the same command again"
            )

    def metrics(self, record: dict[str, Any], position: int) -> list[MetricsRow]:
        updates = range(self._stretch.begin, position)
        rates = self._numbers(record, "rates", len(updates))
        self.check(rates is not None, "does not say the rates that its updates ran at")
        losses = self._numbers(record, "losses", len(updates)) or [math.nan] * len(updates)
        norms = self._numbers(record, "grad_norms", len(updates)) or [math.nan] * len(updates)
        rows = []
        assert rates is not None
        for update, used, loss, norm in zip(updates, rates, losses, norms, strict=True):
            planned = self._stretch.path.schedule.rate(update)
            # Compared as fp32: a trainer may keep its rates so.
            same = np.float32(used) == np.float32(planned)
            self.check(same, f"says that the update to position {update + 1:,} ran at rate {used!r}, not {planned!r}")
            tokens = self._stretch.path.recipe.tokens_before(update + 1)
            rows.append(MetricsRow(position=update + 1, loss=loss, lr=planned, grad_norm=norm, tokens=tokens))
        return rows

    def _numbers(self, record: dict[str, Any], name: str, count: int) -> list[float] | None:
        values = record.get(name)
        if values is None:
            return None
        finite = isinstance(values, list) and all(type(one) in (int, float) and math.isfinite(one) for one in values)
        self.check(finite, f"has {name} that are not a list of finite numbers")
        self.check(len(values) == count, f"has {len(values):,} {name} for {count:,} updates")
        return [float(one) for one in values]

    def evaluation(
        self, rows: Any, position: int, held_out: Mapping[SetName, NDArray[np.int64]]
    ) -> list[EvaluationRow]:
        names = ("position", "version", "domain", "nll", "tokens")
        shaped = isinstance(rows, list) and all(isinstance(row, dict) and set(row) == set(names) for row in rows)
        self.check(shaped, f"has an evaluation that is not a list of objects with the fields {', '.join(names)}")
        found: dict[tuple[int, str, str], EvaluationRow] = {}
        for row in rows:
            at, name, nll = row["position"], (str(row["version"]), str(row["domain"])), row["nll"]
            asked = type(at) is int and at in self._stretch.evaluate_at and at <= position
            self.check(asked, f"has an evaluation at {at!r}, which was not asked for")
            self.check(name in held_out, f"has an evaluation on {name}, which is no held-out set of the plan")
            tokens = held_out[name][:, 1:].size
            self.check(row["tokens"] == tokens, f"has a loss on {row['tokens']} tokens of {name}, which has {tokens:,}")
            self.check(type(nll) in (int, float) and math.isfinite(nll), f"has a loss on {name} that is not finite")
            self.check(
                nll >= _LEAST_LOSS * tokens,
                f"has nll={nll:g} on the {tokens:,} tokens of {name}, {nll / tokens:.3g} nats a token: it is the "
                "sum over the set, a positive number, and no mean",
            )
            self.check((at, *name) not in found, f"evaluates {name} twice at {at:,}")
            found[at, *name] = EvaluationRow(
                position=at, version=name[0], domain=name[1], nll=float(nll), tokens=tokens
            )
        return sorted(found.values(), key=lambda one: one.position)
