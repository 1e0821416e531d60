"""The verification of a study: all checks that need nothing but its files."""

from lrpath.analysis.verify.backbones import verify_backbones
from lrpath.analysis.verify.finding import Check
from lrpath.analysis.verify.ledger import verify_ledger
from lrpath.analysis.verify.releases import exported_folders, verify_releases
from lrpath.analysis.verify.states import (
    Seen,
    verify_data,
    verify_needed,
    verify_paths,
    verify_states,
)
from lrpath.analysis.verify.study_index import StudyIndex
from lrpath.analysis.verify.tables import verify_evaluations, verify_rows
from lrpath.analysis.verify.weights import begins_with_weights, verify_weights
from lrpath.records.study import Study


def verify_study(study: Study, *, digests: bool = True, seen: Seen = lambda _done, _all: None) -> tuple[Check, ...]:
    """Compare a study on disk with its plans; nothing is written.

    Args:
        study: The study.
        digests: Whether the states are read and their SHA-256 compared.
        seen: Called while states are read.

    Raises:
        StateError: If the study holds no plan, or one was altered.
        PlanError: If a plan cannot be read, or two contradict each other.
    """
    index = StudyIndex.of(study)
    return (
        verify_paths(index),
        verify_backbones(index),
        verify_needed(index),
        verify_states(index, digests=digests, seen=seen),
        verify_data(index),
        verify_rows(index),
        verify_evaluations(index),
        verify_ledger(index),
        *((verify_weights(index, digests=digests),) if begins_with_weights(index) else ()),
        *((verify_releases(index, digests=digests),) if exported_folders(index) else ()),
    )
