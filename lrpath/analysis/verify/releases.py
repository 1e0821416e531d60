"""Compares exported releases that lie in the study with the digests that were written with them."""

import pathlib

from lrpath.analysis.verify.finding import Check, Finding
from lrpath.analysis.verify.study_index import StudyIndex
from lrpath.records.released import SUMS_FILE, sums_problem


def exported_folders(index: StudyIndex) -> list[pathlib.Path]:
    """Return the folders of exports that a study has; those elsewhere are their owner's."""
    return sorted(file.parent for file in (index.study.folder / "releases").glob(f"*/*/{SUMS_FILE}"))


def verify_releases(index: StudyIndex, *, digests: bool) -> Check:
    """Compare the files of every exported release with its SHA256SUMS."""
    folders = exported_folders(index)
    findings = [
        Finding(text=f"{problem}; remove {folder} and export the release again")
        for folder in folders
        if (problem := sums_problem(folder, reads=digests)) is not None
    ]
    return Check(
        name="releases",
        statement=f"files of exported releases are those of their {SUMS_FILE}",
        count=len(folders),
        findings=tuple(findings),
    )
