"""How well releases predict held-out text: losses by a study's tables, with what they are the loss on."""

import math
import pathlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from lrpath.errors import StateError
from lrpath.planning.lineage import content_id
from lrpath.planning.paths import Release
from lrpath.records.held_out import HeldOutSet, SetName
from lrpath.records.rows import EvaluationRow
from lrpath.records.study import Study
from lrpath.records.tables import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How well held-out tokens are predicted; scores of several sets add up.

    Args:
        nll: Negative log-likelihood, summed [nats].
        tokens: Predicted tokens; at least 1.
        text_bytes: UTF-8 bytes of the text of these tokens; None where it is not known.
        sha256: Digest of the windows of a lone set; None for several, and in studies of an older lrpath.
    """

    nll: float
    tokens: int
    text_bytes: int | None = None
    sha256: str | None = None

    @property
    def loss(self) -> float:
        """Mean negative log-likelihood [nats per token]."""
        return self.nll / self.tokens

    @property
    def bits_per_byte(self) -> float | None:
        """Negative log-likelihood in bits per byte of text, which tokenizers of any size have in common.

        >>> Score(nll=1000.0, tokens=500, text_bytes=2000).bits_per_byte
        0.72...
        """
        return None if not self.text_bytes else self.nll / math.log(2) / self.text_bytes

    @property
    def perplexity(self) -> float:
        """Exponential of the loss; infinite where a float cannot hold it."""
        return math.exp(self.loss) if self.loss < 700 else math.inf


def total(scores: Iterable[Score]) -> Score:
    """Return the score on several sets together, of at least one; sums are exact, so their order does not matter."""
    parts = list(scores)
    sizes = [part.text_bytes for part in parts]
    return Score(
        nll=math.fsum(part.nll for part in parts),
        tokens=sum(part.tokens for part in parts),
        text_bytes=None if None in sizes else sum(size for size in sizes if size is not None),
    )


def release_folder(study: Study, *, release: Release) -> pathlib.Path:
    """Return the folder of a merged release, named by a digest of its parts; it need not exist.

    Its `evaluation.csv` has the columns of a path's, with the position of the release's latest state.
    """
    digest = content_id([[key.path_id, key.position, weight] for key, weight in release.parts])
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", f"{release.paradigm}-{release.version}")
    return study.folder / "releases" / f"{name}-{digest}"


class StudyScores:
    """The losses of a study's releases, every table read once, however many releases lie on its path.

    Args:
        study: The study.
        sets: What `study.held_out.read()` returns; without it no digest of a held-out set is known.
    """

    def __init__(
        self, study: Study, *, sets: Mapping[str, Mapping[SetName, HeldOutSet]] = MappingProxyType({})
    ) -> None:
        self._study = study
        self._sets = sets
        self._rows: dict[pathlib.Path, dict[int, list[EvaluationRow]]] = {}

    def of(self, release: Release) -> dict[SetName, Score] | None:
        """Return a release's scores by (version, domain); None if it was not evaluated.

        Raises:
            StateError: If a table of evaluations is altered.
        """
        if len(release.parts) > 1:
            table = Table(release_folder(self._study, release=release) / "evaluation.csv", EvaluationRow)
            place, read = table.file, table.rows
        elif (folder := self._study.find(release.last.path_id)) is not None:
            place, read = folder.evaluation.file, folder.evaluations
        else:
            return None
        if place not in self._rows:
            self._rows[place] = _by_position(read())
        known = self._sets.get(release.last.path_id, {})
        rows = self._rows[place].get(release.last.position, ())
        found = {row.held_out: score_on(known.get(row.held_out), row) for row in rows}
        if not all(math.isfinite(score.nll) for score in found.values()):
            raise StateError(f"{place} has a loss that is not finite; restore it from a copy")
        return found or None


def _by_position(rows: Iterable[EvaluationRow]) -> dict[int, list[EvaluationRow]]:
    found: dict[int, list[EvaluationRow]] = {}
    for row in rows:
        found.setdefault(row.position, []).append(row)
    return found


def score_on(known: HeldOutSet | None, row: EvaluationRow) -> Score:
    """Return a score with what is known of its set; of a set of another size, which was replaced since, nothing is."""
    if known is None or known.tokens != row.tokens:
        return Score(nll=row.nll, tokens=row.tokens)
    return Score(nll=row.nll, tokens=row.tokens, text_bytes=known.text_bytes, sha256=known.sha256)
