"""The losses of one state on every held-out document: a small file, from which intervals over documents are taken."""

import csv
import math
import pathlib
from collections.abc import Iterable
from dataclasses import dataclass, fields

from lrpath.errors import StateError
from lrpath.records.files import complete_lines, write_whole


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentLoss:
    """The loss on one held-out document.

    Args:
        split: `valid`, the set to choose on, or `test`, the set to report.
        version: Version whose set it is in.
        domain: Its domain.
        document: Its number in the set, from 0.
        nll: Negative log-likelihood, summed over its predicted tokens [nats].
        tokens: Number of these tokens.
    """

    split: str
    version: str
    domain: str
    document: int
    nll: float
    tokens: int


_COLUMNS = tuple(entry.name for entry in fields(DocumentLoss))


def document_losses_text(losses: Iterable[DocumentLoss]) -> str:
    """Return what a file of losses holds; numbers have all their digits."""
    rows = [",".join(str(getattr(loss, name)) for name in _COLUMNS) for loss in losses]
    return "\n".join([",".join(_COLUMNS), *rows]) + "\n"


def write_document_losses(file: pathlib.Path, losses: Iterable[DocumentLoss]) -> None:
    """Write a file of losses, whole or not at all."""
    write_whole(file, document_losses_text(losses))


def read_document_losses(file: pathlib.Path) -> list[DocumentLoss]:
    """Return the losses of a file; none if it is not there.

    Raises:
        StateError: If the file was altered.
    """
    lines = complete_lines(file)
    if not lines:
        return []
    try:
        if tuple(lines[0].split(",")) != _COLUMNS:
            raise ValueError(f"columns {lines[0][:80]}")
        return [
            DocumentLoss(
                split=row["split"],
                version=row["version"],
                domain=row["domain"],
                document=int(row["document"]),
                nll=_finite(row["nll"]),
                tokens=int(row["tokens"]),
            )
            for row in csv.DictReader(lines)
        ]
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise StateError(f"{file} is not a file of losses by document ({error}); restore it from a copy") from None


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"a loss of {text[:20]}")
    return value


def mean_and_error(losses: Iterable[DocumentLoss]) -> tuple[float, float]:
    """Return the mean loss [nats/token] of some documents and its standard error over documents.

    The mean is a ratio of sums, so documents of many tokens weigh more; the error is that of a ratio estimator,
    `sqrt(n / (n − 1) · Σ (nllᵢ − mean · tokensᵢ)²) / Σ tokensᵢ`, and NaN of one document.

    References:
        Derived: the usual linearization of a ratio of two means.

    >>> few = [DocumentLoss(split="test", version="v1", domain="d", document=n, nll=x, tokens=2)
    ...        for n, x in enumerate([2.0, 4.0, 6.0])]
    >>> mean_and_error(few)
    (2.0, 0.5773502691896257)
    """
    found = list(losses)
    tokens = sum(loss.tokens for loss in found)
    mean = math.fsum(loss.nll for loss in found) / tokens
    if len(found) < 2:
        return mean, math.nan
    squares = math.fsum((loss.nll - mean * loss.tokens) ** 2 for loss in found)
    return mean, math.sqrt(len(found) / (len(found) - 1) * squares) / tokens
