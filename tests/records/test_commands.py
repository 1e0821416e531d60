import json
from pathlib import Path

import pytest

from lrpath.errors import StateError
from lrpath.records.commands import Command, CommandLog
from tests.refusals import refused


def test_a_command_can_be_typed_again(tmp_path: Path) -> None:
    log = CommandLog(tmp_path)

    log.add(Command.of_this_process("lrpath.train", ["+exp=quickstart", "seed={weights: 1, order: 2}"]))

    (found,) = log.read()
    assert found.text == "python -m lrpath.train +exp=quickstart 'seed={weights: 1, order: 2}'"
    assert found.host
    assert found.commit is None or len(found.commit) >= 12


def test_the_jobs_of_a_sweep_are_one_command(tmp_path: Path) -> None:
    log = CommandLog(tmp_path)

    for arguments in (["-m", "alpha=0.2,0.6"], ["-m", "alpha=0.2,0.6"], ["alpha=0.4"]):
        log.add(Command.of_this_process("lrpath.train", arguments))

    assert [one.text for one in log.read()] == [
        "python -m lrpath.train -m alpha=0.2,0.6",
        "python -m lrpath.train alpha=0.4",
    ]


def test_a_log_of_before_commands_had_a_description_is_read(tmp_path: Path) -> None:
    log = CommandLog(tmp_path)
    record = {"time": "", "host": "here", "lrpath": "0.1.0", "commit": None, "text": "python -m lrpath.train"}
    (tmp_path / "commands.jsonl").write_text(f"{json.dumps(record)}\n")

    log.add(Command.of_this_process("lrpath.train", [], description="Which α is enough?"))

    assert [one.description for one in log.read()] == ["", "Which α is enough?"]


@pytest.mark.parametrize("line", ["{}", "[]", "nonsense", "[" * 100_000], ids=["empty", "list", "text", "brackets"])
def test_an_altered_log_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "commands.jsonl").write_text(f"{line}\n")

    with refused(StateError, stable=False):
        CommandLog(tmp_path).read()
