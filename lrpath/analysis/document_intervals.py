"""Intervals over documents and seeds: how far a loss could be another with other text of the same kind, or other seeds.

A two-way bootstrap: documents are drawn with replacement within each held-out set, and seeds with replacement, both at
once. What is compared is drawn together, so that a hard document or a lucky seed weighs on both sides alike.

Shapes: S seeds, D documents, B samples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrpath.analysis.compare import Outcome, Seed
from lrpath.records.document_losses import read_document_losses

SAMPLES = 2_000
"""Samples of the bootstrap: the ends of a 95 % interval then vary by some 4 % of its width."""
LEVEL = 0.95
Floats = NDArray[np.float64]
Document = tuple[str, str, int]
"""Version, domain and number of a document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentInterval:
    """A loss, or a difference of two, with its interval.

    Args:
        mean: Its value over all documents and seeds [nats per token].
        low: Lower end of the 95 % interval; None of one document, which does not say how far others are from it.
        high: Upper end; None likewise.
        documents: Documents.
        seeds: Seeds; with one, the interval speaks of documents alone.
    """

    mean: float
    low: float | None
    high: float | None
    documents: int
    seeds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentLosses:
    """The losses of one setting on the documents that all its seeds were evaluated on.

    Args:
        documents: The documents.
        seeds: The seeds.
        nll_SD: Negative log-likelihood of each document [nats].
        tokens_D: Predicted tokens of each document.
    """

    documents: tuple[Document, ...]
    seeds: tuple[Seed, ...]
    nll_SD: Floats
    tokens_D: Floats

    @classmethod
    def read(cls, outcomes: Mapping[Seed, Outcome], *, split: str) -> "DocumentLosses | None":
        """Read the losses of a version's releases on the sets of this and all earlier versions.

        Args:
            outcomes: The release of every seed.
            split: `valid` or `test`.

        Returns:
            None if no document was evaluated with every seed.

        Raises:
            StateError: If a file of losses was altered.
        """
        found = {seed: _losses(outcome, split) for seed, outcome in sorted(outcomes.items())}
        common = set.intersection(*(set(losses) for losses in found.values())) if found else set()
        documents = tuple(sorted(common))
        if not documents:
            return None
        tables = list(found.values())
        return cls(
            documents=documents,
            seeds=tuple(found),
            nll_SD=np.array([[losses[one][0] for one in documents] for losses in tables]),
            tokens_D=np.array([tables[0][one][1] for one in documents], dtype=np.float64),
        )

    def interval(self) -> DocumentInterval:
        """Return the mean loss with its interval."""
        return _interval(self.documents, self.nll_SD, self.tokens_D)

    def gap(self, reference: "DocumentLosses") -> DocumentInterval | None:
        """Return the loss less a reference's, document by document and seed by seed; None if none is common."""
        documents = [one for one in self.documents if one in set(reference.documents)]
        seeds = [seed for seed in self.seeds if seed in reference.seeds]
        if not documents or not seeds:
            return None
        mine, theirs = self._part(documents, seeds), reference._part(documents, seeds)
        return _interval(documents, mine.nll_SD - theirs.nll_SD, mine.tokens_D)

    def _part(self, documents: Sequence[Document], seeds: Sequence[Seed]) -> "DocumentLosses":
        places = {one: number for number, one in enumerate(self.documents)}
        columns, rows = [places[one] for one in documents], [self.seeds.index(seed) for seed in seeds]
        return DocumentLosses(
            documents=tuple(documents),
            seeds=tuple(seeds),
            nll_SD=self.nll_SD[np.ix_(rows, columns)],
            tokens_D=self.tokens_D[columns],
        )


def _losses(outcome: Outcome, split: str) -> dict[Document, tuple[float, int]]:
    """Return loss [nats] and tokens by document; nothing for a mean of states, which is not evaluated by document."""
    series = outcome.series
    versions = series.plan.versions[: outcome.number]
    release = series.plan.release(series.paradigm, outcome.version)
    folder = series.study.find(release.last.path_id) if len(release.parts) == 1 else None
    if folder is None:
        return {}
    return {
        (row.version, row.domain, row.document): (row.nll, row.tokens)
        for row in read_document_losses(folder.document_losses(release.last.position))
        if row.split == split and row.version in versions
    }


def _interval(documents: Sequence[Document], nll_SD: Floats, tokens_D: Floats) -> DocumentInterval:
    # The same numbers are drawn every time, so that a report made again has the same intervals.
    generator = np.random.default_rng(0)
    seeds = len(nll_SD)
    drawn_BD = np.empty((SAMPLES, len(documents)))
    for places in _sets(documents):
        drawn_BD[:, places] = _draw(generator, len(places))
    drawn_BS = _draw(generator, seeds) / seeds
    sums_B = ((drawn_BS @ nll_SD) * drawn_BD).sum(axis=1)
    losses_B = sums_B / (drawn_BD @ tokens_D)
    low, high = np.quantile(losses_B, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
    is_known = len(documents) > 1
    return DocumentInterval(
        mean=float(nll_SD.mean(axis=0).sum() / tokens_D.sum()),
        low=low if is_known else None,
        high=high if is_known else None,
        documents=len(documents),
        seeds=seeds,
    )


def _draw(generator: np.random.Generator, count: int) -> Floats:
    """Return how often each of some things is in each sample, adding up to their count.

    One fewer is drawn than there are: the spread of means of n draws is too small by the factor (n − 1) / n, which is a
    half for two seeds.
    """
    draws = max(count - 1, 1)
    drawn = generator.multinomial(draws, np.full(count, 1 / count), size=SAMPLES)
    return drawn.astype(np.float64) * (count / draws)


def _sets(documents: Sequence[Document]) -> list[list[int]]:
    """Return the places of the documents of each held-out set: a set keeps its share of every sample.

    Sets of one document are taken together: each by itself would be the same in every sample, as if it were certain.
    """
    sets: dict[tuple[str, str], list[int]] = {}
    for place, (version, domain, _) in enumerate(documents):
        sets.setdefault((version, domain), []).append(place)
    alone = [place for places in sets.values() if len(places) == 1 for place in places]
    return [*(places for places in sets.values() if len(places) > 1), *([alone] if alone else [])]
