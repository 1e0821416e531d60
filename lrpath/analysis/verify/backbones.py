"""Compares what lies beside the weights of each path, from which releases are exported, with the path's record."""

from lrpath.analysis.verify.finding import Check, Finding
from lrpath.analysis.verify.study_index import StudyIndex
from lrpath.errors import StateError
from lrpath.records.backbone import BACKBONE, check_backbone, recorded_backbone


def verify_backbones(index: StudyIndex) -> Check:
    """Compare configuration and tokenizer of every path with the digests in its path.json."""
    findings, notes, count = [], [], 0
    for folder in index.folders():
        name = index.name(folder)
        try:
            recorded_backbone(folder)
        except StateError:
            continue  # a finding of `verify_paths`, or a path just made
        try:
            compared = check_backbone(folder)
        except StateError as error:
            findings.append(Finding(path=name, text=f"{name}: {error}"))
            continue
        count += compared
        if not compared and (folder.folder / BACKBONE).exists():
            notes.append(f"{name} was made by a version that kept no digests of {BACKBONE}/; it was not compared")
    return Check(
        name="backbones",
        statement="configuration and tokenizer beside the weights are those that the paths were trained with",
        count=count,
        findings=tuple(findings),
        notes=tuple(notes),
    )
