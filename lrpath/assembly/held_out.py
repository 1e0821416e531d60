"""The held-out sets of a project's versions, as windows of token ids, and what they are of; no torch."""

from typing import TYPE_CHECKING

from lrpath.assembly.project import Project
from lrpath.data.stream import held_out_documents, held_out_windows
from lrpath.errors import DataError
from lrpath.records.held_out import HeldOutSet, SetName

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lrpath.data.store import TokenStore


def held_out_sets(project: Project, store: "TokenStore") -> dict[tuple[str, str], "NDArray[np.int64]"]:
    """Return the held-out windows of every version and domain.

    Raises:
        DataError: If there is not one held-out set, so that no release could be evaluated.
    """
    length = project.config.batch.tokens_per_sequence
    limit = project.config.cadence.held_out_windows
    found = {
        (version, domain): held_out_windows(store, version=version, domain=domain, length=length, limit=limit)
        for version in project.plan.versions
        for domain in store.manifest(version).domains
    }
    if not found:
        raise DataError("no version has held-out text; raise data.source.heldout.share, or name files of ids")
    return found


def describe_held_out_sets(project: Project, store: "TokenStore") -> dict[SetName, HeldOutSet]:
    """Return digest and sizes of every held-out set, as it is evaluated.

    Raises:
        DataError: As `held_out_sets`.
    """
    from lrpath.data.held_out_text import held_out_set  # it reads tokenizers, which nobody else here needs

    length = project.config.batch.tokens_per_sequence
    limit = project.config.cadence.held_out_windows
    documents = {
        (version, domain): held_out_documents(store, version=version, domain=domain, length=length, limit=limit)
        for version in project.plan.versions
        for domain in store.manifest(version).domains_of("valid")
    }
    return {
        name: held_out_set(windows_NL, documents.get(name), tokenizer_file=store.tokenizer_file, end_id=store.end_id)
        for name, windows_NL in held_out_sets(project, store).items()
    }
