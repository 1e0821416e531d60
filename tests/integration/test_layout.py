"""What a study leaves on disk is what the documentation of `lrpath.records` lists, and nothing listed is made up."""

import re
from pathlib import Path

import pytest

import lrpath
from lrpath import records
from lrpath.reporting.report import write_report
from lrpath.training.lit_module import LitCausalLM
from tests.integration.lab import Lab
from tests.integration.planting import plant

OF_OTHER_COMMANDS = {"predict/", "advise/", "commands.jsonl", "paths/<name>-<path id>/later_evaluation.csv"}
WHILE_A_RUN_GOES_ON = {
    "paths/<name>-<path id>/running.json",
    "paths/<name>-<path id>/repairs.csv",
    "paths/<name>-<path id>/damaged/",
}


def documented() -> dict[str, str]:
    """Return what each entry of the tree in the documentation matches, by its path in the study's folder.

    A folder without entries of its own may hold anything.
    """
    assert records.__doc__ is not None
    lines = re.findall(r"^( {8,})(\S.*?)(?:  .*)?$", records.__doc__, flags=re.MULTILINE)
    entries: list[str] = []
    above: list[str] = []
    for indent, name in lines:
        del above[(len(indent) - 8) // 4 :]
        entries.append("".join([*above, name]))
        above.append(name)
    return {entry: _pattern(entry, entries) for entry in entries}


def _pattern(entry: str, entries: list[str]) -> str:
    text = re.sub(r"<[^>]*>", "[^/]+", entry.replace(".", r"\."))
    is_closed = not entry.endswith("/") or any(other != entry and other.startswith(entry) for other in entries)
    return text if is_closed else f"{text}.*"


@pytest.mark.slow
def test_every_file_of_a_study_is_documented_and_every_entry_is_made(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = (
        "paradigm=[path_switching,merged]",
        "paradigms.merged.states=3",
        "paradigms.merged.spacing=2",
        "guard.policy=skip",
        "logger=tensorboard",
        "profile=true",
    )
    monkeypatch.setattr(LitCausalLM, "training_step", LitCausalLM.training_step)  # undone after the test
    plant("main:7=nan")
    lab.run(*changes)
    write_report(lab.study())

    files = [
        file.relative_to(lab.study().folder).as_posix() for file in lab.study().folder.rglob("*") if file.is_file()
    ]

    patterns = documented()
    assert [file for file in files if not any(re.fullmatch(one, file) for one in patterns.values())] == []
    made = {entry for entry, one in patterns.items() if any(re.match(f"{one}", file) for file in files)}
    assert patterns.keys() - made == OF_OTHER_COMMANDS | WHILE_A_RUN_GOES_ON


@pytest.mark.parametrize("entry", sorted(OF_OTHER_COMMANDS | WHILE_A_RUN_GOES_ON))
def test_what_only_other_commands_or_moments_leave_is_written_somewhere_under_that_name(entry: str) -> None:
    name = entry.rstrip("/").rpartition("/")[2]

    sources = [file.read_text() for file in Path(lrpath.__file__).parent.rglob("*.py") if file.parent.name != "records"]
    sources += [file.read_text() for file in Path(records.__file__).parent.glob("[!_]*.py")]

    assert any(f'"{name}"' in source for source in sources)
