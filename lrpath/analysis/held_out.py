"""How many documents the losses of releases are taken over, by the files of losses by document."""

from collections import Counter
from collections.abc import Iterable

from lrpath.analysis.compare import Outcome
from lrpath.records.document_losses import read_document_losses

ENOUGH_DOCUMENTS = 500
"""Of a set with fewer documents, one of them may decide which loss is lower."""


def few_documents(outcomes: Iterable[Outcome]) -> dict[tuple[str, str], int]:
    """Return how many documents the held-out sets have that releases are judged on, of those with fewer than 500.

    Args:
        outcomes: Releases that were evaluated on the same held-out tokens.

    Returns:
        Documents by (version, domain). What was evaluated before losses were kept by document is not known.

    Raises:
        StateError: If a file of losses was altered.
    """
    found: dict[tuple[str, str], int] = {}
    for outcome in outcomes:
        sets = set(outcome.scores or {})
        if sets <= found.keys():  # equal for all releases, so that one file is read
            continue
        series = outcome.series
        for release in (one for one in series.tree.releases if one.version == outcome.version):
            folder = series.study.find(release.last.path_id)
            losses = [] if folder is None else read_document_losses(folder.document_losses(release.last.position))
            found |= Counter((loss.version, loss.domain) for loss in losses if loss.split == "valid")
    return {key: count for key, count in found.items() if count < ENOUGH_DOCUMENTS}
