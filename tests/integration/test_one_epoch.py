"""increment=all: an increment is as long as its tokens, each of whose windows is read once."""

import json
import sys
from pathlib import Path

import pytest

from lrpath import entry
from lrpath.errors import PlanError
from lrpath.plan import plan
from tests.integration.lab import Lab
from tests.refusals import refused

SHORT = ("batch.sequences_per_update=16", "batch.tokens_per_sequence=32", "warmup=1")
"""Some 500 tokens an update, so that all of a text is a few of them."""


def test_every_window_is_read_once(lab: Lab, tmp_path: Path) -> None:
    project = lab.project("increment=all", f"data.folder={tmp_path / 'own'}", *SHORT)
    assert project.waits_for_tokens

    store = project.prepare()

    assert not project.waits_for_tokens
    planned = {one.version: one.updates for one in project.increments}
    assert planned == {version: store.windows(version, 32) // 16 for version in ("v1", "v2")}
    assert min(planned.values()) > 1
    facts = project.increment_facts()
    assert all(one.tokens - one.read < 33 * 16 for one in facts)


def test_one_version_of_several_may_be_read_whole(lab: Lab) -> None:
    project = lab.project("increment=[3,all]", *SHORT)
    store = project.prepare()

    assert [one.updates for one in project.increments] == [3, store.windows("v2", 32) // 16]


@pytest.mark.slow
def test_it_is_trained_in_one_command_and_then_known(lab: Lab) -> None:
    project = lab.project("increment=all", "paradigm=[continual]", *SHORT)
    updates = sum(one.updates for one in (project.prepare() and project.increments))

    assert lab.run("increment=all", "paradigm=[continual]", *SHORT) == updates
    assert lab.run("increment=all", "paradigm=[continual]", *SHORT) == 0
    written = ",".join(str(one.updates) for one in project.increments)
    assert lab.run(f"increment=[{written}]", "paradigm=[continual]", *SHORT) == 0


def test_nothing_is_planned_before_the_tokens_are_there(lab: Lab, tmp_path: Path) -> None:
    project = lab.project("increment=all", f"data.folder={tmp_path / 'own'}", *SHORT)

    with refused(PlanError, field="increment", value="all"):
        _ = project.plan


def test_text_of_less_than_an_update_is_refused(lab: Lab) -> None:
    project = lab.project("increment=all", "batch.sequences_per_update=4096")

    with refused(PlanError, field="increment", value="all"):
        project.prepare()


def test_the_plan_says_what_is_known_of_the_data(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = lab.project()
    project.prepare()
    lines = [facts.line() for facts in project.increment_facts()]

    for form in ("text", "json"):
        monkeypatch.setattr(sys, "argv", ["lrpath.plan", *lab.overrides(f"format={form}")])
        entry.run(plan, config_name="config")

    printed = capsys.readouterr().out
    text, begin, record = printed.partition("\n{")
    assert [line for line in text.splitlines() if line in lines] == lines
    assert [facts["version"] for facts in json.loads(begin + record)["data"]] == ["v1", "v2"]
