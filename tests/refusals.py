"""Every sentence with which lrpath refuses something stands once, in `tests/refusals.txt`, and shows in review.

Tests assert what code can rely on: the kind of error, the field and the value it names, its exit code.

    with refused(ConfigError, field="alpha", value=0.0):
        ...

compares the sentence with the one recorded for this test too. To record sentences anew after a change that was meant,
and drop those of tests that are gone:

    LRPATH_WRITE_GOLDEN=1 pytest -n 2 tests lrpath
"""

import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lrpath.errors import LrpathError

GOLDEN = Path(__file__).with_suffix(".txt")
WRITES = os.environ.get("LRPATH_WRITE_GOLDEN") == "1"

_UNSTABLE = [
    (re.compile(re.escape(str(Path(__file__).parent.parent))), "<tree>"),
    (re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{12,64}\b"), "<digest>"),
    (re.compile(r"\bprocess \d+ on [\w.-]+"), "process <pid> on <host>"),
    (re.compile(r"[\d.,]+ [kMGT]?B free"), "<size> free"),
    (re.compile(r"\blease \d+ s ago"), "lease <time> ago"),
    (re.compile(r"\[1, \d+\], the cores"), "[1, <cores>], the cores"),
    (re.compile(r"\b\d+\.\d{6,}\b"), "<number>"),
    (re.compile(r"column \d+ \(char \d+\)"), "column <number> (char <number>)"),  # torch's version stands in a manifest
]
"""What differs between machines and runs, and what is recorded in its place."""

_ANY: Any = object()

_count: Counter[str] = Counter()


def _read() -> dict[str, str]:
    blocks = GOLDEN.read_text().split("\n\n") if GOLDEN.exists() else []
    return dict(block.strip("\n").split("\n    ", 1) for block in blocks if block.strip())


recorded = _read()
"""The sentence of each refusal, by test and its number in the test."""
_BEFORE = dict(recorded)


def take(found: dict[str, str]) -> None:
    """Add what another process has recorded: what differs there from the file is new."""
    recorded.update({name: text for name, text in found.items() if _BEFORE.get(name) != text})


def save(collected: set[str]) -> None:
    """Write what was recorded, without what belongs to no test of the files that were collected."""
    files = {name.partition("::")[0] for name in collected}
    kept = {
        name: text
        for name, text in recorded.items()
        if (name.partition("::")[0] in files and name.rpartition(" #")[0] in collected)
        or (name.partition("::")[0] not in files and (GOLDEN.parent.parent / name.partition("::")[0]).exists())
    }
    GOLDEN.write_text("\n\n".join(f"{name}\n    {text}" for name, text in sorted(kept.items())) + "\n")


def leave_out_folders_of(base: Path) -> None:
    """Record `<tmp>` in place of a test's own folder, which lies in `base` or in that of another worker beside it."""
    above = base.parent if base.name.startswith("popen-") else base
    _UNSTABLE.insert(0, (re.compile(re.escape(str(above)) + r"(/popen-gw\d+)?/[^/\s:,;)]+"), "<tmp>"))


def check_sentence(text: str) -> None:
    """Compare a sentence with the one that is recorded for this place of the running test."""
    test = os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0]
    for pattern, name in _UNSTABLE:
        text = pattern.sub(name, text)
    plain = "\n    ".join(line for line in text.split("\n") if line)
    _count[test] += 1
    name = f"{test} #{_count[test]}"
    if WRITES:
        recorded[name] = plain
    assert plain == recorded.get(name), f"not the sentence in {GOLDEN.name}; if it is meant, record it anew"


@contextmanager
def refused(
    *kinds: type[LrpathError],
    field: str | None = _ANY,
    value: object = _ANY,
    exit_code: int = _ANY,
    stable: bool = True,
) -> Iterator[pytest.ExceptionInfo[LrpathError]]:
    """Expect the block to be refused by one of some kinds of error, and compare its sentence with the recorded one.

    Args:
        kinds: Kinds of error.
        field: The configuration field that the error names.
        value: The value of the field that is refused.
        exit_code: The exit code of an entry that it ends.
        stable: Whether the sentence is the same on every machine; one that is not is not compared.
    """
    with pytest.raises(kinds) as caught:
        yield caught
    error = caught.value
    for given, found in ((field, error.field), (value, error.value), (exit_code, error.exit_code)):
        assert given is _ANY or found == given
    if stable:
        check_sentence(str(error))


@contextmanager
def ended(
    *kinds: type[LrpathError],
    capsys: pytest.CaptureFixture[str],
    field: str | None = _ANY,
    value: object = _ANY,
) -> Iterator[pytest.ExceptionInfo[SystemExit]]:
    """Expect an entry that the block runs to be ended by an error: one line on standard error, and its exit code."""
    with pytest.raises(SystemExit) as caught:
        yield caught
    error = caught.value.__cause__
    assert isinstance(error, kinds)
    assert caught.value.code == error.exit_code
    for given, found in ((field, error.field), (value, error.value)):
        assert given is _ANY or found == given or (found != found and given != given)  # NaN is not equal to itself
    printed = capsys.readouterr().err
    assert printed.startswith("error: ")
    assert printed.count("\n") == 1
    check_sentence(printed)
