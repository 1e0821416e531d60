"""Which text an update read is found from the study and the store, and is the text that it was given."""

import re
import sys

import pytest

from lrpath import entry, show
from lrpath.assembly.update_text import windows_of_update
from lrpath.data.tokenizer import read_tokenizer
from lrpath.errors import ConfigError
from tests.integration.lab import Lab
from tests.refusals import ended

pytestmark = pytest.mark.slow


def shown(lab: Lab, *changes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["study=study", f"outputs={lab.folder}", f"stores={lab.stores}", *changes]
    monkeypatch.setattr(sys, "argv", ["lrpath.show", *words])
    entry.run(show.show, config_name="show")


def test_the_text_of_an_update_is_what_it_was_given(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = lab.planned_windows("+paradigms.path_switching.replay=0.3")
    project = lab.project("+paradigms.path_switching.replay=0.3")
    file = project.prepare().tokenizer_file
    assert file is not None
    tokenizer = read_tokenizer(file)
    lab.run("+paradigms.path_switching.replay=0.3")
    study = lab.study()

    paths = {one.name: one for one in project.plan.tree.paths}
    for name, update in given:
        found = windows_of_update(study, paths[name], update + 1, stores=lab.stores)
        texts = [tokenizer.decode(row.tolist(), skip_special_tokens=False) for row in given[name, update]]
        assert [one.text for one in found] == texts, (name, update)
        assert all(one.documents is not None for one in found)

    shown(lab, "update=path_switching.v2/3", monkeypatch=monkeypatch)  # before it left the main path
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "update 3 of path_switching.main, from position 2, read 4 sequences of 16 tokens:"
    assert all(re.match(r" +\d  v1 window \d+ of \d+, documents? \d+", line) for line in lines[1:])
    with ended(ConfigError, capsys=capsys, field="update", value="path_switching.main"):
        shown(lab, "update=path_switching.main", monkeypatch=monkeypatch)
