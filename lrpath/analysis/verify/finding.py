"""What a verification says: checks, each with what it looked at, what it found wrong, and what is unfinished."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing on disk that is not as it should be.

    Args:
        text: Where, what is wrong, and what to do, in one line.
        path: Name of the path; empty where it is about none.
        position: Position on it; None where it is about none.
    """

    text: str
    path: str = ""
    position: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One kind of comparison, made with everything that it is about.

    Args:
        name: One word.
        statement: What was compared, as a sentence that is true if nothing was found.
        count: How many things were compared.
        findings: What is wrong.
        notes: What is unfinished or left over, and nothing wrong.
        details: What was compared, where that is worth a line each.
    """

    name: str
    statement: str
    count: int
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
