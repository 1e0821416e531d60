"""A verification for people and for programs: one line a check, then what was found and what is unfinished."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from lrpath.analysis.verify.finding import Check
from lrpath.records.study import Study

MOST_LISTED = 20
"""Findings, or compared things, of one check that the text lists; JSON has all."""


def verify_text(study: Study, checks: Sequence[Check]) -> str:
    """Return a verification as text: a line for every check, every finding, and every note."""
    plans, width = len(study.plans()), max(len(f"{check.count:,}") for check in checks)
    longest = max(len(check.name) for check in checks)
    lines = [f"study {study.folder}: {plans} plan{'' if plans == 1 else 's'}", ""]
    for check in checks:
        mark = f"{len(check.findings)} wrong" if check.findings else "ok"
        lines.append(f"  {mark:8}  {check.name:{longest}}  {check.count:>{width},}  {check.statement}")
    sections = {check.name: _shortened(check.details) for check in checks}
    sections["wrong"] = [f"{check.name}: {text}" for check in checks for text in _shortened(_texts(check))]
    sections["unfinished or left over, and nothing wrong"] = [note for check in checks for note in check.notes]
    for title, texts in sections.items():
        if texts:
            lines += ["", title, *(f"  {text}" for text in texts)]
    return "\n".join([*lines, "", result_line(checks)])


def result_line(checks: Sequence[Check]) -> str:
    """Return the outcome of all checks as one line."""
    count = sum(len(check.findings) for check in checks)
    if count:
        return f"{count} finding{'' if count == 1 else 's'}"
    unfinished = any(check.notes for check in checks)
    return "everything is as it should be" + (", as far as it is made" if unfinished else "")


def _texts(check: Check) -> tuple[str, ...]:
    return tuple(finding.text for finding in check.findings)


def _shortened(texts: Sequence[str]) -> list[str]:
    more = len(texts) - MOST_LISTED
    return [*texts[:MOST_LISTED], *([f"and {more:,} more; format=json lists all"] if more > 0 else [])]


def verify_json(study: Study, checks: Sequence[Check]) -> dict[str, Any]:
    """Return a verification as plain data."""
    return {
        "study": study.name,
        "plans": sorted(study.plans()),
        "findings": sum(len(check.findings) for check in checks),
        "checks": [asdict(check) for check in checks],
    }
